import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import type { StreamEnd } from './stream-end.ts'
import type { World } from './world.ts'

const DELAY_MS = [1, 20] as const
/** Bytes that a socket takes while nobody reads at the other end. */
const SOCKET_BYTES = 2000
/** After which a socket that takes nothing is given up (write_timeout_seconds). */
const STUCK_MS = 30_000

/** From the server that dials to the one that is dialled, and back. */
export type Way = 'up' | 'down'

/** A kind of packet, and where it goes. */
export interface TrunkPacket {
  readonly way: Way
  readonly type: 'CONNACK' | 'SUBSCRIBE' | 'SUBACK' | 'PUBLISH' | 'PUBACK' | 'PUBREC' | 'PUBREL' | 'PUBCOMP'
}

/** Sees the packets of a trunk as they are written, whether they arrive or not. */
export interface TrunkObserver {
  dialled?(stream: number): void
  written?(stream: number, way: Way, packet: Packet): void
}

/** The network between two servers, one of which dials the other. */
export class Trunk {
  readonly near: World
  readonly far: World
  /** Of the far server. */
  readonly listener: string
  readonly observers: TrunkObserver[] = []
  /** Dials get no answer, and bytes are lost, without a word to anybody. */
  silent = false
  /** Nobody listens there. */
  refuses = false
  /** The next packet of this kind is lost, and the stream with it. */
  loses: TrunkPacket | undefined = undefined
  dials = 0
  readonly #streams = new Set<TrunkStream>()

  constructor(near: World, far: World, listener = 'mqtt') {
    this.near = near
    this.listener = listener
    this.far = far
    near.dial = (connection) => this.#dial(connection)
  }

