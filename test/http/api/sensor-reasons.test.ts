import { describe, expect, test } from 'vitest'
import type { GatewayOptions } from '../../../src/gateway/gateway-options.ts'
import type { PortSettings } from '../../../src/gateway/ports/port-settings.ts'
import { sensorEntry } from '../../../src/http/api/client-json.ts'
import { reasonsOf } from '../../../src/http/api/reasons.ts'
import { say } from '../../gateway/harness.ts'
import { connected, R, type SensorWorld } from '../../upstream/sensors/sensor-world.ts'
import { connectSensor, pass, TestApi } from '../harness.ts'
import { apiOf, codes, deafen, publisher, reason, reasons, sleep, subscribed } from './reason-harness.ts'

const PORT: PortSettings = {
  name: 'sn',
  maxFrame: 255,
  retry: { tRetryMs: 10_000, nRetry: 3, backoff: 1, jitter: 0 },
  maxQueued: 10,
}

describe('what a sensor has not answered', () => {
  test('PUBLISH, sent again and again', () => {
    const api = apiOf()
    deafen(subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 })))
    const publish = publisher(api)
    publish('site/valve')
    publish('site/valve')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered the message for site/valve: PUBACK is awaited, sent once',
      awaiting: 'PUBACK',
      topic: 'site/valve',
      retransmissions: 0,
      retransmissions_limit: 3,
    })
    pass(api, 20_000)
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered the message for site/valve: PUBACK is awaited, sent again 2 of 3 times',
      retransmissions: 2,
      until: '2027-01-15T08:00:32Z',
    })
    expect(reason(api, 's', 'window-full')).toMatchObject({ messages: 1, limit: 1, option: 'sn_inflight_messages' })
  })

  test('REGISTER: REGACK is awaited', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/+')
    deafen(sensor)
    publisher(api)('site/valve')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({
      text: 'it has not answered REGISTER of the topic id for site/valve: REGACK is awaited, sent once',
      awaiting: 'REGACK',
    })
    expect(reason(api, 's', 'topic-not-registered')).toMatchObject({ topic: 'site/valve' })
  })

  test('QoS 2: PUBREC, then PUBCOMP', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/valve', 2)
    deafen(sensor)
    publisher(api)('site/valve', 'x', { qos: 2 })
    const { msg_id: msgId } = reason(api, 's', 'not-acknowledged')
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBREC' })
    sensor.say({ type: 0x0f, msgId: msgId as number })
    pass(api, 1000)
    expect(reason(api, 's', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBCOMP' })
  })

  test('it has answered that it is congested', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }))
    sensor.congested = true
    publisher(api)('site/valve')
    pass(api, 1000)
    expect(reason(api, 's', 'congested').text).toBe('it answered that it is congested: its messages are sent again later')
    pass(api, 301_000)
    expect(codes(api, 's')).toEqual([])
  })

  test('an awake period has delivered what it may', () => {
    const api = apiOf({ wakeMessages: 1 })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }))
    sleep(api, sensor, 600)
    const publish = publisher(api)
    for (let i = 0; i < 3; i++) publish('site/valve')
    const { receive } = sensor
    deafen(sensor)
    sensor.act((client, now) => client.wake(now))
    pass(api, 1000)
    expect(reason(api, 's', 'wake-limit')).toMatchObject({ messages: 2, option: 'wake_messages' })
    sensor.receive = receive
    pass(api, 30_000)
    expect(codes(api, 's')).toEqual(['asleep'])
  })
})

describe('the port, and the address', () => {
  test('the address is not validated', () => {
    const api = apiOf({ trustedNetworks: [], unprovenPerSecond: 0 })
    subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }))
    publisher(api)('site/valve', 'x'.repeat(200))
    expect(reason(api, 's', 'address-not-validated')).toMatchObject({ option: 'trusted_networks' })
    expect(codes(api, 's')).not.toContain('airtime')
  })

  test('the port may not send yet', () => {
    const api = apiOf({ ports: [{ ...PORT, airtime: { bytesPerSecond: 2, dutyCycle: 1 } }] })
    const sensor = connectSensor(api, 's', { keepAliveSeconds: 3600 })
    pass(api, 10_000)
    subscribed(api, sensor)
    const publish = publisher(api)
    publish('site/valve')
    const { until } = reason(api, 's', 'airtime')
    expect(reason(api, 's', 'airtime')).toMatchObject({ port: 'sn' })
    expect(codes(api, 's')).not.toContain('address-not-validated')
    const ms = Date.parse(until as string) - (1_800_000_000_000 + api.world.schedule.now)
    expect(ms).toBeGreaterThan(0)
    pass(api, ms + 1000)
    expect(codes(api, 's')).not.toContain('airtime')
  })

  test('the hour is used up: the time when the port may send again', () => {
    // 36 seconds an hour, of which messages have nine tenths: 324 octets.
    const api = apiOf({ ports: [{ ...PORT, airtime: { bytesPerSecond: 10, dutyCycle: 0.01 } }] })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 36_000 }), 'site/valve', 0)
    pass(api, 10_000)
    subscribed(api, sensor, 'site/valve', 0)
    pass(api, 10_000)
    const publish = publisher(api)
    for (let i = 0; i < 3; i++) {
      publish('site/valve', 'x'.repeat(150), { qos: 0 })
      pass(api, 60_000)
    }
    const { until } = reason(api, 's', 'airtime')
    expect(Date.parse(until as string) - 1_800_000_000_000).toBeGreaterThan(3_600_000)
  })

  test('its port is not configured any more', () => {
    const options: { ports?: NonNullable<GatewayOptions['ports']> } = {}
    const api = apiOf(options)
    sleep(api, subscribed(api, connectSensor(api, 's')), 600)
    options.ports = [{ ...PORT, name: 'radio' }]
    api.world.crash()
    const again = new TestApi(api.world)
    expect(codes(again, 's')).toEqual(['asleep', 'port-missing'])
  })
})

