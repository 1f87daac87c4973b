import { describe, expect, test } from 'vitest'
import { NoticeCounts } from '../src/base/notice.ts'
import { type BrokerLimits, DEFAULT_LIMITS } from '../src/broker/limits.ts'
import { FIXED, type FixedKey } from '../src/config/fixed.ts'
import { OPTIONS, type OptionKey } from '../src/config/options.ts'
import { CelLanguage } from '../src/filters/io/cel.ts'
import { connectPacket } from '../src/gateway/translate.ts'
import { type ConnectionLimits, DEFAULT_CONNECTION_LIMITS, DEFAULT_LISTENER_LIMITS } from '../src/mqtt/connection-limits.ts'
import type { Packet } from '../src/mqtt/packets.ts'
import type { Properties } from '../src/mqtt/properties.ts'
import type { QoS } from '../src/mqtt/publish.ts'
import { Publish } from '../src/mqtt/publish.ts'
import { Wire } from './mqtt/wire.ts'

interface Bound {
  readonly key: OptionKey | FixedKey
  readonly broker?: Partial<BrokerLimits>
  readonly connections?: Partial<ConnectionLimits>
  /** Stays within the bound, and then reaches it; `peer` is connected and has nothing to do with it. */
  readonly reach: (wire: Wire) => void
  /** What is told to whoever reached it: a reason code in CONNACK, SUBACK, PUBACK or DISCONNECT. */
  readonly told?: number
}

const publish = (topic: string, size = 1, more: { qos?: QoS; id?: number; retain?: boolean; properties?: Properties } = {}) =>
  Publish.of(topic, Buffer.alloc(size, 'x'), more.qos ?? 0, more.retain ?? false, more.id ?? 0, more.properties ?? {})
const subscribe = (...filters: string[]): Packet => ({
  type: 8,
  packetId: 1,
  subscriptions: filters.map((filter) => ({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 })),
  properties: {},
})
const conditional = (condition: string, ...filters: string[]): Packet =>
  ({ ...subscribe(...filters), properties: { userProperties: [['filter', condition]] } }) as Packet
const pairs = (count: number): Properties => ({ userProperties: Array.from({ length: count }, (_, i) => [`k${i}`, 'v']) })
/** Clients of different addresses. */
const at = (id: number) => ({ peer: `192.0.2.${id}:1` })
const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 60 } }
const will = (topic: string, size = 1) => ({ topic, payload: Buffer.alloc(size), qos: 0 as const, retain: false, properties: {} })

/** A subscriber that is away, and a publisher for it. */
function awaySubscriber(wire: Wire): number {
  const reader = wire.connect({ clientId: 'away', ...lasting })
  wire.send(reader, subscribe('queue'))
  wire.close(reader)
  return wire.connect({ clientId: 'publisher' })
}

