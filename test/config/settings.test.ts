import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import { type Config, resolveConfig } from '../../src/config/config.ts'
import { parseConfigFile } from '../../src/config/io/config-file.ts'
import { YamlFile } from '../../src/config/io/yaml-file.ts'
import { OPTIONS } from '../../src/config/options.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { createLog } from '../../src/process/log.ts'
import { type Running, startProcess } from '../../src/process/roost.ts'
import { serverOptions } from '../../src/process/server-options.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { CONNACK, CONNECT, RawClient } from '../mqtt/io/test-listener.ts'
import { Wire } from '../mqtt/wire.ts'

/** Settings that users of Mosquitto bring along: each has to do here what it does there. */
const SETTINGS = [
  ...['max_keepalive', 'max_inflight_messages', 'max_inflight_bytes', 'max_queued_messages', 'max_queued_bytes'],
  ...['queue_qos0_messages', 'message_size_limit', 'max_packet_size', 'maximum_qos', 'retain_available', 'check_retain_source'],
  ...['upgrade_outgoing_qos', 'allow_zero_length_clientid', 'auto_id_prefix', 'clientid_prefixes', 'max_connections'],
  ...[
    'max_topic_alias',
    'mount_point',
    'persistent_client_expiration',
    'sys_interval',
    'set_tcp_nodelay',
    'per_listener_settings',
  ],
]

function configOf(yaml: string): Config {
  const { global, listeners } = parseConfigFile(new YamlFile('roost.yaml', yaml))
  return { ...resolveConfig(new Map(), global, listeners), predefinedTopics: [] }
}

/** Listeners `one` and `other`, each with these lines of its own. */
const listeners = (one: string, other: string): string =>
  `listeners:\n  - {name: one, port: 1${one && ', '}${one}}\n  - {name: other, port: 2${other && ', '}${other}}\n`

/** Connections and broker, with what a configuration file makes of them. */
class Configured extends Wire {
  constructor(yaml: string, access: Access = OPEN_ACCESS) {
    const { connections, broker } = serverOptions(configOf(yaml))
    super(connections, { access, ...(broker && { limits: broker }) })
  }

  subscribe(connection: ConnectionId, filter: string, qos: QoS = 2): void {
    const request = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    this.send(connection, { type: 8, packetId: 1, subscriptions: [request], properties: {} })
  }

  publish(
    connection: ConnectionId,
    topic: string,
    more: { qos?: QoS; id?: number; text?: string; retain?: boolean; properties?: Properties } = {},
  ): void {
    const { qos = 0, id = 0, text = 'x', retain = false, properties = {} } = more
    this.send(connection, Publish.of(topic, Buffer.from(text), qos, retain, id, properties))
  }

  /** Topic, payload and QoS of the messages that came; all packets if `all`. */
  messages(connection: ConnectionId): string[] {
    return this.packets(connection).flatMap((packet) =>
      typeof packet === 'object' && packet.type === 3
        ? [`${packet.topic}=${Buffer.from(packet.payload).toString()} q${packet.qos}`]
        : [],
    )
  }

  /** The properties of CONNACK. */
  connack(connection: ConnectionId): Properties {
    const [packet] = this.packets(connection) as Packet[]
    if (packet?.type !== 2) throw new Error('no CONNACK')
    return packet.properties
  }
}

const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

/** Messages that a client with a session finds after it was away. */
function foundAfterwards(wire: Configured, published: readonly { qos?: QoS; text?: string }[]): string[] {
  const reader = wire.connect({ clientId: 'reader', ...lasting })
  wire.subscribe(reader, 'a')
  wire.close(reader)
  const writer = wire.connect()
  for (const [i, message] of published.entries()) wire.publish(writer, 'a', { ...message, id: message.qos ? i + 1 : 0 })
  return wire.messages(wire.connect({ clientId: 'reader', ...lasting }))
}

