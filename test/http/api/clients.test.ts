import { beforeEach, describe, expect, test } from 'vitest'
import { NO_PROPERTIES } from '../../../src/mqtt/properties.ts'
import { bytes, will } from '../../broker/harness.ts'
import { connectClient, connectSensor, pass, TestApi } from '../harness.ts'

let api: TestApi
beforeEach(() => {
  api = new TestApi()
})
const path = (id: string): string => `/api/v1/clients/${encodeURIComponent(id)}`
const publish = (from: ReturnType<typeof connectClient>, topic: string, payload = 'x', more = {}): void => {
  from.act((client, now) => client.publish(now, { topic, payload: bytes(payload), qos: 1, ...more }))
  pass(api, 100)
}

describe('one client', () => {
  test('everything that is known of an MQTT client', () => {
    const archive = connectClient(api, 'a/b c', {
      username: 'eva',
      keepAliveSeconds: 30,
      will: will('gone', 'bye', 1, { willDelayInterval: 5 }),
    })
    archive.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 2, noLocal: true }]))
    pass(api, 100)
    const { status, body } = api.ask('GET', path('mqtt:a/b c'))
    expect(status).toBe(200)
    expect(body).toMatchObject({
      id: 'mqtt:a/b c',
      state: 'connected',
      user: 'eva',
      protocol_version: '5.0',
      keep_alive_seconds: 30,
      persistent: true,
      expiry_seconds: 3600,
      subscriptions: [{ filter: 'site/#', qos: 2, no_local: true, retain_as_published: false, retain_handling: 0 }],
      queue: { messages: 0, bytes: 0, first: [] },
      in_flight: { messages: 0, bytes: 0, first: [] },
      will: { topic: 'gone', qos: 1, retain: false, payload_bytes: 3, delay_seconds: 5, payload_base64: 'Ynll' },
    })
    expect(body).not.toHaveProperty('expires')
    expect(api.ask('GET', path('a/b c')).body).toEqual(body)
  })

  test('who may only view sees no payload', () => {
    connectClient(api, 'archive', { will: will('gone', 'secret') })
    const { body } = api.ask('GET', path('archive'), { role: 'view' })
    expect(body.will).toEqual({ topic: 'gone', qos: 0, retain: false, payload_bytes: 6, delay_seconds: 0 })
  })

  test('the queue of an absent client, when it expires, and whose messages they are', () => {
    const archive = connectClient(api, 'archive')
    archive.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 1 }]))
    pass(api, 100)
    archive.act((client, now) => client.disconnect(now))
    pass(api, 100)
    const from = connectClient(api, 'from')
    for (let i = 0; i < 101; i++) publish(from, `site/${i}`, 'four', { properties: { messageExpiryInterval: 60 } })
    const { body } = api.ask('GET', path('archive'))
    expect(body).toMatchObject({ state: 'disconnected', waiting_messages: 101, expires: '2027-01-15T09:00:00Z' })
    expect(body.queue.first).toHaveLength(100)
    expect(body.queue.first[0]).toEqual({
      topic: 'site/0',
      qos: 1,
      payload_bytes: 4,
      publisher: 'mqtt:from',
      accepted: '2027-01-15T08:00:00Z',
      expires: '2027-01-15T08:01:00Z',
    })
  })

  test('what is in flight', () => {
    const archive = connectClient(api, 'archive', { properties: { sessionExpiryInterval: 3600, receiveMaximum: 2 } })
    archive.act((client, now) => client.subscribe(now, [{ filter: 'site/#', qos: 1 }]))
    pass(api, 100)
    // Its bytes no longer arrive anywhere, so that nothing is acknowledged.
    archive.say = () => {}
    const from = connectClient(api, 'from')
    for (let i = 0; i < 3; i++) publish(from, `site/${i}`)
    const { body } = api.ask('GET', path('archive'))
    expect(body).toMatchObject({ window: 2, queue: { messages: 1 }, in_flight: { messages: 2 } })
    expect(body.in_flight.first).toMatchObject([{ packet_id: 1, state: 'sent', topic: 'site/0', qos: 1, payload_bytes: 1 }, {}])
  })

  test('a sensor: topic ids, what waits for it, and its will; looking at it changes nothing', () => {
    const sensor = connectSensor(api, 'sensor-7', {
      keepAliveSeconds: 60,
      will: { topic: 'gone', message: bytes('bye'), qos: 1, retain: false },
    })
    sensor.act((client, now) => client.subscribe(now, 'site/valve', 1))
    pass(api, 1000)
    sensor.act((client, now) => client.sleep(now, 600))
    pass(api, 1000)
    publish(connectClient(api, 'from'), 'site/valve', 'open')
    expect(api.server.gateway.clientsAtRest).toBe(1)
    const appended = api.world.store.appended
    const { body } = api.ask('GET', path('sn:sensor-7'))
    expect(body).toMatchObject({
      id: 'sn:sensor-7',
      state: 'asleep',
      sleep_seconds: 600,
      protocol_version: '1.2',
      keep_alive_seconds: 60,
      clean: false,
      topic_ids: [{ id: 1025, topic: 'site/valve', requested_by: 'sensor', known: true }],
      subscriptions: [{ filter: 'site/valve' }],
      queue: { messages: 1, first: [{ topic: 'site/valve', publisher: 'mqtt:from' }] },
    })
    pass(api, 1000)
    expect(api.world.store.appended).toBe(appended)
    sensor.act((client, now) => client.wake(now))
    pass(api, 1000)
    expect(api.server.gateway.clientsAtRest).toBe(1)
  })

  test('a sensor: what it has sent and was sent, its wakes, and its day', () => {
    const sensor = connectSensor(api, 'sensor-7')
    sensor.act((client, now) => client.subscribe(now, 'site/valve', 1))
    pass(api, 1000)
    const counters = () => api.ask('GET', path('sn:sensor-7')).body.counters
    const before = counters()
    expect(before).toMatchObject({ messages_received: 0, messages_sent: 0, wakes: 0, retransmissions: 0, dropped: 0, refused: 0 })
    sensor.act((client, now) => client.publish(now, 'site/temperature', bytes('21.5'), 1))
    pass(api, 1000)
    sensor.act((client, now) => client.sleep(now, 600))
    pass(api, 1000)
    const from = connectClient(api, 'from')
    for (const text of ['open', 'shut']) publish(from, 'site/valve', text)
    sensor.act((client, now) => client.wake(now))
    pass(api, 1000)
    const after = counters()
    expect(after).toMatchObject({ messages_received: 1, messages_sent: 2, wakes: 1, retransmissions: 0 })
    expect(after.bytes_received - before.bytes_received).toBeGreaterThan(20)
    expect(after.bytes_sent - before.bytes_sent).toBeGreaterThan(20)
    pass(api, 3_600_000)
    const { last_day: day } = api.ask('GET', path('sn:sensor-7')).body
    expect(day).toHaveLength(96)
    expect(day.slice(-4, -1)).toEqual(['lost', 'lost', 'lost'])
    expect(day.slice(0, 90)).toEqual(Array.from({ length: 90 }, () => 'unknown'))
  })

  test.each(['mqtt:none', 'sn:none', 'none', 'sn:archive', ' ', '__proto__', 'mqtt:', 'x'.repeat(10_000)])('%s: 404', (id) => {
    connectClient(api, 'archive')
    const { status, body } = api.ask('GET', path(id))
    expect(status).toBe(404)
    expect(body.detail.length).toBeLessThan(200)
  })

  test('a client id that an MQTT client and a sensor have', () => {
    connectClient(api, 'twin')
    connectSensor(api, 'twin')
    expect(api.ask('GET', path('twin'))).toMatchObject({ status: 409, body: { detail: expect.stringContaining('sn:twin') } })
    expect(api.ask('GET', path('sn:twin')).body.protocol).toBe('mqtt-sn')
    expect(api.ask('GET', path('mqtt:twin')).body.protocol).toBe('mqtt')
  })

  test('names that peers choose are bounded in all', () => {
    const archive = connectClient(api, 'archive')
    for (let i = 0; i < 10; i++) {
      const filter = `${i}/${'x'.repeat(60_000)}`
      archive.act((client, now) => client.subscribe(now, [{ filter, qos: 1 }]))
      pass(api, 100)
    }
    const { body } = api.ask('GET', path('archive'))
    expect(body.subscription_count).toBe(10)
    expect(body.subscriptions.length).toBeLessThan(4)
  })
})

