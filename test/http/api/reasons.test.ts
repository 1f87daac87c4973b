import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Access, OPEN_ACCESS } from '../../../src/broker/access.ts'
import { REASONS } from '../../../src/http/api/reason.ts'
import { covers } from '../../../src/mqtt/topics.ts'
import { bytes } from '../../broker/harness.ts'
import { connectClient, connectSensor, pass } from '../harness.ts'
import { apiOf, codes, listens, publisher, type Reason, reason, reasons, sleep, subscribed } from './reason-harness.ts'

test('every reason is in docs/troubleshooting.md, and has a test', () => {
  const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8')
  const tests = read('./reasons.test.ts') + read('./sensor-reasons.test.ts')
  const docs = read('../../../docs/troubleshooting.md')
  for (const code of REASONS) {
    expect(tests, code).toContain(`'${code}'`)
    expect(docs, code).toContain(`\`${code}\``)
  }
})

describe('the state of a client', () => {
  test('nothing holds back the messages of a sensor and of a client that are there', () => {
    const api = apiOf()
    subscribed(api, connectSensor(api, 's'))
    listens(api, connectClient(api, 'c'))
    publisher(api)('site/valve')
    pass(api, 1000)
    expect(codes(api, 's', 'site/valve')).toEqual([])
    expect(codes(api, 'c', 'site/valve')).toEqual([])
  })

  test('asleep, and overdue', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's'))
    sleep(api, sensor, 600)
    expect(reason(api, 's', 'asleep')).toMatchObject({ text: 'it is asleep: messages for it wait until it wakes', messages: 0 })
    const publish = publisher(api)
    publish('site/valve', 'open')
    publish('site/valve', 'shut')
    expect(reason(api, 's', 'asleep')).toEqual({
      code: 'asleep',
      text: 'it is asleep: 2 messages wait until it wakes',
      since: '2027-01-15T08:00:02Z',
      until: '2027-01-15T08:10:02Z',
      messages: 2,
      bytes: 28,
    })
    pass(api, 650_000)
    expect(reason(api, 's', 'overdue')).toMatchObject({
      messages: 2,
      since: '2027-01-15T08:10:02Z',
      until: '2027-01-15T08:15:02Z',
    })
  })

  test('lost', () => {
    const api = apiOf()
    subscribed(api, connectSensor(api, 's', { keepAliveSeconds: 60 }))
    api.world.network.carry = () => {}
    pass(api, 120_000)
    publisher(api)('site/valve')
    expect(reason(api, 's', 'lost')).toMatchObject({ text: 'it is lost: 1 message waits until it connects again', messages: 1 })
    expect(reason(api, 's', 'qos0-while-away')).toMatchObject({ option: 'queue_qos0_messages' })
  })

  test('disconnected: a sensor and an MQTT client', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's'))
    sensor.act((client, now) => client.disconnect(now))
    const client = listens(api, connectClient(api, 'c'), 'site/#', 0)
    client.act((mqtt, now) => mqtt.disconnect(now))
    pass(api, 1000)
    expect(reason(api, 's', 'disconnected')).toMatchObject({ messages: 0 })
    expect(reason(api, 'c', 'disconnected')).toMatchObject({ until: '2027-01-15T09:00:02Z', messages: 0 })
    expect(reason(api, 'c', 'qos0-while-away').text).toBe(
      'while it is away, no QoS 0 messages are kept for it, nor any for its 1 subscription with QoS 0',
    )
  })

  test('the session has ended, but its sensor may still repeat DISCONNECT', () => {
    const api = apiOf()
    const sensor = connectSensor(api, 's', { cleanSession: true })
    sensor.act((client, now) => client.disconnect(now))
    pass(api, 1000)
    expect(codes(api, 's')).toEqual(['session-ended'])
  })

  test('a client that has never connected', () => {
    const { status, body } = apiOf().ask('GET', '/api/v1/clients/nobody')
    expect(status).toBe(404)
    expect(body.detail).toBe('there is no client nobody: it has never connected, was refused each time, or its session has ended')
  })

  test('in the middle of its CONNECT', () => {
    const api = apiOf()
    subscribed(api, connectSensor(api, 's'))
    api.world.store.stalled = true
    const again = api.world.addSensor({ clientId: 's', cleanSession: true })
    again.act((client, now) => client.connect(now))
    pass(api, 1000)
    expect(codes(api, 's')[0]).toBe('connecting')
  })

  test('another client has its address', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's'))
    const other = api.world.addSensor({ clientId: 'other', cleanSession: false })
    other.address = sensor.address
    other.act((client, now) => client.connect(now))
    pass(api, 1000)
    publisher(api)('site/valve')
    expect(reason(api, 's', 'address-taken')).toMatchObject({ messages: 1 })
  })
})