describe('for all listeners', () => {
  test('max_keepalive: 5.0 clients are told, 3.x clients above it are refused', () => {
    const wire = new Configured('max_keepalive: 60')
    expect(wire.connack(wire.connect({ keepAlive: 600 }))).toMatchObject({ serverKeepAlive: 60 })
    expect(wire.connack(wire.connect({ keepAlive: 60 }))).not.toHaveProperty('serverKeepAlive')
    expect(wire.packets(wire.connect({ protocolVersion: 4, keepAlive: 61 }))).toMatchObject([{ reasonCode: 0x85 }, 'close'])
    expect(wire.packets(wire.connect({ protocolVersion: 4, keepAlive: 60 }))).toMatchObject([{ reasonCode: 0 }])
  })

  test('max_inflight_messages: no more on their way to one client', () => {
    const wire = new Configured('max_inflight_messages: 2')
    const reader = wire.connect()
    wire.subscribe(reader, 'a')
    for (const id of [1, 2, 3, 4]) wire.publish(wire.connect(), 'a', { qos: 1, id, text: String(id) })
    expect(wire.messages(reader)).toEqual(['a=1 q1', 'a=2 q1'])
    wire.send(reader, { type: 4, packetId: 1, reasonCode: 0, properties: {} })
    expect(wire.messages(reader)).toEqual(['a=3 q1'])
  })

  test('max_inflight_bytes: no more bytes, but one message however large', () => {
    const wire = new Configured('max_inflight_bytes: 50')
    const reader = wire.connect()
    wire.subscribe(reader, 'a')
    const writer = wire.connect()
    for (const id of [1, 2, 3]) wire.publish(writer, 'a', { qos: 1, id, text: String(id).repeat(60) })
    expect(wire.messages(reader)).toHaveLength(1)
    wire.send(reader, { type: 4, packetId: 1, reasonCode: 0, properties: {} })
    expect(wire.messages(reader)).toHaveLength(1)
    // Payloads alone count, as with Mosquitto: after 49 bytes one more goes out.
    const other = new Configured('max_inflight_bytes: 50')
    const second = other.connect()
    other.subscribe(second, 'a')
    for (const id of [1, 2, 3]) other.publish(other.connect(), 'a', { qos: 1, id, text: String(id).repeat(49) })
    expect(other.messages(second)).toHaveLength(2)
  })

  test('max_queued_messages: no more wait for who is away', () => {
    const four = ['1', '2', '3', '4'].map((text) => ({ qos: 1 as const, text }))
    expect(foundAfterwards(new Configured('max_queued_messages: 3'), four)).toEqual(['a=1 q1', 'a=2 q1', 'a=3 q1'])
    expect(foundAfterwards(new Configured('max_queued_messages: 0'), four)).toHaveLength(4)
  })

  test('max_queued_bytes: no more bytes wait', () => {
    const four = ['1', '2', '3', '4'].map((text) => ({ qos: 1 as const, text: text.repeat(400) }))
    expect(foundAfterwards(new Configured('max_queued_bytes: 1024'), four)).toHaveLength(2)
  })

  test('queue_qos0_messages: QoS 0 waits too, or not', () => {
    const mixed = [{ text: '0' }, { qos: 1 as const, text: '1' }]
    expect(foundAfterwards(new Configured('queue_qos0_messages: true'), mixed)).toEqual(['a=0 q0', 'a=1 q1'])
    expect(foundAfterwards(new Configured('queue_qos0_messages: false'), mixed)).toEqual(['a=1 q1'])
  })

  test('message_size_limit: a larger payload is refused, and the connection stays', () => {
    const wire = new Configured('message_size_limit: 10')
    const client = wire.connect()
    wire.subscribe(client, 'a')
    wire.out(client)
    wire.publish(client, 'a', { qos: 1, id: 1, text: 'x'.repeat(11) })
    wire.publish(client, 'a', { qos: 0, text: 'x'.repeat(11) })
    wire.publish(client, 'a', { qos: 1, id: 2, text: 'x'.repeat(10) })
    expect(wire.packets(client)).toMatchObject([
      { type: 4, packetId: 1, reasonCode: 0x97 },
      { type: 4, packetId: 2 },
      { type: 3 },
    ])
  })

  test('max_packet_size: 5.0 clients are told, and a larger packet ends the connection', () => {
    const wire = new Configured('max_packet_size: 100')
    const client = wire.connect()
    expect(wire.connack(client)).toMatchObject({ maximumPacketSize: 100 })
    wire.publish(client, 'a', { text: 'x'.repeat(100) })
    expect(wire.packets(client)).toMatchObject([{ type: 14, reasonCode: 0x95 }, 'close'])
  })

  test('retain_available: false tells 5.0 clients, and ends the connection of who retains', () => {
    const wire = new Configured('retain_available: false')
    const client = wire.connect()
    expect(wire.connack(client)).toMatchObject({ retainAvailable: false })
    wire.publish(client, 'a', { retain: true })
    expect(wire.packets(client)).toMatchObject([{ type: 14, reasonCode: 0x9a }, 'close'])
    expect(wire.broker.retained.count).toBe(0)
  })

  test('check_retain_source: a retained message is delivered as long as its publisher may publish it, or for ever', () => {
    const found = (value: boolean): string[] => {
      let allowed = true
      const wire = new Configured(`check_retain_source: ${value}`, { ...OPEN_ACCESS, publish: () => allowed })
      wire.publish(wire.connect(), 'a', { retain: true })
      allowed = false
      const reader = wire.connect()
      wire.subscribe(reader, 'a')
      return wire.messages(reader)
    }
    expect([found(true), found(false)]).toEqual([[], ['a=x q0']])
  })

  test('upgrade_outgoing_qos: the QoS of the subscription, even above that of the message', () => {
    const received = (value: boolean): string[] => {
      const wire = new Configured(`upgrade_outgoing_qos: ${value}`)
      const reader = wire.connect()
      wire.subscribe(reader, 'a', 2)
      wire.publish(wire.connect(), 'a')
      return wire.messages(reader)
    }
    expect([received(true), received(false)]).toEqual([['a=x q2'], ['a=x q0']])
  })

  test('persistent_client_expiration: when the session of an absent client is forgotten', () => {
    const present = (yaml: string, hours: number): boolean[] => {
      const wire = new Configured(yaml)
      return ([4, 5] as const).map((protocolVersion) => {
        const options = { protocolVersion, clientId: `v${protocolVersion}`, cleanStart: false }
        const properties = protocolVersion === 5 ? { sessionExpiryInterval: 0xffffffff } : {}
        wire.close(wire.connect({ ...options, properties }))
        wire.advance(hours * 3_600_000)
        return (wire.packets(wire.connect({ ...options, properties }))[0] as { sessionPresent: boolean }).sessionPresent
      })
    }
    expect(present('persistent_client_expiration: 3600', 0.9)).toEqual([true, true])
    expect(present('persistent_client_expiration: 3600', 1.1)).toEqual([false, false])
    expect(present('persistent_client_expiration: 0', 100_000)).toEqual([true, true])
  })

  test('sys_interval: seconds between two updates of $SYS; 0 is never', () => {
    const updates = (value: number): number => {
      const server = new Server({
        ...serverOptions(configOf(`sys_interval: ${value}`)),
        store: new MemoryStore(),
        clock: { epoch: 0 },
        notice: () => {},
        random: () => 0.5,
      })
      server.recover(0)
      let count = 0
      const publishSys = vi.spyOn(server.broker, 'publishSys')
      for (let at = server.nextTimeout(); at !== undefined && at <= 60_000; at = server.nextTimeout()) {
        server.handleTimeout(at)
        if (publishSys.mock.calls.some(([, topic]) => topic.endsWith('/uptime'))) count++
        publishSys.mockClear()
      }
      return count
    }
    expect([updates(0), updates(7), updates(60)]).toEqual([0, 8, 1])
  })
})