describe('disconnect', () => {
  test('an MQTT 5 client gets Administrative action, and its session stays', () => {
    const events: object[] = []
    const archive = connectClient(api, 'archive', { will: will('gone', 'bye') })
    archive.onEvent = (event) => events.push(event)
    const other = connectClient(api, 'other')
    const heard: string[] = []
    other.onEvent = (event) => event.event === 'message' && heard.push(event.message.topic)
    other.act((client, now) => client.subscribe(now, [{ filter: 'gone' }]))
    pass(api, 100)
    expect(api.ask('POST', `${path('archive')}/disconnect`, { user: 'eva' }).status).toBe(204)
    api.world.input({ kind: 'durable' })
    pass(api, 1000)
    expect(events).toMatchObject([{ event: 'disconnected', reasonCode: 0x98 }])
    expect(heard).toEqual(['gone'])
    expect(api.ask('GET', path('archive')).body.state).toBe('disconnected')
    expect(api.notices.last({ code: 'operator-action', client: 'archive' }, 10)).toMatchObject([
      { notice: { client: 'mqtt:archive', user: 'eva', level: 'info' } },
    ])
    expect(api.ask('POST', `${path('archive')}/disconnect`)).toMatchObject({ status: 409 })
  })

  test('a sensor that listens gets DISCONNECT; one that sleeps has to connect again when it wakes', () => {
    const [active, asleep] = [connectSensor(api, 'active'), connectSensor(api, 'asleep')]
    asleep.act((client, now) => client.sleep(now, 60))
    pass(api, 1000)
    for (const id of ['active', 'asleep']) expect(api.ask('POST', `${path(id)}/disconnect`).status).toBe(204)
    api.world.input({ kind: 'durable' })
    pass(api, 1000)
    expect(active.client.state).toBe('disconnected')
    expect(asleep.client.state).toBe('asleep')
    expect(api.ask('GET', path('asleep')).body.state).toBe('disconnected')
    asleep.act((client, now) => client.wake(now))
    pass(api, 1000)
    expect(asleep.client.state).toBe('disconnected')
  })
})