  /** Every stream breaks, and both ends hear of it. */
  cut(): void {
    for (const stream of [...this.#streams]) stream.cut()
  }

  /** Half-open: neither end hears anything any more, not even that. */
  silence(): void {
    this.silent = true
    for (const stream of this.#streams) stream.silent = true
  }

  /** New streams work again. Those that were silent stay so, as behind a router that has forgotten them. */
  heal(): void {
    this.silent = false
    this.refuses = false
    this.loses = undefined
  }

  #dial(connection: number): void {
    const number = ++this.dials
    for (const observer of this.observers) observer.dialled?.(number)
    const stream = new TrunkStream(this, number, connection)
    this.#streams.add(stream)
  }

  ended(stream: TrunkStream): void {
    this.#streams.delete(stream)
  }
}

class TrunkStream {
  readonly trunk: Trunk
  readonly number: number
  silent: boolean
  readonly #near: TrunkEnd
  readonly #far: TrunkEnd

  constructor(trunk: Trunk, number: number, connection: number) {
    const { near, far, silent } = trunk
    this.trunk = trunk
    this.number = number
    this.silent = silent
    this.#near = new TrunkEnd(this, 'up', near, connection)
    this.#far = new TrunkEnd(this, 'down', far, undefined)
    this.#near.peer = this.#far
    this.#far.peer = this.#near
    near.adopt(connection, this.#near)
    if (!silent) this.#near.inOrder(() => this.#arrive())
  }

  #arrive(): void {
    // It has been given up in the meantime.
    if (this.#near.connection === undefined || this.silent) return
    if (this.trunk.refuses) {
      this.#near.closed('refused')
      this.trunk.ended(this)
      return
    }
    const { connection } = this.#near
    this.#far.open()
    this.trunk.near.input({ kind: 'dialled', connection })
  }

  cut(): void {
    this.#near.closed('broken')
    this.#far.closed('broken')
    this.trunk.ended(this)
  }

  tell(way: Way, packet: Packet): void {
    const { trunk } = this
    for (const observer of trunk.observers) observer.written?.(this.number, way, packet)
    if (trunk.loses === undefined || trunk.loses.way !== way || PacketType[trunk.loses.type] !== packet.type) return
    trunk.loses = undefined
    trunk.near.schedule.after(0, () => this.cut())
  }
}

/** What one server writes to. */
class TrunkEnd implements StreamEnd {
  connection: number | undefined
  peer!: TrunkEnd
  readonly #stream: TrunkStream
  readonly #way: Way
  readonly #world: World
  readonly #framer = new Framer(1 << 20)
  #decoder: PacketDecoder
  #arrivesAt = 0
  /** What its server has still to read. */
  #held: Uint8Array[] = []
  #paused = false
  /** Bytes of its server that the other one has not read. */
  #unread = 0
  #congested = false

  constructor(stream: TrunkStream, way: Way, world: World, connection: number | undefined) {
    this.#stream = stream
    this.#way = way
    this.#world = world
    this.connection = connection
    this.#decoder = new PacketDecoder(way === 'up' ? 'client' : 'server')
  }

  open(): void {
    this.connection = this.#world.openStream(this, this.#stream.trunk.listener)
  }

  write(bytes: Uint8Array, congested: () => void): void {
    const { connection } = this
    this.#read(bytes)
    this.#unread += bytes.length
    if (!this.#stream.silent)
      this.inOrder(() => {
        if (!this.#stream.silent && this.connection === connection) this.peer.#arrived(bytes)
      })
    if (this.#congested || this.#unread <= SOCKET_BYTES) return
    this.#congested = true
    this.#world.schedule.after(STUCK_MS, () => {
      if (this.#congested && this.connection === connection && connection !== undefined)
        this.#world.input({ kind: 'stuck', connection })
    })
    congested()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#world.schedule.after(0, () => this.#take())
  }

  inOrder(deliver: () => void): void {
    const { schedule, random } = this.#world
    this.#arrivesAt = Math.max(this.#arrivesAt, schedule.now + random.between(...DELAY_MS))
    schedule.at(this.#arrivesAt, deliver)
  }

  /** Its server has ended the stream, and has no more to hear of it. */
  breakStream(): void {
    this.#forget()
    if (!this.#stream.silent) this.peer.closed('ended')
    this.#stream.trunk.ended(this.#stream)
  }

  streamLost(): void {
    this.connection = undefined
    this.inOrder(() => {
      if (!this.#stream.silent) this.peer.closed('broken')
      this.#stream.trunk.ended(this.#stream)
    })
  }

  closed(reason: string): void {
    const { connection } = this
    if (connection === undefined) return
    this.#forget()
    this.#world.input({ kind: 'closed', connection, reason })
  }

  #forget(): void {
    if (this.connection !== undefined) this.#world.streamClosed(this.connection)
    this.connection = undefined
    this.#held = []
  }

  #arrived(bytes: Uint8Array): void {
    if (this.connection === undefined) return
    this.#held.push(bytes)
    this.#take()
  }

  #take(): void {
    while (!this.#paused && this.connection !== undefined && this.#held.length > 0) {
      const bytes = this.#held.shift()!
      this.peer.#taken(bytes.length)
      this.#world.input({ kind: 'chunk', connection: this.connection, bytes })
    }
  }

  /** The other server has read so much of what was written here. */
  #taken(bytes: number): void {
    this.#unread -= bytes
    if (!this.#congested || this.#unread > SOCKET_BYTES / 2 || this.connection === undefined) return
    this.#congested = false
    this.#world.input({ kind: 'congested', connection: this.connection, on: false })
  }

  #read(bytes: Uint8Array): void {
    const framer = this.#framer
    framer.push(Uint8Array.from(bytes))
    while (framer.next()) {
      const packet = this.#decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      if (packet === undefined) throw new Error(`a server writes what cannot be read: ${this.#decoder.error?.reason}`)
      if (packet.type === PacketType.CONNECT) this.peer.#decoder = new PacketDecoder('server', packet.protocolVersion)
      this.#stream.tell(this.#way, packet)
    }
  }
}