describe('for one listener, or for all', () => {
  test('maximum_qos: what may be published, and what is granted', () => {
    const wire = new Configured(`maximum_qos: 1\n${listeners('', 'maximum_qos: 0')}`)
    for (const [listener, most] of [
      ['one', 1],
      ['other', 0],
    ] as const) {
      const client = wire.connect({}, { listener })
      expect(wire.connack(client)).toMatchObject({ maximumQoS: most })
      wire.subscribe(client, 'a', 2)
      expect(wire.packets(client)).toMatchObject([{ type: 9, reasonCodes: [most] }])
      wire.publish(client, 'a', { qos: 2, id: 1 })
      expect(wire.packets(client)).toMatchObject([{ type: 14, reasonCode: 0x9b }, 'close'])
    }
  })

  test('allow_zero_length_clientid: whether a client without an id is given one', () => {
    const wire = new Configured(`allow_zero_length_clientid: false\n${listeners('', 'allow_zero_length_clientid: true')}`)
    for (const protocolVersion of [4, 5] as const) {
      const [refused] = wire.packets(wire.connect({ clientId: '', protocolVersion }, { listener: 'one' }))
      expect(refused).toMatchObject({ type: 2, reasonCode: 0x85 })
      const [taken] = wire.packets(wire.connect({ clientId: '', protocolVersion }, { listener: 'other' }))
      expect(taken).toMatchObject({ type: 2, reasonCode: 0 })
    }
  })

  test('auto_id_prefix: how the ids begin that are given', () => {
    const wire = new Configured(`auto_id_prefix: all-\n${listeners('', 'auto_id_prefix: own-')}`)
    const assigned = (listener: string): string | undefined =>
      wire.connack(wire.connect({ clientId: '' }, { listener })).assignedClientIdentifier
    expect([assigned('one'), assigned('other')]).toEqual([expect.stringMatching(/^all-./), expect.stringMatching(/^own-./)])
  })

  test('clientid_prefixes: who may connect', () => {
    const wire = new Configured(`clientid_prefixes: dev-\n${listeners('', 'clientid_prefixes: lab-')}`)
    const codes = (listener: string): number[] =>
      ['dev-1', 'lab-1', 'x'].map(
        (clientId) => (wire.packets(wire.connect({ clientId }, { listener }))[0] as { reasonCode: number }).reasonCode,
      )
    expect([codes('one'), codes('other')]).toEqual([
      [0, 0x85, 0x85],
      [0x85, 0, 0x85],
    ])
  })

  test('max_topic_alias: how many topic aliases a client may use', () => {
    const wire = new Configured(`max_topic_alias: 5\n${listeners('', 'max_topic_alias: 0')}`)
    const one = wire.connect({}, { listener: 'one' })
    expect(wire.connack(one)).toMatchObject({ topicAliasMaximum: 5 })
    wire.publish(one, 'a', { properties: { topicAlias: 5 } })
    expect(wire.packets(one)).toEqual([])
    const other = wire.connect({}, { listener: 'other' })
    expect(wire.connack(other)).not.toHaveProperty('topicAliasMaximum')
    wire.publish(other, 'a', { properties: { topicAlias: 1 } })
    expect(wire.packets(other)).toMatchObject([{ type: 14, reasonCode: 0x94 }, 'close'])
  })

  test('mount_point: the clients of a listener live below a topic, and see nothing else', () => {
    const wire = new Configured(listeners('mount_point: house/', ''))
    const will = { topic: 'state', payload: Buffer.from('gone'), qos: 0 as const, retain: true, properties: {} }
    const inside = wire.connect({ clientId: 'inside', will }, { listener: 'one' })
    const neighbour = wire.connect({ clientId: 'neighbour' }, { listener: 'one' })
    const outside = wire.connect({ clientId: 'outside' }, { listener: 'other' })
    wire.subscribe(neighbour, '#')
    wire.subscribe(neighbour, '$share/g/shared')
    wire.subscribe(outside, '#')
    for (const client of [inside, neighbour, outside]) wire.out(client)
    wire.publish(inside, 'a')
    expect([wire.messages(neighbour), wire.messages(outside)]).toEqual([['a=x q0'], ['house/a=x q0']])
    wire.publish(outside, 'b')
    wire.publish(outside, 'house/c')
    wire.publish(outside, 'house/shared')
    expect(wire.messages(neighbour)).toEqual(['c=x q0', 'shared=x q0', 'shared=x q0'])
    wire.out(outside)
    wire.close(inside)
    expect([wire.messages(neighbour), wire.messages(outside)]).toEqual([['state=gone q0'], ['house/state=gone q0']])
    const late = wire.connect({ clientId: 'late' }, { listener: 'one' })
    wire.subscribe(late, 'state')
    expect(wire.messages(late)).toEqual(['state=gone q0'])
    wire.send(neighbour, { type: 10, packetId: 2, filters: ['#'], properties: {} })
    wire.publish(outside, 'house/d')
    expect(wire.packets(neighbour)).toMatchObject([{ type: 11, reasonCodes: [0] }])
  })

  test('per_listener_settings: what a listener says wins, whichever value it has', () => {
    for (const value of [true, false]) {
      const config = configOf(`per_listener_settings: ${value}\nauto_id_prefix: all-\n${listeners('', 'auto_id_prefix: own-')}`)
      expect(config.listeners.map(({ autoIdPrefix }) => autoIdPrefix)).toEqual(['all-', 'own-'])
    }
  })
})

