import { DelayedStore } from '../fuzz/sim/delayed-store.ts'
import { Ledger, type Sent } from '../fuzz/sim/ledger.ts'
import { MqttClient, type MqttClientOptions, type MqttEvent } from '../src/mqtt/client.ts'
import { SnClient, type SnClientOptions, type SnEvent } from '../src/mqttsn/client.ts'
import type { Server, ServerOptions } from '../src/server.ts'
import type { StoreRecord } from '../src/store/store.ts'
import { OPTIONS } from '../test/gateway/harness.ts'

/** The server under test: that of src, or of a copy with a bug in it. */
export type ServerClass = new (options: ServerOptions) => Server

export interface StageOptions {
  readonly server: ServerClass
  /** The point at which the process is killed, counted from 1; none with 0. */
  readonly killAt?: number
  /** Records of this type never reach the store. */
  readonly skipped?: StoreRecord['type']
  /** The record after the durable ones is on the disk in part. */
  readonly torn?: boolean
}

/** Virtual milliseconds that one step of a script may take. */
const STEP_MS = 3_600_000
const EPOCH = 1_800_000_000_000

/** A store that forgets one type of record and says that it was stored. */
class ForgetfulStore extends DelayedStore {
  skipped: StoreRecord['type'] | undefined
  override append(record: StoreRecord): number | 'full' {
    return record.type === this.skipped ? this.appended : super.append(record)
  }
}

/** What both kinds of clients are to the stage. */
interface Peer {
  pump(): void
  nextTimeout(): number | undefined
  handleTimeout(now: number): void
}

export class TcpPeer implements Peer {
  readonly client: MqttClient
  connection: number | undefined = undefined
  /** Comes back when its stream breaks. */
  returns = true
  /** CONNACK said so, the last time. */
  sessionPresent = false
  connects = 0
  onEvent: (event: MqttEvent) => void = () => {}
  readonly #stage: Stage

  constructor(stage: Stage, options: MqttClientOptions) {
    this.#stage = stage
    this.client = new MqttClient({ keepAliveSeconds: 0, cleanStart: false, ...options })
  }

  connect(): void {
    if (this.connection !== undefined) return
    this.connection = this.#stage.openStream(this)
    this.client.connect(this.#stage.now)
    this.pump()
  }

  /** Without DISCONNECT. */
  vanish(): void {
    this.returns = false
    if (this.connection !== undefined) this.#stage.closeStream(this.connection)
    this.closed()
  }

  closed(): void {
    this.connection = undefined
    this.client.handleClosed()
    this.pump()
    if (this.returns) this.connect()
  }

  pump(): void {
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') {
        if (out.event === 'connected') {
          this.sessionPresent = out.sessionPresent
          this.connects++
        }
        this.onEvent(out)
      } else if (this.connection !== undefined) {
        if (out.kind === 'bytes') this.#stage.chunk(this.connection, out.bytes)
        else {
          this.#stage.closeStream(this.connection)
          this.connection = undefined
        }
      }
    }
  }

  nextTimeout(): number | undefined {
    return this.client.nextTimeout()
  }

  handleTimeout(now: number): void {
    this.client.handleTimeout(now)
    this.pump()
  }
}

export class SensorPeer implements Peer {
  readonly client: SnClient
  readonly route: string
  onEvent: (event: SnEvent) => void = () => {}
  /** Its battery is empty: it neither speaks nor hears. */
  dead = false
  readonly #stage: Stage

  constructor(stage: Stage, options: SnClientOptions) {
    this.#stage = stage
    this.client = new SnClient({ keepAliveSeconds: 600, nRetry: 30, ...options })
    this.route = `sensor:${options.clientId}`
  }

  pump(): void {
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') this.onEvent(out)
      else if (!this.dead) this.#stage.datagram(this.route, out.bytes)
    }
  }

  nextTimeout(): number | undefined {
    return this.dead ? undefined : this.client.nextTimeout()
  }

  handleTimeout(now: number): void {
    this.client.handleTimeout(now)
    this.pump()
  }
}

/**
 * The server, its store and a few clients, one packet at a time: everything that may leave leaves before anything more becomes durable, and
 * records become durable one by one. So an acknowledgement that leaves too early is out before its record is safe.
 *
 * Before and after every outgoing packet and every commit is a point at which the process can be killed.
 */
export class Stage {
  now = 1000
  points = 0
  killed = false
  readonly ledger = new Ledger()
  readonly violations: string[] = []
  store: ForgetfulStore
  server: Server
  readonly #options: StageOptions
  readonly #peers: Peer[] = []
  readonly #streams = new Map<number, TcpPeer>()
  readonly #sensors = new Map<string, SensorPeer>()
  #packets: (() => void)[] = []
  #nextConnection = 1

  constructor(options: StageOptions) {
    this.#options = options
    this.store = new ForgetfulStore()
    this.store.skipped = options.skipped
    this.server = this.#newServer()
    this.#drive(() => this.server.recover(this.now))
  }

  tcp(options: MqttClientOptions): TcpPeer {
    const peer = new TcpPeer(this, options)
    this.#peers.push(peer)
    return peer
  }

