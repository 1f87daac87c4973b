import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { NoticeCounts } from '../../src/base/notice.ts'
import { OPEN_ACCESS } from '../../src/broker/access.ts'
import { type SysFigures, SysTopics } from '../../src/broker/sys-topics.ts'
import type { ServerOptions } from '../../src/server.ts'
import { type Lsn, MemoryStore, type Store, type StoreRecord } from '../../src/store/store.ts'
import { type Connected, taken, World } from '../server-world.ts'
import { will } from './harness.ts'

const MOSQUITTO = readFileSync(new URL('../vectors/mosquitto-sys-topics.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('$SYS'))

class RecordingStore extends MemoryStore {
  override readonly isMemory = false
  readonly records: StoreRecord[] = []
  override append(record: StoreRecord): Lsn {
    this.records.push(record)
    return 0
  }
}

/** `topic value`, `topic value retain`: what has come since this was asked last. */
const lines = (connected: Connected): string[] =>
  taken(connected).map(({ topic, text, retain }) => `${topic} ${text}${retain ? ' retain' : ''}`)

class SysWorld extends World {
  constructor(options: Partial<ServerOptions> = {}, store: Store = new MemoryStore()) {
    super({ presence: {}, clock: { epoch: 0 }, ...options }, store)
  }

  datagram(hex: string): void {
    this.server.handle(this.now, { kind: 'datagram', route: 'udp', bytes: Buffer.from(hex, 'hex') })
    this.run()
  }

  /** What the broker has under this name, as a new subscriber finds it. */
  value(name: string): string | undefined {
    const reader = this.connect('reader', { version: 4 })
    this.subscribe(reader, `$SYS/broker/${name}`)
    this.disconnect(reader)
    return reader.got[0]?.text
  }
}

const topicsOf = (lines: readonly string[]): string[] => lines.map((line) => line.replace(/ [^ ]*( seconds)?( retain)?$/, ''))

describe('the names', () => {
  test('are those of Mosquitto, and ours are apart', () => {
    const world = new SysWorld({ processFigures: () => ({ heapBytes: 1000, eventLoopLagMs: 2 }) })
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/#')
    const names = lines(monitor)
      .map((line) => line.replace(/^(\$SYS\/broker\/(retained messages\/)?[^ ]*).*$/, '$1'))
      .sort()
    expect(names.filter((name) => !name.startsWith('$SYS/broker/roost/'))).toEqual(MOSQUITTO)
    expect(names.filter((name) => name.startsWith('$SYS/broker/roost/'))).toEqual([
      '$SYS/broker/roost/event_loop_lag_ms',
      ...['active', 'asleep', 'awake', 'disconnected', 'lost'].map((state) => `$SYS/broker/roost/sensor_states/${state}`),
    ])
  })

  test('of what the process does not tell there is no topic', () => {
    const world = new SysWorld()
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/broker/heap/#')
    expect(lines(monitor)).toEqual([])
  })
})

describe('who sees them, and how', () => {
  test('# and +/# do not see them, $SYS/# does, and so does a shared subscription from the next update on', () => {
    const world = new SysWorld()
    const all = world.connect('all')
    for (const filter of ['#', '+/#', '+/broker/uptime']) world.subscribe(all, filter)
    const shared = world.connect('shared')
    world.subscribe(shared, '$share/g/$SYS/broker/uptime')
    world.advance(10_000)
    expect(lines(all)).toEqual([])
    expect(lines(shared)).toEqual(['$SYS/broker/uptime 10 seconds'])
  })

  test('they are retained, and QoS 0 whatever is asked for', () => {
    const world = new SysWorld({ broker: { upgradeOutgoingQos: true } })
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/broker/uptime', { qos: 2, retainAsPublished: true })
    world.advance(10_000)
    expect(lines(monitor)).toEqual(['$SYS/broker/uptime 0 seconds retain', '$SYS/broker/uptime 10 seconds retain'])
  })

  test('rules decide who may read them', () => {
    const access = { ...OPEN_ACCESS, read: (_who: unknown, topic: string) => !topic.startsWith('$SYS/broker/clients/') }
    const world = new SysWorld({ access })
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/broker/clients/#')
    world.subscribe(monitor, '$SYS/broker/version')
    world.advance(10_000)
    expect(lines(monitor)).toEqual(['$SYS/broker/version roost version 1.2.3 retain'])
  })
})

describe('when they are published', () => {
  test('every interval, and only what has changed', () => {
    const world = new SysWorld()
    world.advance(10_000)
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/#')
    world.advance(10_000)
    taken(monitor)
    world.advance(9999)
    expect(lines(monitor)).toEqual([])
    world.advance(1)
    const changed = topicsOf(lines(monitor))
    expect(changed).toContain('$SYS/broker/uptime')
    expect(changed).toContain('$SYS/broker/bytes/sent')
    // Nothing but the broker's own telling went on.
    expect(changed).not.toContain('$SYS/broker/version')
    expect(changed).not.toContain('$SYS/broker/clients/connected')
    expect(changed).not.toContain('$SYS/broker/messages/received')
  })

  test('an interval of 0 is off', () => {
    const world = new SysWorld({ sysInterval: 0 })
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/#')
    expect(world.server.nextTimeout()).toBeUndefined()
    world.advance(100_000)
    expect(lines(monitor)).toEqual([])
  })
})

describe('what they tell', () => {
  test('clients', () => {
    const world = new SysWorld()
    const gone = world.connect('gone', { cleanStart: false, properties: { sessionExpiryInterval: 15 } })
    world.connect('stays')
    world.disconnect(gone)
    world.advance(10_000)
    expect(world.value('clients/connected')).toBe('1')
    expect(world.value('clients/active')).toBe('1')
    expect(world.value('clients/disconnected')).toBe('1')
    expect(world.value('clients/total')).toBe('2')
    expect(world.value('clients/maximum')).toBe('2')
    expect(world.value('clients/expired')).toBe('0')
    world.advance(10_000)
    expect(world.value('clients/inactive')).toBe('0')
    expect(world.value('clients/expired')).toBe('1')
  })

  test('a take-over is no second client', () => {
    const world = new SysWorld()
    world.connect('same')
    world.connect('same')
    world.advance(10_000)
    expect(world.value('clients/connected')).toBe('1')
    expect(world.value('clients/maximum')).toBe('1')
  })

  test('traffic: 2 messages of 3 bytes to 2 subscribers, 1 of them kept', () => {
    const world = new SysWorld()
    const publisher = world.connect('publisher', { version: 4 })
    for (const id of ['one', 'two']) world.subscribe(world.connect(id, { version: 4 }), 'a')
    world.publish(publisher, 'a', 'abc')
    world.publish(publisher, 'a', 'def', { retain: true })
    world.advance(10_000)
    expect(world.value('publish/messages/received')).toBe('2')
    expect(world.value('publish/messages/sent')).toBe('4')
    expect(world.value('publish/bytes/received')).toBe('6')
    expect(world.value('publish/bytes/sent')).toBe('12')
    // 3 CONNECT, 2 SUBSCRIBE, 2 PUBLISH; 3 CONNACK, 2 SUBACK, 4 PUBLISH.
    expect(world.value('messages/received')).toBe('7')
    expect(world.value('messages/sent')).toBe('9')
    // CONNECT 14 + client id, SUBSCRIBE 8, PUBLISH 8; CONNACK 4, SUBACK 5, PUBLISH 8.
    expect(world.value('bytes/received')).toBe(String(14 * 3 + 15 + 2 * 8 + 2 * 8))
    expect(world.value('bytes/sent')).toBe(String(3 * 4 + 2 * 5 + 4 * 8))
    expect(world.value('retained messages/count')).toBe('1')
    expect(world.value('store/messages/count')).toBe('1')
    expect(world.value('store/messages/bytes')).toBe('4')
    expect(world.value('subscriptions/count')).toBe('2')
    expect(world.value('shared_subscriptions/count')).toBe('0')
    expect(world.value('load/sockets/1min')).toBe((18 * (1 - Math.exp(-1 / 6))).toFixed(2))
  })

  test('what waits for who is away, and what is dropped; shared subscriptions', () => {
    const world = new SysWorld({ broker: { maxQueuedMessages: 2 } })
    const away = world.connect('away', { cleanStart: false, properties: { sessionExpiryInterval: 1000 } })
    world.subscribe(away, '$share/g/a', { qos: 1 })
    world.disconnect(away)
    const publisher = world.connect('publisher')
    for (const payload of ['1', '2', '3']) world.publish(publisher, 'a', payload, { qos: 1 })
    world.advance(10_000)
    expect(world.value('messages/stored')).toBe('2')
    expect(world.value('publish/messages/dropped')).toBe('1')
    expect(world.value('subscriptions/count')).toBe('0')
    expect(world.value('shared_subscriptions/count')).toBe('1')
    expect(world.value('roost/limits/max_queued_messages')).toBe('1')
    expect(world.value('roost/notices/queue-full')).toBe('1')
  })

  test('a message too large for its client is dropped, not sent', () => {
    const world = new SysWorld()
    const small = world.connect('small', { properties: { maximumPacketSize: 100 } })
    world.subscribe(small, 'a')
    world.publish(world.connect('publisher'), 'a', 'x'.repeat(200))
    world.advance(10_000)
    expect(world.value('publish/messages/sent')).toBe('0')
    expect(world.value('publish/bytes/sent')).toBe('0')
    expect(world.value('publish/messages/dropped')).toBe('1')
  })

  test('sensors count like everybody', () => {
    const world = new SysWorld()
    world.datagram('0a0404010e1073656e73')
    world.datagram('090c02616200006869')
    world.advance(10_000)
    expect(world.value('clients/connected')).toBe('1')
    expect(world.value('messages/received')).toBe('2')
    expect(world.value('messages/sent')).toBe('1')
    expect(world.value('bytes/received')).toBe('19')
    expect(world.value('bytes/sent')).toBe('3')
    expect(world.value('publish/messages/received')).toBe('1')
    expect(world.value('publish/bytes/received')).toBe('2')
  })

  test('every bound that was reached, by its key', () => {
    const world = new SysWorld({
      connections: { maxConnections: 3 },
      broker: { maxTopicLevels: 5, maxSubscriptionsPerSession: 1 },
    })
    const one = world.connect('one')
    world.publish(one, 'a/b/c/d/e/f', '', { qos: 1 })
    world.subscribe(one, 'a')
    world.subscribe(one, 'b')
    world.connect('two')
    world.connect('three')
    world.connect('four')
    world.disconnect(one)
    world.advance(10_000)
    expect(world.value('roost/limits/max_connections')).toBe('1')
    expect(world.value('roost/limits/max_topic_levels')).toBe('1')
    expect(world.value('roost/limits/max_subscriptions_per_session')).toBe('1')
    expect(world.value('roost/notices/limit-reached')).toBe('1')
  })

  test('moving averages as Mosquitto 2.0.11 has them: 27 bytes in 11 s', () => {
    const topics = new SysTopics('')
    const figures = (received: number): SysFigures => ({ ...NOTHING, bytes: { received, sent: 0 } })
    topics.update(0, figures(0))
    const load = (now: number, received: number): string[] =>
      topics
        .update(now, figures(received))
        .filter(({ topic }) => topic.includes('/load/'))
        .map(({ topic, value }) => `${topic.slice('$SYS/broker/load/bytes/received/'.length)} ${value}`)
    expect(load(11_000, 27)).toEqual(['1min 24.67', '5min 5.30', '15min 1.79'])
    // Nothing more comes: they fade.
    expect(load(71_000, 27)).toEqual(['1min 9.08', '5min 4.34', '15min 1.67'])
  })

  test('the largest heap stays', () => {
    const topics = new SysTopics('')
    const heap = (now: number, heapBytes: number): string[] =>
      topics
        .update(now, { ...NOTHING, process: { heapBytes } })
        .filter(({ topic }) => topic.includes('/heap/'))
        .map(({ topic, value }) => `${topic.slice('$SYS/broker/heap/'.length)} ${value}`)
    expect(heap(0, 5)).toEqual(['current 5', 'maximum 5'])
    expect(heap(1000, 3)).toEqual(['current 3'])
    expect(heap(2000, 7)).toEqual(['current 7', 'maximum 7'])
  })
})

describe('nobody else publishes there', () => {
  test.each(['$SYS', '$SYS/broker/uptime', '$SYS/mine'])('%s is refused', (topic) => {
    const world = new SysWorld()
    const monitor = world.connect('monitor')
    world.subscribe(monitor, '$SYS/#')
    taken(monitor)
    const client = world.connect('client')
    world.publish(client, topic, 'mine', { qos: 1, retain: true })
    world.publish(client, topic, 'mine', { qos: 2 })
    world.publish(client, topic, 'mine')
    expect(client.codes).toEqual([0x87, 0x87])
    expect(client.client.state).toBe('connected')
    expect(lines(monitor)).toEqual([])
    expect(world.server.broker.retained.count).toBe(0)
  })

  test('3.1.1 has no words for that: acknowledged, and gone', () => {
    const world = new SysWorld()
    const client = world.connect('client', { version: 4 })
    world.publish(client, '$SYS/broker/uptime', 'mine', { qos: 1, retain: true })
    expect(client.codes).toEqual([0])
    expect(world.value('uptime')).toBe('0 seconds')
  })

  test('topics that only begin alike are like all others', () => {
    const world = new SysWorld()
    const client = world.connect('client')
    world.subscribe(client, '$SYSTEM/#')
    world.publish(client, '$SYSTEM/a', 'x', { retain: true })
    expect(lines(client)).toEqual(['$SYSTEM/a x'])
    expect(world.server.broker.retained.count).toBe(1)
  })

  test('nor does a will', () => {
    const client = new SysWorld().connect('client', { will: will('$SYS/broker/uptime', 'mine') })
    expect(client.codes).toEqual([0x87])
  })
})

describe('they are rebuilt at every start', () => {
  test('nothing of them is stored, whoever waits for them', () => {
    const store = new RecordingStore()
    const world = new SysWorld({ broker: { upgradeOutgoingQos: true, queueQos0Messages: true } }, store)
    const away = world.connect('away', { cleanStart: false, properties: { sessionExpiryInterval: 1000 } })
    world.subscribe(away, '$SYS/#', { qos: 2 })
    world.disconnect(away)
    world.advance(100_000)
    expect(store.records.map(({ type }) => type)).toEqual(['clock', 'session', 'subscribe', 'detached'])
    expect(world.server.broker.sessions.waiting()).toEqual({ messages: 0, bytes: 0 })
    expect(world.value('publish/messages/dropped')).toBe('0')
  })

  test('they take no room of what clients retain', () => {
    const world = new SysWorld({ broker: { maxRetainedMessages: 1, maxRetainedBytes: 4 } })
    const client = world.connect('client')
    world.publish(client, 'a', '1', { qos: 1, retain: true })
    world.publish(client, 'b', '2', { qos: 1, retain: true })
    expect(client.codes).toEqual([0x10, 0x97])
    world.advance(10_000)
    expect(world.value('retained messages/count')).toBe('1')
    expect(world.value('roost/limits/max_retained_messages')).toBe('1')
  })
})

const NOTHING: SysFigures = {
  clients: { connected: 0, disconnected: 0, maximum: 0, expired: 0 },
  sockets: 0,
  connects: 0,
  messages: { received: 0, sent: 0 },
  publishes: { received: 0, sent: 0, dropped: 0 },
  publishBytes: { received: 0, sent: 0 },
  bytes: { received: 0, sent: 0 },
  retained: 0,
  stored: { messages: 0, bytes: 0 },
  subscriptions: { plain: 0, shared: 0 },
  notices: new NoticeCounts(),
  memory: { limit: Number.POSITIVE_INFINITY, used: new Map() },
  sensors: {},
  process: {},
}