describe('over sockets', () => {
  const start = (yaml: string): Promise<Running> =>
    startProcess(
      configOf(`memory: true\nsn_port: 0\n${yaml}`),
      createLog({ logLevel: 'silent', logFormat: 'json' }, process.stdout, false),
    )
  test('a file that is still being written while a reload reads it: nothing changes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'roost-settings-'))
    const acl = join(dir, 'acl')
    writeFileSync(acl, 'topic a\n')
    const roost = await start(`acl_file: ${acl}\nport: 0`)
    try {
      for (const change of [
        () => truncateSync(acl, 8),
        () => appendFileSync(acl, 'topic b\n'),
        () => writeFileSync(acl, 'topic c\n'),
      ]) {
        writeFileSync(acl, 'topic a\ntopic b\n')
        const reloaded = roost.reload()
        // It has read what was there, and lets a moment pass.
        await new Promise((resolve) => setImmediate(resolve))
        change()
        expect(await reloaded).toBe('failed')
      }
      expect(await roost.reload()).toEqual([])
      // The end waits for a reload that is under way.
      const last = roost.reload()
      await roost.stop()
      expect(await Promise.race([last, 'too late'])).toEqual([])
    } finally {
      await roost.stop()
      rmSync(dir, { recursive: true })
    }
  })

  const portsOf = (roost: Running): number[] => roost.mqtt.map(({ port }) => port)
  const connect = async (port: number): Promise<RawClient> => {
    const client = await RawClient.connect({ host: '127.0.0.1', port })
    client.socket.write(CONNECT)
    return client
  }

  test('max_connections: of each listener, and of all together', async () => {
    const roost = await start('max_connections: 3\nlisteners:\n  - {port: 0, max_connections: 1}\n  - {name: other, port: 0}\n')
    const [one, other] = portsOf(roost) as [number, number]
    const clients = [await connect(one), await connect(other), await connect(other)]
    for (const client of clients) await client.answer(CONNACK)
    for (const port of [one, other]) {
      const refused = await connect(port)
      await refused.closed
      expect(refused.hex).toBe('')
    }
    clients[0]!.socket.destroy()
    await clients[0]!.closed
    // Its place is free as soon as the broker has heard of it.
    let again = ''
    while (again !== CONNACK) {
      const client = await connect(one)
      clients.push(client)
      await client.answer(CONNACK).then(
        () => {
          again = CONNACK
        },
        () => {},
      )
    }
    for (const { socket } of clients) socket.destroy()
    await roost.stop()
  })

  test('set_tcp_nodelay: true sends small packets at once, false leaves it to the system', async () => {
    const server = await start(
      'listeners:\n  - {port: 0, set_tcp_nodelay: true}\n  - {name: lazy, port: 0, set_tcp_nodelay: false}\n',
    )
    const handleOf = (socket: Socket): { setNoDelay(on: boolean): void } =>
      (socket as unknown as { _handle: { setNoDelay(on: boolean): void } })._handle
    const counts: number[] = []
    for (const port of portsOf(server)) {
      const client = await RawClient.connect({ host: '127.0.0.1', port, noDelay: false })
      // All TCP sockets of this process have one prototype, those that the listener accepts too.
      const setNoDelay = vi.spyOn(
        Object.getPrototypeOf(handleOf(client.socket)) as { setNoDelay(on: boolean): void },
        'setNoDelay',
      )
      const second = await RawClient.connect({ host: '127.0.0.1', port, noDelay: false })
      second.socket.write(CONNECT)
      await second.answer(CONNACK)
      counts.push(setNoDelay.mock.calls.length)
      setNoDelay.mockRestore()
      for (const { socket } of [client, second]) socket.destroy()
    }
    await server.stop()
    expect(counts).toEqual([1, 0])
  })
})

test('each of them has a test that says what it does', () => {
  const titles = readFileSync(import.meta.filename, 'utf8').match(/test\('\w+: /g)!
  expect(titles.map((title) => title.slice("test('".length, -2)).sort()).toEqual(SETTINGS.toSorted())
  for (const name of SETTINGS) expect(OPTIONS).toHaveProperty(name)
})