describe('what it has subscribed to', () => {
  test('nothing, or nothing that matches', () => {
    const api = apiOf()
    connectClient(api, 'c')
    expect(codes(api, 'c')).toEqual(['no-subscriptions'])
    subscribed(api, connectSensor(api, 's'))
    expect(codes(api, 's')).toEqual([])
    expect(reason(api, 's', 'no-match', 'site/pump')).toMatchObject({
      text: 'no subscription matches site/pump: it has site/valve',
      topic: 'site/pump',
    })
  })

  test('a condition holds messages back, or could not be evaluated', () => {
    const api = apiOf()
    const client = connectClient(api, 'c')
    client.act((mqtt, now) =>
      mqtt.subscribe(now, [{ filter: 'site/t', qos: 0 }], { userProperties: [['filter', 'json.t > 25']] }),
    )
    pass(api, 100)
    expect(codes(api, 'c')).toEqual([])
    for (const payload of ['{"t":30}', '{"t":20}', '{}'])
      connectClient(api, 'p').act((mqtt, now) => mqtt.publish(now, { topic: 'site/t', payload: bytes(payload) }))
    pass(api, 100)
    expect(reason(api, 'c', 'condition')).toMatchObject({
      text: 'the condition of site/t, json.t > 25, did not let 2 of 3 messages through, 1 of them because it could not be evaluated (docs/filters.md)',
      filter: 'site/t',
      messages: 2,
    })
    expect(codes(api, 'c', 'site/other')).not.toContain('condition')
    const { body } = api.ask('GET', '/api/v1/clients/c')
    expect(body.subscriptions[0].condition).toEqual({ text: 'json.t > 25', valid: true, evaluated: 3, passed: 1, failed: 1 })
  })

  test('the access rules deny it: a filter, and a topic', () => {
    const denied = new Set<string>()
    const access: Access = {
      ...OPEN_ACCESS,
      readsAll: () => false,
      keepsSubscriptions: () => true,
      subscribe: (_, filter) => !denied.has(filter),
      read: (_, topic) => ![...denied].some((filter) => covers(filter, topic)),
    }
    const api = apiOf({}, {}, {}, access)
    listens(api, listens(api, connectClient(api, 'c')), 'secret/#')
    denied.add('secret/#')
    api.world.input({ kind: 'access-changed' })
    expect(reason(api, 'c', 'read-denied')).toMatchObject({ filter: 'secret/#' })
    expect(reasons(api, 'c', 'secret/key').map(({ topic }) => topic)).toContain('secret/key')
    expect(reasons(api, 'c', 'site/valve').map(({ topic }) => topic)).not.toContain('site/valve')
  })

  test('another member of a shared subscription may get it', () => {
    const api = apiOf()
    listens(api, connectClient(api, 'one'), '$share/g/site/#')
    expect(codes(api, 'one', 'site/valve')).toEqual([])
    listens(api, connectClient(api, 'two'), '$share/g/site/#')
    expect(reason(api, 'one', 'shared', 'site/valve')).toMatchObject({
      text: 'it shares $share/g/site/# with 1 other client: one of them gets each message',
      filter: '$share/g/site/#',
    })
  })
})