/** Every bound that a peer can reach, with how to reach it. */
const BOUNDS: readonly Bound[] = [
  {
    key: 'max_connections',
    connections: { maxConnections: 3 },
    reach: (wire) => [wire.open(), wire.open(), wire.open()],
  },
  {
    key: 'max_connections_per_address',
    connections: { maxConnectionsPerAddress: 2 },
    reach: (wire) => {
      for (const peer of ['192.0.2.1:1', '192.0.2.2:2', '192.0.2.1:3', '[2001:db8::1]:4']) wire.open({ peer })
      // Programs of one machine are many peers.
      for (let i = 0; i < 3; i++) wire.open({ peer: 'unix:/run/roost.sock' })
      expect(wire.codes()).not.toContain('limit-reached')
      wire.open({ peer: '192.0.2.1:5' })
    },
  },
  {
    key: 'max_event_loop_lag_ms',
    reach: (wire) => {
      wire.connections.overloaded = true
      wire.open()
      wire.connections.overloaded = false
    },
  },
  {
    key: 'connect_timeout_seconds',
    connections: { connectTimeoutMs: 1000 },
    reach: (wire) => {
      wire.open()
      wire.advance(1000)
    },
  },
  {
    key: 'max_connect_packet_size',
    connections: { maxConnectPacketSize: 100 },
    reach: (wire) => wire.connect({ clientId: 'x'.repeat(100) }),
  },
  {
    key: 'max_packet_size',
    connections: { maxPacketSize: 100 },
    reach: (wire) => wire.send(wire.connect(), publish('a', 100)),
    told: 0x95,
  },
  {
    key: 'max_subscribe_packet_size',
    connections: { maxSubscribePacketSize: 100 },
    reach: (wire) => wire.send(wire.connect(), subscribe('x'.repeat(100))),
    told: 0x95,
  },
  {
    key: 'max_receive_buffer_bytes',
    connections: { maxPacketSize: 100_000, maxReceiveBufferBytes: 50_000 },
    reach: (wire) => {
      const [first, second] = [wire.connect(), wire.connect()]
      const begun = `30ffff03${'00'.repeat(60_000)}`
      wire.sendHex(first, begun)
      expect(wire.out(first)).toHaveLength(1)
      wire.sendHex(second, begun.slice(0, 20_000))
    },
    told: 0x97,
  },
  {
    key: 'message_size_limit',
    broker: { messageSizeLimit: 10 },
    reach: (wire) => {
      const connection = wire.connect()
      wire.send(connection, publish('a', 10, { qos: 1, id: 1 }))
      expect(wire.notices.filter(({ limit }) => limit !== undefined)).toEqual([])
      wire.send(connection, publish('a', 11, { qos: 1, id: 2 }))
    },
    told: 0x97,
  },
  {
    key: 'message_size_limit',
    broker: { messageSizeLimit: 10 },
    reach: (wire) => wire.connect({ will: will('a', 11) }),
    told: 0x95,
  },
  {
    key: 'max_user_properties',
    connections: { maxUserProperties: 5 },
    reach: (wire) => wire.connect({ properties: pairs(6) }),
    told: 0x97,
  },
  {
    key: 'max_user_properties',
    connections: { maxUserProperties: 5 },
    reach: (wire) => wire.send(wire.connect({ properties: pairs(5) }), publish('a', 1, { properties: pairs(6) })),
    told: 0x97,
  },
  {
    key: 'max_user_properties',
    connections: { maxUserProperties: 5 },
    reach: (wire) => wire.connect({ will: { ...will('a'), properties: pairs(6) } }),
    told: 0x97,
  },
  {
    key: 'max_property_bytes',
    connections: { maxPropertyBytes: 20 },
    reach: (wire) => {
      const connection = wire.connect()
      // The length of a string stands before it, and so does the name of the property.
      wire.send(connection, publish('a', 1, { properties: { contentType: 'x'.repeat(17) } }))
      expect(wire.notices.filter(({ limit }) => limit !== undefined)).toEqual([])
      wire.send(connection, publish('a', 1, { properties: { contentType: 'x'.repeat(18) } }))
    },
    told: 0x97,
  },
  {
    key: 'max_property_bytes',
    connections: { maxPropertyBytes: 20 },
    reach: (wire) => wire.connect({ will: { ...will('a'), properties: { contentType: 'x'.repeat(18) } } }),
    told: 0x97,
  },
  {
    key: 'max_topic_alias',
    connections: { listeners: new Map([['mqtt', { ...DEFAULT_LISTENER_LIMITS, topicAliasMaximum: 2 }]]) },
    reach: (wire) => wire.send(wire.connect(), publish('a', 1, { properties: { topicAlias: 3 } })),
    told: 0x94,
  },
  {
    key: 'max_topic_alias_bytes',
    connections: { maxTopicAliasBytes: 100 },
    reach: (wire) => {
      const connection = wire.connect()
      for (const [i, topic] of ['a', 'b'].entries())
        wire.send(connection, publish(topic.repeat(60), 1, { properties: { topicAlias: i + 1 } }))
    },
    told: 0x97,
  },
  {
    key: 'receive_maximum',
    broker: { receiveMaximum: 2 },
    reach: (wire) => {
      const connection = wire.connect()
      for (const id of [1, 2, 3]) wire.send(connection, publish('a', 1, { qos: 2, id }))
    },
    told: 0x93,
  },
  {
    key: 'max_publish_rate',
    connections: { maxPublishRate: 5 },
    reach: (wire) => {
      const connection = wire.connect()
      for (let i = 0; i < 6; i++) wire.send(connection, publish('a'))
    },
  },
  {
    key: 'max_inflight_messages',
    broker: { maxInflightMessages: 2 },
    reach: (wire) => {
      const reader = wire.connect()
      wire.send(reader, subscribe('a'))
      for (const id of [1, 2, 3]) wire.send(reader, publish('a', 1, { qos: 1, id }))
    },
  },
  {
    key: 'max_inflight_bytes',
    broker: { maxInflightBytes: 10 },
    reach: (wire) => {
      const reader = wire.connect()
      wire.send(reader, subscribe('a'))
      for (const id of [1, 2]) wire.send(reader, publish('a', 20, { qos: 1, id }))
    },
  },
  {
    key: 'max_queued_messages',
    broker: { maxQueuedMessages: 2 },
    reach: (wire) => {
      const publisher = awaySubscriber(wire)
      for (const id of [1, 2, 3]) wire.send(publisher, publish('queue', 1, { qos: 1, id }))
    },
  },
  {
    key: 'max_queued_messages',
    broker: { maxQueuedMessages: 2, queueFull: 'drop_oldest' },
    reach: (wire) => {
      const publisher = awaySubscriber(wire)
      for (const id of [1, 2, 3]) wire.send(publisher, publish('queue', 1, { qos: 1, id }))
    },
  },
  {
    key: 'queue_limit',
    broker: { queueLimit: 2 },
    reach: (wire) => {
      const sensor = wire.broker.open(wire.now, { kind: 'sn', peer: 'r', listener: 'sn' })
      sensor.send(wire.now, connectPacket('sleeper', false, 60, undefined))
      sensor.send(wire.now, subscribe('queue'))
      sensor.listen(wire.now, false)
      const publisher = awaySubscriber(wire)
      for (const id of [1, 2, 3]) wire.send(publisher, publish('queue', 1, { qos: 1, id }))
    },
  },
  {
    key: 'max_queued_bytes',
    broker: { maxQueuedBytes: 100 },
    reach: (wire) => {
      const publisher = awaySubscriber(wire)
      for (const id of [1, 2]) wire.send(publisher, publish('queue', 60, { qos: 1, id }))
    },
  },
  {
    key: 'max_queued_bytes',
    broker: { maxQueuedBytes: 100, maxRetainedBytes: 1900 },
    reach: (wire) => {
      wire.send(wire.connect(), publish('kept', 900, { retain: true }))
      const reader = wire.connect()
      wire.congested(reader, true)
      for (let times = 0; times < 4; times++) wire.send(reader, subscribe('kept'))
      expect(wire.broker.sessions.waiting()).toEqual({ messages: 3, bytes: 2712 })
    },
  },
  {
    key: 'max_retained_messages',
    broker: { maxRetainedMessages: 2 },
    reach: (wire) => {
      for (const id of [1, 2, 3]) wire.send(wire.connect({}, at(id)), publish(`t${id}`, 1, { qos: 1, id, retain: true }))
    },
    told: 0x97,
  },
  {
    key: 'max_retained_messages',
    broker: { maxRetainedMessages: 1 },
    reach: (wire) => {
      wire.send(wire.connect(), publish('t', 1, { retain: true }))
      wire.close(wire.connect({ will: { ...will('other'), retain: true } }))
    },
  },
  {
    key: 'max_queued_bytes',
    broker: { maxQueuedBytes: 1000 },
    reach: (wire) => {
      const publisher = awaySubscriber(wire)
      for (const id of [1, 2]) wire.send(publisher, publish('queue', 1, { qos: 1, id, properties: pairs(6) }))
    },
  },
  {
    key: 'max_retained_bytes',
    broker: { maxRetainedBytes: 1700 },
    reach: (wire) => {
      const properties = { correlationData: Buffer.alloc(400), responseTopic: 'r'.repeat(400) }
      for (const id of [1, 2, 3])
        wire.send(wire.connect({}, at(id)), publish(`t${id}`, 1, { qos: 1, id, retain: true, properties }))
    },
    told: 0x97,
  },
  {
    key: 'max_retained_bytes',
    broker: { maxRetainedBytes: 130 },
    reach: (wire) => {
      for (const id of [1, 2, 3]) wire.send(wire.connect({}, at(id)), publish(`t${id}`, 60, { qos: 1, id, retain: true }))
    },
    told: 0x97,
  },
  {
    key: 'max_retained_lookups_per_second',
    broker: { maxRetainedLookupsPerSecond: 1000 },
    reach: (wire) => {
      const connection = wire.connect()
      for (let i = 0; i < 100; i++) wire.send(connection, publish(`t/${i}`, 1, { retain: true }))
      wire.send(connection, subscribe(...Array.from({ length: 10 }, (_, i) => `+/+/${i}`), 't/1', 'once/too/often/#'))
    },
    told: 0x97,
  },
  {
    key: 'max_sessions',
    broker: { maxSessions: 3 },
    reach: (wire) => [wire.connect(), wire.connect(), wire.connect()],
    told: 0x97,
  },
  {
    key: 'max_sn_sessions',
    broker: { maxSnSessions: 2 },
    reach: (wire) => {
      for (const clientId of ['a', 'b', 'c']) {
        const link = wire.broker.open(wire.now, { kind: 'sn', peer: 'sensor', listener: 'sn' })
        link.send(wire.now, connectPacket(clientId, true, 0, undefined))
      }
    },
  },
  {
    key: 'max_sessions_per_address',
    broker: { maxSessionsPerAddress: 2 },
    reach: (wire) => {
      for (const peer of ['192.0.2.1:1', '192.0.2.1:2', '192.0.2.2:3', '192.0.2.1:4']) wire.connect({}, { peer })
    },
    told: 0x97,
  },
  {
    key: 'max_sessions_per_user',
    broker: { maxSessionsPerUser: 2 },
    reach: (wire) => {
      // As certificates say.
      for (const identity of ['alice', 'alice', 'bob', 'alice']) wire.connect({}, { identity })
    },
    told: 0x97,
  },
  {
    key: 'max_subscriptions_per_session',
    broker: { maxSubscriptionsPerSession: 2 },
    reach: (wire) => wire.send(wire.connect(), subscribe('a', 'b', 'a', 'c')),
    told: 0x97,
  },
  {
    key: 'max_subscriptions_per_session',
    connections: { maxFilters: 2 },
    reach: (wire) => wire.send(wire.connect(), subscribe('a', 'b', 'c')),
    told: 0x97,
  },
  {
    key: 'max_subscriptions_per_session',
    connections: { maxFilters: 2 },
    reach: (wire) => wire.send(wire.connect(), { type: 10, packetId: 1, filters: ['a', 'b', 'c'], properties: {} }),
    told: 0x97,
  },
  {
    key: 'max_wildcard_shapes_per_session',
    broker: { maxWildcardShapesPerSession: 2 },
    reach: (wire) => wire.send(wire.connect(), subscribe('a/+', 'b/+', 'a', 'c/#', 'd/+', 'e/#', '+/a')),
    told: 0x97,
  },
  {
    key: 'max_shared_copies_per_session',
    broker: { maxSharedCopiesPerSession: 2 },
    reach: (wire) => wire.send(wire.connect(), subscribe('$share/g/a', '$share/g/b', 'a', '$share/h/#', '$share/i/a')),
    told: 0x97,
  },
  {
    key: 'max_conditions',
    broker: { maxConditions: 1 },
    reach: (wire) => {
      const client = wire.connect()
      for (const condition of ['true', 'true', 'false']) wire.send(client, conditional(condition, condition))
    },
    told: 0x97,
  },
  {
    key: 'max_conditions_per_session',
    broker: { maxConditionsPerSession: 2 },
    reach: (wire) => wire.send(wire.connect(), conditional('true', 'a', 'b', 'a', 'c')),
    told: 0x97,
  },
  {
    key: 'max_deep_wildcard_levels',
    broker: { maxDeepWildcardLevels: 4 },
    reach: (wire) => {
      const tail = '/3/4/5/6/7/8/9/10'
      wire.send(wire.connect(), subscribe(`a/+${tail}`, `b/+${tail}`, `+/b${tail}`, '+/+/+/+/+/+/+/+', `+/+${tail}`))
    },
    told: 0x97,
  },
  {
    key: 'max_topic_levels',
    broker: { maxTopicLevels: 3 },
    reach: (wire) => wire.send(wire.connect(), publish('a/b/c/d', 1, { qos: 1, id: 1 })),
    told: 0x90,
  },
  {
    key: 'max_topic_levels',
    broker: { maxTopicLevels: 3 },
    reach: (wire) => wire.send(wire.connect(), subscribe('a/b/c/#')),
    told: 0x8f,
  },
  {
    key: 'max_topic_levels',
    broker: { maxTopicLevels: 3 },
    reach: (wire) => wire.connect({ will: will('a/b/c/d') }),
    told: 0x90,
  },
  {
    key: 'max_keepalive',
    connections: { maxKeepAlive: 60 },
    reach: (wire) => wire.connect({ protocolVersion: 4, keepAlive: 61 }),
    told: 0x85,
  },
  {
    key: 'write_timeout_seconds',
    reach: (wire) => {
      const reader = wire.connect()
      wire.congested(reader, true)
      wire.connections.stuck(wire.now, reader)
      wire.run()
    },
  },
]