describe('the end of a session', () => {
  test('of a connected client: its will is published though its delay has not passed, and the answer waits for the record', () => {
    connectClient(api, 'archive', { will: will('gone', 'bye', 0, { willDelayInterval: 600 }) })
    const other = connectClient(api, 'other')
    const heard: string[] = []
    other.onEvent = (event) => event.event === 'message' && heard.push(event.message.topic)
    other.act((client, now) => client.subscribe(now, [{ filter: 'gone' }]))
    pass(api, 100)
    const step = api.begin('DELETE', path('archive'))
    api.world.store.delayMs = undefined
    let pause = step()
    for (; pause.done !== true && pause.value.kind === 'turn'; pause = step()) api.world.input({ kind: 'durable' })
    expect(pause).toMatchObject({ done: false, value: { kind: 'durable' } })
    expect(pause.done !== true && pause.value.kind === 'durable' && pause.value.lsn).toBeGreaterThan(api.world.store.durable)
    expect(step()).toMatchObject({ done: true, value: { status: 204 } })
    api.world.store.commit()
    api.world.input({ kind: 'durable' })
    pass(api, 100)
    expect(heard).toEqual(['gone'])
    expect(api.ask('GET', path('archive')).status).toBe(404)
    api.world.crash()
    expect(new TestApi(api.world).ask('GET', path('archive')).status).toBe(404)
  })

  test('of an absent client, and of one whose session ends with its connection', () => {
    const absent = connectClient(api, 'absent')
    absent.act((client, now) => client.disconnect(now))
    connectClient(api, 'brief', { properties: NO_PROPERTIES })
    pass(api, 100)
    for (const id of ['absent', 'brief']) {
      expect(api.ask('DELETE', path(id)).status).toBe(204)
      expect(api.ask('GET', path(id)).status).toBe(404)
    }
    expect(api.server.broker.sessions.size).toBe(0)
    expect(api.ask('DELETE', path('absent')).status).toBe(404)
  })

  test.each(['active', 'asleep', 'disconnected'] as const)('of a sensor that is %s: the gateway forgets it too', (state) => {
    const sensor = connectSensor(api, 'sensor-7')
    sensor.act((client, now) => client.subscribe(now, 'site/valve', 1))
    pass(api, 1000)
    if (state === 'asleep') sensor.act((client, now) => client.sleep(now, 600))
    if (state === 'disconnected') sensor.act((client, now) => client.disconnect(now))
    pass(api, 1000)
    expect(api.ask('GET', path('sensor-7')).body.state).toBe(state)
    expect(api.ask('DELETE', path('sensor-7')).status).toBe(204)
    expect([api.server.gateway.clientCount, api.server.broker.sessions.size]).toEqual([0, 0])
    pass(api, 100)
    api.world.crash()
    expect([api.server.gateway.clientCount, api.server.broker.sessions.size]).toEqual([0, 0])
    pass(api, 1000)
    if (state !== 'asleep') return
    sensor.act((client, now) => client.wake(now))
    pass(api, 1000)
    expect(sensor.client.state).toBe('disconnected')
  })

  test('a client that comes back in the meantime is disconnected again; after some times it is left alone', () => {
    connectClient(api, 'stubborn')
    api.betweenTurns = () => {
      api.world.input({ kind: 'durable' })
      if (api.server.broker.sessions.get('mqtt', 'stubborn')?.link === undefined) connectClient(api, 'stubborn')
    }
    expect(api.ask('DELETE', path('stubborn'))).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('ban_file') },
    })
    expect(api.ask('GET', path('stubborn')).body.state).toBe('connected')
  })

  test('without room in the store: 503, and it follows when there is room', () => {
    connectClient(api, 'archive')
    api.world.store.refuse = true
    expect(api.ask('DELETE', path('archive'))).toMatchObject({
      status: 503,
      body: { detail: expect.stringContaining('no room') },
    })
    api.world.store.refuse = false
    expect(api.ask('GET', path('archive')).status).toBe(404)
    connectClient(api, 'another')
    api.ask('DELETE', path('another'))
    api.world.crash()
    expect(new TestApi(api.world).ask('GET', path('archive')).status).toBe(404)
  })
})
