import { describe, expect, test } from 'vitest'
import { DelayedStore } from '../../../fuzz/sim/delayed-store.ts'
import { OPEN_ACCESS } from '../../../src/broker/access.ts'
import type { BrokerLimits } from '../../../src/broker/limits.ts'
import { DEFAULT_LIMITS } from '../../../src/broker/limits.ts'
import { publishRoutes } from '../../../src/http/api/publish.ts'
import type { Pause } from '../../../src/http/exchange.ts'
import { PERSISTENT, TestBroker } from '../../broker/harness.ts'
import { ask, expectValid } from './harness.ts'

const publish = (world: TestBroker, body: object, between?: (pause: Pause) => void) => {
  const routes = publishRoutes(world.broker)
  expectValid(routes[0]!.spec!.body!, body, 'the body')
  return ask(routes, 'POST', '/api/v1/publish', { body, user: 'eva', now: world.now }, between)
}
const refused = (limits: Partial<BrokerLimits>, body: object): readonly [number, string] => {
  const world = new TestBroker({ limits: { ...DEFAULT_LIMITS, ...limits } })
  const { status, json } = publish(world, body)
  return [status, (json as { detail: string }).detail]
}

describe('a message over HTTP', () => {
  test('reaches subscribers with everything that it has', () => {
    const world = new TestBroker()
    const subscriber = world.connect('sub')
    subscriber.subscribe('a/#', 2)
    subscriber.poll()
    const body = {
      topic: 'a/b',
      payload: 'grün',
      qos: 1,
      expiry: 60,
      properties: {
        payload_format: 'utf-8',
        content_type: 'text/plain',
        response_topic: 'r',
        correlation_data: 'Yw==',
        user_properties: [
          { name: 'a', value: '1' },
          { name: 'a', value: '2' },
        ],
      },
    }
    expect(publish(world, body).json).toEqual({ receivers: 1 })
    expect(subscriber.link.poll(world.now)).toMatchObject({
      qos: 1,
      message: {
        topic: 'a/b',
        payload: new Uint8Array(Buffer.from('grün')),
        properties: {
          payloadFormatIndicator: 1,
          messageExpiryInterval: 60,
          contentType: 'text/plain',
          responseTopic: 'r',
          correlationData: new Uint8Array([0x63]),
          userProperties: [
            ['a', '1'],
            ['a', '2'],
          ],
        },
      },
    })
    expect(world.broker.stats.publishReceived).toBe(1)
  })

  test('may be bytes, or empty, and nobody need be there', () => {
    const world = new TestBroker()
    const subscriber = world.connect('sub')
    subscriber.subscribe('a')
    expect(publish(world, { topic: 'a', payload_base64: '/wA=' }).json).toEqual({ receivers: 1 })
    expect(publish(world, { topic: 'a' }).json).toEqual({ receivers: 1 })
    expect(publish(world, { topic: 'b', qos: 2 }).json).toEqual({ receivers: 0 })
    subscriber.link.poll(0)
    const delivery = subscriber.link.poll(0) as { readonly message: { readonly payload: Uint8Array } }
    expect([...delivery.message.payload]).toEqual([0xff, 0])
    expect(subscriber.link.poll(0)).toMatchObject({ message: { payloadLength: 0 } })
  })

  test.each([1, 2] as const)('with QoS %d is answered when it is durable, and sent then', (qos) => {
    const store = new DelayedStore()
    const world = new TestBroker({}, store)
    const subscriber = world.connect('sub', PERSISTENT)
    subscriber.subscribe('a', qos)
    world.commit()
    subscriber.poll()
    const { pauses } = publish(world, { topic: 'a', payload: 'x', qos }, () => {
      if (qos === 2) expect(subscriber.poll()).toEqual([])
      world.commit()
    })
    expect(pauses).toEqual([{ kind: 'durable', lsn: store.durable }])
    expect(TestBroker.restarted(store, 0).broker.sessions.waiting().messages).toBe(1)
  })

  test('that is retained belongs to nobody whose rights could end, before and after a restart', () => {
    const store = new DelayedStore()
    const access = { ...OPEN_ACCESS, publish: () => false }
    const world = new TestBroker({ access }, store)
    publish(world, { topic: 'a', payload: 'x', retain: true })
    store.commit()
    expect(world.broker.retained.get('a')?.author).toMatchObject({ key: 'http:eva', owner: undefined })
    const again = TestBroker.restarted(store, 0)
    expect(again.broker.retained.get('a')?.author).toMatchObject({ key: 'http:eva', owner: undefined })
    const subscriber = world.connect('sub')
    subscriber.subscribe('a')
    world.commit()
    expect(subscriber.poll()).toContain('a=x q0 retain')
    publish(world, { topic: 'a', retain: true })
    expect(world.broker.retained.count).toBe(0)
  })
})