describe('its queue', () => {
  test.each([
    ['messages', { maxQueuedMessages: 2 }, 'max_queued_messages', '2 of 2 messages'],
    ['messages of sensors', { queueLimit: 2 }, 'queue_limit', '2 of 2 messages'],
    ['bytes', { maxQueuedBytes: 30 }, 'max_queued_bytes', '22 of 30 bytes'],
  ] as const)('full: %s', (_, limits, option, size) => {
    const api = apiOf({}, limits)
    sleep(api, subscribed(api, connectSensor(api, 's')), 600)
    const publish = publisher(api)
    for (let i = 0; i < 5; i++) publish('site/valve')
    expect(reason(api, 's', 'queue-full')).toMatchObject({
      text: `its queue is full (${size}): further messages are dropped (queue_full), 3 so far`,
      messages: 2,
      dropped: 3,
      option,
    })
  })

  test('full, with drop_oldest', () => {
    const api = apiOf({}, { maxQueuedMessages: 2, queueFull: 'drop_oldest' })
    sleep(api, subscribed(api, connectSensor(api, 's')), 600)
    const publish = publisher(api)
    for (let i = 0; i < 3; i++) publish('site/valve')
    expect(reason(api, 's', 'queue-full').text).toContain('the oldest are dropped for new ones (queue_full), 1 so far')
  })

  test('no memory is left for it', () => {
    const api = apiOf({}, {}, { maxMemoryPerClient: 4000 })
    sleep(api, subscribed(api, connectSensor(api, 's')), 600)
    const publish = publisher(api)
    expect(codes(api, 's')).toEqual(['asleep'])
    for (let i = 0; i < 10; i++) publish('site/valve', 'x'.repeat(300))
    expect(reason(api, 's', 'no-memory')).toMatchObject({ option: 'max_memory_per_client' })
  })

  test('what waits has expired', () => {
    const api = apiOf()
    const sensor = subscribed(api, connectSensor(api, 's'))
    sleep(api, sensor, 6000)
    publisher(api)('site/valve', 'x', { properties: { messageExpiryInterval: 60 } })
    // Expired messages leave the queue with the next timer: until then they are seen.
    const { server } = api.world
    const [session] = [...server.broker.sessions]
    expect(session).toBeDefined()
    const at = api.world.schedule.now + 60_001
    const route = api.routes.find(({ path, method }) => path === '/api/v1/clients/:id' && method === 'GET')!
    const answer = route.answer({
      now: at,
      params: { id: 's' },
      query: {},
      body: undefined,
      role: 'manage',
      user: undefined,
      csrfToken: '',
      lastEventId: undefined,
    })
    const found: Reason[] = JSON.parse((answer as { body: string }).body).reasons
    expect(found).toContainEqual({ code: 'expired', text: '1 message has expired, and is dropped instead of sent', messages: 1 })
  })
})

describe('an MQTT client that is connected', () => {
  test('it does not read', () => {
    const api = apiOf()
    const client = listens(api, connectClient(api, 'c'), 'site/#', 0)
    client.lookAway()
    const publish = publisher(api)
    for (let i = 0; i < 5; i++) publish('site/valve', 'x'.repeat(100), { qos: 0 })
    expect(reason(api, 'c', 'not-reading').text).toMatch(/its socket accepts no more bytes, \d messages wait/)
  })

  test('it does not acknowledge, and its window is full', () => {
    const api = apiOf({}, { maxInflightMessages: 2 })
    const client = listens(api, connectClient(api, 'c', { properties: { sessionExpiryInterval: 3600, maximumPacketSize: 100 } }))
    client.say = () => {}
    const publish = publisher(api)
    publish('site/valve')
    expect(codes(api, 'c')).toEqual(['not-acknowledged'])
    publish('site/valve')
    publish('site/pump')
    publish('site/pump', 'x'.repeat(200))
    expect(reason(api, 'c', 'not-acknowledged')).toMatchObject({
      text: 'it has not acknowledged 2 messages: PUBACK is awaited for packet id 1',
      awaiting: 'PUBACK',
      msg_id: 1,
      messages: 2,
      topic: 'site/valve',
    })
    expect(reason(api, 'c', 'window-full')).toMatchObject({ limit: 2, messages: 2 })
    expect(reason(api, 'c', 'too-large')).toMatchObject({ topic: 'site/pump', bytes: 209, bytes_limit: 100 })
  })

  test('QoS 2: PUBREC, then PUBCOMP', () => {
    const api = apiOf()
    const client = listens(api, connectClient(api, 'c'), 'site/#', 2)
    const { say } = client
    client.say = () => {}
    const publish = publisher(api)
    publish('site/valve', 'x', { qos: 2 })
    expect(reason(api, 'c', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBREC' })
    say.call(client, new Uint8Array([0x50, 2, 0, 1]))
    pass(api, 100)
    expect(reason(api, 'c', 'not-acknowledged')).toMatchObject({ awaiting: 'PUBCOMP' })
  })

  test('the store has to write a record first', () => {
    const api = apiOf()
    listens(api, connectClient(api, 'c'), 'site/#', 2)
    const publish = publisher(api)
    api.world.store.stalled = true
    publish('site/valve', 'x', { qos: 2 })
    expect(codes(api, 'c')).toContain('store-waits')
  })
})