  sensor(options: SnClientOptions): SensorPeer {
    const peer = new SensorPeer(this, options)
    this.#peers.push(peer)
    this.#sensors.set(peer.route, peer)
    return peer
  }

  violated(what: string): void {
    this.violations.push(what)
  }

  /** Does something, and lets the world go on until `done`. `again` is done instead when clients have come back before that. */
  step(name: string, what: () => void, done: () => boolean, again: () => void = () => {}): void {
    const until = this.now + STEP_MS
    let { killed } = this
    what()
    while (!done()) {
      if (this.now > until || !this.#next()) throw new Error(`step "${name}" did not end`)
      if (killed === this.killed) continue
      killed = this.killed
      this.#settle()
      if (!done()) again()
    }
  }

  /** Lets everything end that goes on, and this much time pass. */
  rest(ms = 0): void {
    const until = this.now + ms
    this.#settle()
    while (this.#nextTimeout() <= until) this.#next()
    this.#settle()
    this.now = until
  }

  #settle(): void {
    while (this.#packets.length > 0 || this.store.durable < this.store.appended) this.#next()
  }

  openStream(peer: TcpPeer): number {
    const connection = this.#nextConnection++
    this.#streams.set(connection, peer)
    const input = { kind: 'opened' as const, connection, from: { peer: `tcp:${connection}`, listener: 'mqtt' } }
    this.#packets.push(() => this.#drive(() => this.server.handle(this.now, input)))
    return connection
  }

  closeStream(connection: number): void {
    this.#streams.delete(connection)
    this.#packets.push(() => this.#drive(() => this.server.handle(this.now, { kind: 'closed', connection, reason: 'broken' })))
  }

  chunk(connection: number, bytes: Uint8Array): void {
    const copy = bytes.slice()
    this.#packets.push(() => {
      if (this.#streams.has(connection))
        this.#drive(() => this.server.handle(this.now, { kind: 'chunk', connection, bytes: copy }))
    })
  }

  datagram(route: string, bytes: Uint8Array): void {
    const copy = bytes.slice()
    this.#packets.push(() => this.#drive(() => this.server.handle(this.now, { kind: 'datagram', route, bytes: copy })))
  }

  /** A packet, else a commit, else time. False when nothing will ever happen again. */
  #next(): boolean {
    const packet = this.#packets.shift()
    if (packet !== undefined) packet()
    else if (this.store.durable < this.store.appended) this.#commit()
    else {
      const at = this.#nextTimeout()
      if (at === Number.POSITIVE_INFINITY) return false
      this.now = Math.max(this.now, at)
      this.#drive(() => this.server.handleTimeout(this.now))
      for (const peer of this.#peers)
        if ((peer.nextTimeout() ?? Number.POSITIVE_INFINITY) <= this.now) peer.handleTimeout(this.now)
    }
    return true
  }

  #nextTimeout(): number {
    const times = [this.server.nextTimeout(), ...this.#peers.map((peer) => peer.nextTimeout())]
    return Math.min(...times.map((time) => time ?? Number.POSITIVE_INFINITY))
  }

  #commit(): void {
    if (this.#point()) return
    this.store.commit(this.store.durable + 1)
    if (this.#point()) return
    this.#drive(() => this.server.handle(this.now, { kind: 'durable' }))
  }

  /** True if the process has just been killed. */
  #point(): boolean {
    if (++this.points !== this.#options.killAt) return false
    this.killed = true
    this.#packets = []
    // Half of the points find everything in rows, and the other half all of it in the log.
    const folded = this.points % 2 === 0 ? this.store.durable : 0
    const store = this.store.crash({ folded, torn: this.#options.torn ?? false })
    this.store = Object.setPrototypeOf(store, ForgetfulStore.prototype) as ForgetfulStore
    this.store.skipped = this.#options.skipped
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    this.server = this.#newServer()
    this.#drive(() => this.server.recover(this.now))
    for (const peer of streams) peer.closed()
    return true
  }

  #drive(what: () => void): void {
    what()
    for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) {
      if (out.kind === 'write') {
        const { connection } = out
        const bytes = out.bytes.slice()
        this.#outgoing(() => {
          const peer = this.#streams.get(connection)
          peer?.client.handleChunk(this.now, bytes)
          peer?.pump()
        })
      } else if (out.kind === 'datagram') {
        const { route } = out
        const bytes = out.bytes.slice()
        this.#outgoing(() => {
          const peer = this.#sensors.get(route)
          if (peer === undefined || peer.dead) return
          peer.client.handleDatagram(this.now, bytes)
          peer.pump()
        })
      } else if (out.kind === 'close') {
        const { connection } = out
        this.#outgoing(() => {
          const peer = this.#streams.get(connection)
          this.#streams.delete(connection)
          peer?.closed()
        })
      }
    }
  }

  #outgoing(deliver: () => void): void {
    this.#packets.push(() => {
      if (this.#point()) return
      deliver()
      this.#point()
    })
  }

  #newServer(): Server {
    return new this.#options.server({
      gateway: { ...OPTIONS, nRetry: 30 },
      store: this.store,
      clock: { epoch: EPOCH },
      notice: () => {},
      random: () => 0.5,
    })
  }
}

export type { Sent }