describe('refused:', () => {
  const BOTH = { payload: 'x', payload_base64: 'eA==' }
  const PAIR = { name: 'a', value: '\0' }
  test.each([
    ['a topic of the broker', { topic: '$SYS/x' }, 403, 'only the broker publishes there'],
    ['a topic of the broker', { topic: '$CONTROL/x' }, 403, 'only the broker publishes there'],
    ['a wildcard', { topic: 'a/+' }, 400, 'topic: wildcard in a topic name'],
    ['half a surrogate pair', { topic: 'a\ud800' }, 400, 'topic: contains U+0000 or half a surrogate pair'],
    ['a long topic', { topic: 'ä'.repeat(32_768) }, 400, 'topic: longer than 65535 bytes'],
    ['a deep topic', { topic: '/'.repeat(200) }, 400, 'beyond a limit (max_topic_levels)'],
    ['two payloads', { topic: 'a', ...BOTH }, 400, 'payload: excludes payload_base64'],
    [
      'a wildcard in a response topic',
      { topic: 'a', properties: { response_topic: '#' } },
      400,
      'properties.response_topic: wildcard in a topic name',
    ],
    [
      'U+0000',
      { topic: 'a', properties: { user_properties: [PAIR] } },
      400,
      'properties.user_properties: contains U+0000 or half a surrogate pair',
    ],
    [
      'long correlation data',
      { topic: 'a', properties: { correlation_data: 'AAAA'.repeat(22_000) } },
      400,
      'properties.correlation_data: longer than 65535 bytes',
    ],
  ])('%s', (_, body, status, detail) => expect(refused({}, body)).toEqual([status, detail]))

  test.each(['A', 'AAAAA', 'e A=', 'eA==\n', 'eA==eA==', 'AA=A', 'eAAA=', '!', '=', '=='])(
    '%j is not valid base64',
    (encoded) => {
      expect(refused({}, { topic: 'a', payload_base64: encoded })).toEqual([400, 'payload_base64: is not valid base64'])
      const body = { topic: 'a', properties: { correlation_data: encoded } }
      expect(refused({}, body)).toEqual([400, 'properties.correlation_data: is not valid base64'])
    },
  )

  test('what is beyond a limit', () => {
    const retained = { topic: 'a', payload: 'xx', retain: true }
    expect(refused({ messageSizeLimit: 1 }, retained)).toEqual([413, 'beyond a limit (message_size_limit)'])
    expect(refused({ maxRetainedMessages: 0 }, retained)).toEqual([507, 'beyond a limit (max_retained_messages)'])
    expect(refused({ retainAvailable: false }, retained)).toEqual([409, 'nothing is retained here (retain_available)'])
  })

  test('what the store has no room for', () => {
    const store = new DelayedStore()
    store.refuse = true
    const world = new TestBroker({}, store)
    expect(publish(world, { topic: 'a', payload: 'x', retain: true })).toMatchObject({
      status: 507,
      json: { detail: 'the store is full' },
    })
    expect(world.broker.retained.count).toBe(0)
  })

  test('with a notice that names the user', () => {
    const world = new TestBroker()
    publish(world, { topic: '$SYS/x' })
    expect(world.notices).toEqual([
      {
        code: 'publish-refused',
        level: 'info',
        client: 'http:eva',
        reason: 'only the broker publishes there: $SYS/x: reason code 0x87',
      },
    ])
  })
})