describe('what waits', () => {
  test('is too large for a datagram', () => {
    const api = apiOf()
    sleep(api, subscribed(api, connectSensor(api, 's'), 'site/#'), 600)
    const publish = publisher(api)
    publish('site/valve', 'x'.repeat(1015))
    expect(codes(api, 's')).toEqual(['asleep', 'topic-not-registered'])
    publish('site/valve', 'x'.repeat(1016))
    publish(`site/${'x'.repeat(1100)}`)
    expect(reason(api, 's', 'too-large')).toMatchObject({ topic: 'site/valve', bytes: 1025, bytes_limit: 1024 })
    expect(reasons(api, 's').filter(({ code }) => code === 'too-large')[1]?.text).toContain('too long for REGISTER')
  })

  test('its topic is refused by the sensor, or it does not answer', () => {
    const api = apiOf({ unansweredRounds: 1 })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 10 }), 'site/#')
    sensor.refuses = (topic) => topic === 'site/valve'
    sensor.ignores = (topic) => topic === 'site/pump'
    const publish = publisher(api)
    publish('site/valve')
    publish('site/pump')
    pass(api, 60_000)
    expect(codes(api, 's', 'site/light')).toEqual(['topic-not-registered'])
    expect(reason(api, 's', 'topic-refused', 'site/valve').text).toContain('it has refused to register site/valve')
    expect(reason(api, 's', 'topic-refused', 'site/pump').text).toContain('it did not answer REGISTER for site/pump')
  })

  test('needs a topic id, and all are taken', () => {
    const api = apiOf({ topicsPerClient: 2 })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/#')
    for (const topic of ['a/1', 'a/2']) {
      expect(codes(api, 's', 'site/valve')).toEqual(['topic-not-registered'])
      sensor.act((client, now) => client.register(now, topic))
      pass(api, 1000)
    }
    expect(reason(api, 's', 'topic-ids-used-up', 'site/valve')).toMatchObject({ limit: 2, option: 'max_sn_topics_per_client' })
    // And so it is: the message is dropped.
    publisher(api)('site/valve')
    pass(api, 1000)
    expect(api.ask('GET', '/api/v1/clients/s').body.counters.dropped).toBe(1)
  })

  test('looking makes no topic id used more recently', () => {
    const api = apiOf({ topicsPerClient: 2 })
    const sensor = subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 3600 }), 'site/#')
    const publish = publisher(api)
    publish('site/one')
    publish('site/two')
    pass(api, 1000)
    codes(api, 's', 'site/one')
    publish('site/three')
    pass(api, 1000)
    expect(sensor.client.topicId('site/three')).toBeDefined()
    const topics = api.ask('GET', '/api/v1/clients/s').body.topic_ids.map(({ topic }: { topic: string }) => topic)
    expect(topics).toEqual(['site/two', 'site/three'])
  })
})

describe('the store', () => {
  test('has not written the records of its answers', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's'))
    api.world.store.stalled = true
    sensor.act((client, now) => client.register(now, 'site/pump'))
    pass(api, 1000)
    expect(codes(api, 's')).toEqual(['store-waits'])
  })

  test('has no room for a topic id', () => {
    const api = apiOf()
    subscribed(api, connectSensor(api, 's'), 'site/#')
    const publish = publisher(api)
    api.world.store.refuse = true
    publish('site/valve', 'x', { qos: 0 })
    expect(reason(api, 's', 'store-full').text).toBe('the store is full: no topic id can be recorded for its messages')
  })

  test('refuses: all clients have this reason', () => {
    const api = apiOf()
    subscribed(api, connectSensor(api, 's'))
    api.notReady = 'disk I/O error'
    expect(reason(api, 's', 'store-full').text).toBe('Roost accepts no messages that must be stored: disk I/O error')
  })
})

describe('a sensor with its session at a cluster', () => {
  const reasonsAt = ({ server, now }: SensorWorld, topic?: string) => {
    const entry = sensorEntry(server.gateway.sensors.get('valve')!, undefined)
    return [...reasonsOf(server, entry, { now, topic, status: { notReady: () => undefined } })]
  }

  test('nothing holds back what it gets while it is connected there and subscribed', () => {
    const { world } = connected()
    expect(reasonsAt(world)).toEqual([{ code: 'no-subscriptions', text: 'it has no subscriptions' }])
    world.send(R, say.subscribe('down/#', 1))
    world.advance(200)
    expect(reasonsAt(world, 'down/x')).toEqual([])
    expect(reasonsAt(world, 'up/x')).toMatchObject([{ code: 'no-match', text: expect.stringContaining('it has down/#') }])
  })

  test('the cluster is away, and it sleeps or not', () => {
    const { world, far } = connected()
    world.send(R, say.subscribe('down/#', 1))
    world.advance(20_000)
    far.away.add('mqtt://far:1883')
    world.breakAll()
    world.advance(10_000)
    expect(reasonsAt(world)).toMatchObject([
      { code: 'cluster-away', text: 'its session has no connection to the cluster: connect ECONNREFUSED' },
    ])
    far.away.clear()
    world.advance(20_000)
    expect(reasonsAt(world)).toEqual([])
    world.send(R, say.disconnect(600))
    far.publish('down/x', 'a', 1, 9)
    expect(reasonsAt(world)).toMatchObject([{ code: 'asleep', messages: 1 }])
  })
})
