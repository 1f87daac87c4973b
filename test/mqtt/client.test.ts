import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { MqttClient, type MqttClientOptions } from '../../src/mqtt/client.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'

const NAMES = ['', ...Object.keys(PacketType)]
const bytes = (text: string): Uint8Array => Buffer.from(text)

/** A client, and what it sends and tells as lines. */
class Bench {
  now = 0
  readonly client: MqttClient

  constructor(options: Partial<MqttClientOptions> = {}) {
    this.client = new MqttClient({ clientId: 'c', version: 4, ...options })
    this.client.connect(0)
  }

  static connected(options: Partial<MqttClientOptions> = {}, sessionPresent = false): Bench {
    const bench = new Bench(options)
    bench.hear({ type: 2, sessionPresent, reasonCode: 0, properties: {} })
    bench.out()
    return bench
  }

  hear(...packets: Packet[]): void {
    for (const packet of packets) {
      const writer = new ByteWriter()
      encodePacket(writer, packet, 4)
      this.client.handleChunk(this.now, writer.toBytes())
    }
  }

  /** Packets that left, and events in brackets, since this was asked last. */
  out(): string[] {
    const framer = new Framer(1e6)
    const decoder = new PacketDecoder('client', 4)
    const lines: string[] = []
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') lines.push(`(${out.event})`)
      else if (out.kind === 'close') lines.push('close')
      else {
        framer.push(out.bytes)
        framer.next()
        const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)!
        const id = 'packetId' in packet && packet.packetId > 0 ? ` #${packet.packetId}` : ''
        lines.push(`${NAMES[packet.type]}${id}${'dup' in packet && packet.dup ? ' dup' : ''}`)
      }
    }
    return lines
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.client.nextTimeout(); at !== undefined && at <= until; at = this.client.nextTimeout()) {
      this.now = Math.max(at, this.now)
      this.client.handleTimeout(this.now)
    }
    this.now = until
  }
}

const ack = (type: 4 | 5 | 6 | 7, packetId: number): Packet => ({ type, packetId, reasonCode: 0, properties: {} })

describe('MqttClient', () => {
  test('publishes at every QoS to the end of the exchange', () => {
    const bench = Bench.connected()
    for (const qos of [0, 1, 2] as const) bench.client.publish(0, { topic: 'a', payload: bytes('x'), qos })
    expect(bench.out()).toEqual(['PUBLISH', 'PUBLISH #1', 'PUBLISH #2'])
    bench.hear(ack(4, 1), ack(5, 2), ack(7, 2))
    expect(bench.out()).toEqual(['(published)', 'PUBREL #2', '(published)'])
    expect(bench.client.idle).toBe(true)
  })

  test.each([
    [1, 5],
    [1, 7],
    [2, 4],
    [2, 7],
  ] as const)('a server that answers QoS %i with packet type %i is left', (qos, type) => {
    const bench = Bench.connected()
    bench.client.publish(0, { topic: 'a', payload: bytes('x'), qos })
    bench.out()
    bench.hear(ack(type, 1))
    expect(bench.out()).toEqual(['DISCONNECT', 'close', '(disconnected)'])
    expect(bench.client.idle).toBe(false)
  })

  test('MQTT-4.4.0-1: over a new stream what is unacknowledged goes out again, in order', () => {
    const bench = Bench.connected()
    for (const qos of [1, 2, 1] as const) bench.client.publish(0, { topic: 'a', payload: bytes('x'), qos })
    bench.hear(ack(5, 2))
    bench.client.handleClosed()
    bench.client.publish(0, { topic: 'a', payload: bytes('later'), qos: 1 })
    bench.out()
    bench.client.connect(0)
    bench.hear({ type: 2, sessionPresent: true, reasonCode: 0, properties: {} })
    expect(bench.out()).toEqual(['CONNECT', '(connected)', 'PUBLISH #1 dup', 'PUBREL #2', 'PUBLISH #3 dup', 'PUBLISH #4'])
  })

  test('a server that lost the session gets what it cannot have as new', () => {
    const bench = Bench.connected()
    bench.client.publish(0, { topic: 'a', payload: bytes('x'), qos: 1 })
    bench.client.handleClosed()
    bench.out()
    bench.client.connect(0)
    bench.hear({ type: 2, sessionPresent: false, reasonCode: 0, properties: {} })
    expect(bench.out()).toEqual(['CONNECT', '(connected)', 'PUBLISH #1'])
  })

  test('MQTT-4.3.3-2: a QoS 2 message that comes twice is told once', () => {
    const bench = Bench.connected()
    const message = Publish.of('a', bytes('x'), 2, false, 7)
    bench.hear(message, message, ack(6, 7), message)
    expect(bench.out()).toEqual(['PUBREC #7', '(message)', 'PUBREC #7', 'PUBCOMP #7', 'PUBREC #7', '(message)'])
  })

  test('3.1, whose CONNACK does not tell of a session: what was to be kept is kept', () => {
    const bench = Bench.connected({ version: 3, cleanStart: false })
    bench.client.publish(0, { topic: 'a', payload: bytes('x'), qos: 1 })
    bench.hear(Publish.of('a', bytes('x'), 2, false, 7))
    bench.client.handleClosed()
    bench.out()
    bench.client.connect(0)
    bench.hear({ type: 2, sessionPresent: false, reasonCode: 0, properties: {} }, Publish.of('a', bytes('x'), 2, false, 7))
    expect(bench.out()).toEqual(['CONNECT', '(connected)', 'PUBLISH #1 dup', 'PUBREC #7'])
  })

  test.each([
    [3, '100f00064d51497364708302003c000163'],
    [4, '100d00044d5154548402003c000163'],
  ] as const)('says that it is a bridge, as Mosquitto does: MQTT %i', (version, connect) => {
    const client = new MqttClient({ clientId: 'c', version, bridge: true })
    client.connect(0)
    const out = client.poll()
    expect(out?.kind === 'bytes' && Buffer.from(out.bytes).toString('hex')).toBe(connect)
  })

  test('pings within its keep alive, and gives up a server that does not answer', () => {
    const bench = Bench.connected({ keepAliveSeconds: 10 })
    bench.advance(10_000)
    expect(bench.out()).toEqual(['PINGREQ'])
    bench.hear({ type: 13 })
    bench.advance(10_000)
    expect(bench.out()).toEqual(['PINGREQ'])
    bench.advance(10_000)
    expect(bench.out().slice(-2)).toEqual(['close', '(disconnected)'])
    expect(bench.client.nextTimeout()).toBeUndefined()
  })

  test('a refusal and nonsense end the stream', () => {
    const refused = new Bench()
    refused.hear({ type: 2, sessionPresent: false, reasonCode: 0x87, properties: {} })
    expect(refused.out()).toEqual(['CONNECT', '(refused)', 'close', '(disconnected)'])
    const confused = Bench.connected()
    confused.client.handleChunk(0, Uint8Array.of(0x36, 0))
    expect(confused.out()).toEqual(['close', '(disconnected)'])
  })
})
