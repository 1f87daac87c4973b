import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import { ByteWriter } from '../../src/base/bytes.ts'
import type { Notice } from '../../src/base/notice.ts'
import { Broker } from '../../src/broker/broker.ts'
import type { BrokerOptions } from '../../src/broker/broker-options.ts'
import type { StreamInfo } from '../../src/mqtt/connection.ts'
import type { ConnectionLimits } from '../../src/mqtt/connection-limits.ts'
import { Connections } from '../../src/mqtt/connections.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import type { Connect, Packet } from '../../src/mqtt/packets.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { MemoryStore, type Store } from '../../src/store/store.ts'
import { packetLine } from './packet-line.ts'

const STREAM: StreamInfo = { peer: 'test', listener: 'mqtt' }

type Seen = Packet | 'close' | 'pause' | 'resume'

/** Connections in front of a real broker, with virtual time: bytes in, bytes out, as over a socket. */
export class Wire {
  now = 0
  readonly notices: Notice[] = []
  readonly broker: Broker
  readonly connections: Connections
  /** Off: nothing is durable before `commit`. */
  commitsAtOnce = true
  readonly #store: Store
  readonly #limits: Partial<ConnectionLimits>
  readonly #options: Partial<BrokerOptions>
  #next = 1
  readonly #out = new Map<number, string[]>()
  readonly #decoders = new Map<number, { version: ProtocolVersion; framer: Framer; decoder: PacketDecoder }>()

  constructor(limits: Partial<ConnectionLimits> = {}, options: Partial<BrokerOptions> = {}) {
    const notice = (notice: Notice): void => void this.notices.push(notice)
    this.#limits = limits
    this.#options = options
    this.#store = options.store ?? new MemoryStore()
    this.broker = new Broker({ clock: { epoch: 0 }, notice, random: () => 0.5, ...options, store: this.#store })
    this.connections = new Connections(this.broker, limits, notice)
  }

  /** With a store that outlives the process: everything is durable as soon as it is appended. */
  static stored(limits: Partial<ConnectionLimits> = {}, options: Partial<BrokerOptions> = {}): Wire {
    return new Wire(limits, { ...options, store: new DelayedStore() })
  }

  /** A new process on what the store has kept, after `downMs` in which there was none. */
  restarted(downMs = 0): Wire {
    const { epoch } = this.#options.clock ?? { epoch: 0 }
    const clock = { epoch: epoch + this.now + downMs }
    const again = new Wire(this.#limits, { ...this.#options, clock, store: (this.#store as DelayedStore).crash() })
    for (const record of again.#store.replay()) again.broker.apply(record as never)
    again.broker.recover(0)
    again.broker.runDownRecovered(0)
    again.run()
    return again
  }

  open(from: Partial<StreamInfo> = {}): number {
    this.connections.open(this.now, this.#next, { ...STREAM, ...from })
    this.run()
    return this.#next++
  }

  /** Opens a stream and sends CONNECT; the answer is for `out` or `packets`. */
  connect(options: Partial<Connect> = {}, from: Partial<StreamInfo> = {}): number {
    const connection = this.open(from)
    const version = options.protocolVersion ?? 5
    const connect: Connect = {
      type: 1,
      protocolVersion: version,
      bridge: false,
      clientId: `c${connection}`,
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: {},
      ...options,
    }
    this.send(connection, connect, version)
    return connection
  }

  send(connection: number, packet: Packet, version: ProtocolVersion = this.#of(connection).version): void {
    if (packet.type === 1) this.#of(connection).version = packet.protocolVersion
    const writer = new ByteWriter()
    encodePacket(writer, packet, version)
    this.sendHex(connection, Buffer.from(writer.toBytes()).toString('hex'))
  }

  sendHex(connection: number, hex: string): void {
    this.connections.chunk(this.now, connection, Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    this.run()
  }

  /** The peer closes its stream, without a word. */
  close(connection: number): void {
    this.connections.closed(this.now, connection, 'closed by the client')
    this.run()
  }

  congested(connection: number, on: boolean): void {
    this.connections.congested(this.now, connection, on)
    this.run()
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.nextTimeout(); at <= until; at = this.nextTimeout()) {
      this.now = Math.max(this.now, at)
      this.broker.handleTimeout(this.now)
      this.connections.handleTimeout(this.now)
      this.run()
    }
    this.now = until
  }

  nextTimeout(): number {
    return Math.min(
      this.broker.nextTimeout() ?? Number.POSITIVE_INFINITY,
      this.connections.nextTimeout() ?? Number.POSITIVE_INFINITY,
    )
  }

  /** What happened to this connection since this was asked last: hex of writes, 'close', 'pause', 'resume'. */
  out(connection: number): string[] {
    const out = this.#out.get(connection) ?? []
    this.#out.delete(connection)
    return out
  }

  /** As `out`, with the packets that were written, as a client reads them. */
  packets(connection: number): Seen[] {
    const { framer, decoder, version } = this.#of(connection)
    decoder.version = version
    return this.out(connection).flatMap((out): Seen[] => {
      if (out === 'close' || out === 'pause' || out === 'resume') return [out]
      framer.push(Buffer.from(out, 'hex'))
      const packets: Packet[] = []
      while (framer.next()) {
        const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
        if (packet === undefined) throw new Error(`the broker sent what no client can read: ${decoder.error?.reason}`)
        packets.push(packet)
      }
      return packets
    })
  }

  /** As `packets`, a line each: `CONNACK present`, `a/b=x q1 #1 retain`, `DISCONNECT 0x8e`, `close`. */
  lines(connection: number): string[] {
    return this.packets(connection).map((seen) => (typeof seen === 'string' ? seen : packetLine(seen)))
  }

  codes(): string[] {
    return this.notices.map(({ code }) => code)
  }

  /** Everything that can leave leaves. `continues`: more input may follow in the same turn. */
  run(continues = false): void {
    this.#leave(continues)
    if (this.commitsAtOnce) this.commit()
  }

  /** Everything appended so far becomes durable, and what follows from that, until nothing more does. */
  commit(): void {
    if (!(this.#store instanceof DelayedStore)) return
    while (this.#store.durable < this.#store.appended) {
      this.#store.commit()
      this.broker.handleDurable()
      this.#leave()
    }
  }

  #leave(continues = false): void {
    for (let link = this.broker.nextReadyLink(); link !== undefined; link = this.broker.nextReadyLink())
      this.connections.linkReady(this.now, link)
    for (let out = this.connections.poll(continues); out !== undefined; out = this.connections.poll(continues)) {
      const list = this.#out.get(out.connection) ?? []
      list.push(out.kind === 'write' ? Buffer.from(out.bytes).toString('hex') : out.kind)
      this.#out.set(out.connection, list)
    }
    this.broker.endTurn()
  }

  #of(connection: number): { version: ProtocolVersion; framer: Framer; decoder: PacketDecoder } {
    let found = this.#decoders.get(connection)
    if (found === undefined) {
      found = { version: 5, framer: new Framer(0xfffffff), decoder: new PacketDecoder('server', 5) }
      this.#decoders.set(connection, found)
    }
    return found
  }
}
