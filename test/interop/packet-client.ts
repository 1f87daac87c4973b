import { connect as connectTcp, type Socket } from 'node:net'
import { ByteWriter } from '../../src/base/bytes.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import type { Connack, Connect, Packet, PublishResponse, Suback } from '../../src/mqtt/packets.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { connectPacket } from '../broker/harness.ts'

/** MQTT 5.0 packet by packet over a socket: for what client libraries do not let one do, or do not tell. */
export class PacketClient {
  readonly #socket: Socket
  readonly #framer = new Framer(0xfffffff)
  readonly #decoder = new PacketDecoder('server', 5)
  readonly #packets: (Packet | 'closed')[] = []
  #wake: (() => void) | undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      this.#framer.push(bytes)
      while (this.#framer.next()) {
        const { start, bodyStart, end } = this.#framer
        const packet = this.#decoder.decode(this.#framer.bytes, start, bodyStart, end)
        if (packet === undefined) throw new Error(this.#decoder.error?.reason)
        if (packet instanceof Publish) packet.own()
        this.#put(packet)
      }
    })
    socket.once('close', () => this.#put('closed'))
  }

  static to(port: number): PacketClient {
    return new PacketClient(connectTcp({ port, host: '127.0.0.1', noDelay: true }))
  }

  send(packet: Packet): void {
    const writer = new ByteWriter()
    encodePacket(writer, packet, 5)
    this.#socket.write(writer.toBytes())
  }

  /** The next packet, or the end of the connection. */
  async next(): Promise<Packet | 'closed'> {
    while (this.#packets.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#packets.shift()!
  }

  /** Of CONNACK. */
  async connect(options: Partial<Connect> = {}): Promise<number> {
    const { username } = options
    const named = username === undefined ? {} : { password: Buffer.from(username) }
    this.send(connectPacket(options.clientId ?? '', { ...named, ...options }))
    return ((await this.next()) as Connack).reasonCode
  }

  /** The first of SUBACK. */
  async subscribe(filter: string, qos: QoS = 1): Promise<number> {
    const asked = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
    this.send({ type: 8, packetId: 1, subscriptions: [asked], properties: {} })
    return ((await this.next()) as Suback).reasonCodes[0]!
  }

  /** Of PUBACK. */
  async publish(topic: string, payload = 'x', retain = false): Promise<number> {
    this.send(Publish.of(topic, Buffer.from(payload), 1, retain, 1, {}))
    return ((await this.next()) as PublishResponse).reasonCode
  }

  /** Whether it still has its connection. */
  async isAlive(): Promise<boolean> {
    this.send({ type: 12 })
    const answer = await this.next()
    return answer !== 'closed' && answer.type === 13
  }

  close(): void {
    this.#socket.destroy()
  }

  #put(packet: Packet | 'closed'): void {
    this.#packets.push(packet)
    this.#wake?.()
  }
}