/** The reason codes in everything that was told to this connection. */
function codes(wire: Wire, connection: number): number[] {
  return wire.packets(connection).flatMap((packet) => {
    if (typeof packet === 'string') return []
    if ('reasonCodes' in packet) return packet.reasonCodes
    return 'reasonCode' in packet ? [packet.reasonCode] : []
  })
}

describe('a bound that is reached', () => {
  test.each(BOUNDS.map((bound, i) => [bound.key, i] as const))('%s (%i)', (key, i) => {
    const { broker = {}, connections = {}, reach, told } = BOUNDS[i]!
    const wire = new Wire(connections, { limits: broker, conditions: { language: new CelLanguage() } })
    const bystander = wire.connect({ clientId: 'bystander' })
    wire.send(bystander, subscribe('still/here'))
    wire.out(bystander)
    reach(wire)
    // A Notice names the option or the fixed value, and nothing else is reached.
    const counts = new NoticeCounts()
    for (const notice of wire.notices) counts.add(notice)
    expect([...counts.byLimit.keys()]).toEqual([key])
    expect(counts.byLimit.get(key)).toBe(1)
    const bound = key in FIXED ? FIXED[key as FixedKey].value : OPTIONS[key as OptionKey].default
    expect(bound).toBeDefined()
    if (told !== undefined) {
      const toAll = Array.from({ length: 8 }, (_, other) => (other + 1 === bystander ? [] : codes(wire, other + 1))).flat()
      expect(toAll).toContain(told)
    }
    // Who has nothing to do with it goes on as before.
    wire.send(bystander, publish('still/here', 5))
    expect(wire.packets(bystander)).toMatchObject([{ type: 3, topic: 'still/here' }])
  })

  test('there is a row for every bound in the core that a peer can reach', () => {
    const bounds = [...Object.entries(DEFAULT_LIMITS), ...Object.entries(DEFAULT_CONNECTION_LIMITS)]
    const numbers = bounds.filter(([, value]) => typeof value === 'number').map(([name]) => name)
    const covered = new Set<string>(BOUNDS.map(({ key }) => key.replaceAll('_', '').replace(/seconds$/, '')))
    // How long a session may stay is a wish of the operator, and nothing is refused for it.
    const rest = numbers.filter((name) => !covered.has(name.toLowerCase().replace(/ms$/, '')))
    // And what one packet may ask for is what a session may hold, or more.
    expect(rest).toEqual(['persistentClientExpiration', 'maxFilters'])
  })
})
