import { earliest, type Instant, type Machine } from './base/machine.ts'
import { Memory, type MemoryLimits } from './base/memory.ts'
import { NoticeCounts, type NoticeSink } from './base/notice.ts'
import type { Access, AuthAnswer, AuthRequest } from './broker/access.ts'
import { Broker } from './broker/broker.ts'
import type { BrokerLimits } from './broker/limits.ts'
import { type ProcessFigures, type SysFigures, SysTopics } from './broker/sys-topics.ts'
import { Gateway } from './gateway/gateway.ts'
import type { GatewayOptions } from './gateway/options.ts'
import type { Datagram } from './gateway/ports/ports.ts'
import type { RouteKey } from './gateway/ports/route.ts'
import type { ConnectionId, StreamInfo } from './mqtt/connection.ts'
import type { ConnectionLimits } from './mqtt/connection-limits.ts'
import { Connections } from './mqtt/connections.ts'
import type { LinkId } from './mqtt/link.ts'
import { ReasonCode } from './mqtt/reason-codes.ts'
import type { ConnectionOutput } from './mqtt/stream-output.ts'
import type { Traffic } from './mqtt/traffic.ts'
import { type ClockReading, StoreClock } from './store/clock.ts'
import type { GatewayRecord, Store, StoreRecord, WallClock } from './store/store.ts'

export interface ServerOptions {
  readonly broker?: Partial<BrokerLimits>
  readonly connections?: Partial<ConnectionLimits>
  /** Bounds of what peers make the process hold; none if absent. */
  readonly memory?: Partial<MemoryLimits>
  readonly gateway: GatewayOptions
  readonly access?: Access
  readonly store: Store
  /** What the wall clock says, as long as nothing else is known. */
  readonly clock: WallClock
  readonly notice: NoticeSink
  /** In [0, 1): the only randomness there is, so that a run can be repeated. */
  readonly random: () => number
  /** Seconds between two updates of the topics under `$SYS`; 0, or none, is never. */
  readonly sysInterval?: number
  /** What `$SYS/broker/version` says. */
  readonly version?: string
  /** Asked at every update of the topics under `$SYS`. */
  readonly processFigures?: () => ProcessFigures
}

export type ServerInput =
  | { readonly kind: 'opened'; readonly connection: ConnectionId; readonly from: StreamInfo }
  | { readonly kind: 'chunk'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** So many bytes of what the stream is to bring wait in front of it, because it does not bring them in parts. */
  | { readonly kind: 'buffering'; readonly connection: ConnectionId; readonly bytes: number }
  /** The stream's socket takes no more bytes for now, or takes them again. */
  | { readonly kind: 'congested'; readonly connection: ConnectionId; readonly on: boolean }
  /** For too long the stream's socket has taken nothing of what waits for it. */
  | { readonly kind: 'stuck'; readonly connection: ConnectionId }
  | { readonly kind: 'closed'; readonly connection: ConnectionId; readonly reason: string }
  | { readonly kind: 'datagram'; readonly route: RouteKey; readonly bytes: Uint8Array }
  /** What came of an `auth` output. */
  | { readonly kind: 'authenticated'; readonly link: LinkId; readonly step: number; readonly answer: AuthAnswer }
  /** The access rules have changed. */
  | { readonly kind: 'access-changed' }
  /** The event loop cannot keep up (or can again): no new connections meanwhile. */
  | { readonly kind: 'overloaded'; readonly on: boolean }
  /** `store.durable` has advanced. */
  | { readonly kind: 'durable' }
  /** What the machine's clocks say; about once a second. */
  | { readonly kind: 'clock'; readonly reading: ClockReading }
  /** The process did not run for so many milliseconds. What waits in its sockets is to follow before the next `handleTimeout`. */
  | { readonly kind: 'paused'; readonly ms: number }

export type ServerOutput =
  | ConnectionOutput
  | ({ readonly kind: 'datagram' } & Datagram)
  /** Somebody has to verify who this is; answered by `authenticated` with the same link and step. */
  | { readonly kind: 'auth'; readonly request: AuthRequest }
  /** The question about this link needs no answer any more. */
  | { readonly kind: 'auth-abandoned'; readonly link: LinkId }

/** Milliseconds of a pause that are worth a line in the log. */
const NOTED_PAUSE_MS = 5_000

/** Deliveries that may wait for the end of a turn; above it is better to write than to read on. */
const BACKLOG_MAX = 4096

/**
 * Broker, MQTT streams and MQTT-SN gateway put together, without a socket, a clock or a disk: the real process and the simulator
 * drive this very composition.
 */
export class Server implements Machine<ServerInput, ServerOutput> {
  readonly broker: Broker
  readonly gateway: Gateway
  readonly connections: Connections
  /** How often each Notice came. */
  readonly notices = new NoticeCounts()
  /** The account of what peers make the process hold. */
  readonly memory: Memory
  /** Counts a Notice and passes it on: for whoever tells of something on the server's behalf. */
  readonly notice: NoticeSink
  readonly #store: Store
  readonly #clock: StoreClock
  readonly #sys: SysTopics | undefined
  readonly #sysIntervalMs: number
  readonly #processFigures: () => ProcessFigures
  /** When the topics under `$SYS` are due; not before `recover`. */
  #sysDue: Instant | undefined = undefined

  constructor(options: ServerOptions) {
    const { store, random, sysInterval = 0 } = options
    const notice: NoticeSink = (each) => {
      this.notices.add(each)
      options.notice(each)
    }
    this.notice = notice
    this.#store = store
    const clock = new StoreClock(options.clock.epoch, store, notice)
    this.#clock = clock
    this.#sys = sysInterval > 0 ? new SysTopics(options.version ?? 'roost') : undefined
    this.#sysIntervalMs = sysInterval * 1000
    this.#processFigures = options.processFigures ?? (() => ({}))
    const memory = new Memory(options.memory)
    this.memory = memory
    memory.count('store', () => store.waitingBytes ?? 0)
    this.broker = new Broker({
      store,
      clock,
      notice,
      random,
      memory,
      ...(options.broker && { limits: options.broker }),
      ...(options.access && { access: options.access }),
    })
    this.connections = new Connections(this.broker, options.connections ?? {}, notice, memory)
    this.gateway = new Gateway(options.gateway, this.broker, store, clock, notice, random, memory)
  }

  /** Takes up what the store has kept: to be called once, before any input and before anything listens. */
  recover(now: Instant, reading?: ClockReading): void {
    this.replay()
    this.resume(now, reading)
  }

  /** The first half of `recover`: reads the store, and appends nothing to it. */
  replay(): void {
    for (const record of this.#store.replay()) {
      this.#clock.apply(record)
      if (isGatewayRecord(record)) this.gateway.apply(record)
      else if (record.type !== 'clock') this.broker.apply(record)
    }
  }

  /** The second half of `recover`. */
  resume(now: Instant, reading: ClockReading = { wall: this.#clock.epoch + now, bootId: '', uptime: 0 }): void {
    this.#clock.recover(now, reading)
    this.broker.recover(now)
    // Sensors go on where they were, before the clocks of everybody else start.
    this.gateway.recover(now)
    this.broker.runDownRecovered(now, (clientId) => this.gateway.isLost(clientId))
    this.#publishSys(now)
  }

  handle(now: Instant, input: ServerInput): void {
    switch (input.kind) {
      case 'chunk':
        this.connections.chunk(now, input.connection, input.bytes)
        return
      case 'datagram':
        this.gateway.handleDatagram(now, input.route, input.bytes)
        return
      case 'authenticated':
        this.broker.authenticated(now, input.link, input.step, input.answer)
        return
      case 'access-changed':
        this.gateway.accessChanged(now)
        this.broker.accessChanged(now)
        return
      case 'overloaded':
        this.connections.overloaded = input.on
        return
      case 'durable':
        this.broker.handleDurable()
        this.gateway.durable(now)
        return
      case 'clock':
        this.#clock.look(now, input.reading)
        return
      case 'paused':
        this.#paused(now, input.ms)
        return
      case 'opened':
        this.connections.open(now, input.connection, input.from)
        return
      case 'buffering':
        this.connections.buffering(now, input.connection, input.bytes)
        return
      case 'congested':
        this.connections.congested(now, input.connection, input.on)
        return
      case 'stuck':
        this.connections.stuck(now, input.connection)
        return
      case 'closed':
        this.connections.closed(now, input.connection, input.reason)
    }
  }

  handleTimeout(now: Instant): void {
    this.connections.handleTimeout(now)
    this.gateway.handleTimeout(now)
    this.broker.handleTimeout(now)
    if (this.#sysDue !== undefined && this.#sysDue <= now) this.#publishSys(now)
  }

  nextTimeout(): Instant | undefined {
    const { connections, gateway, broker } = this
    const streams = earliest(connections.nextTimeout(), gateway.nextTimeout())
    return earliest(earliest(streams, broker.nextTimeout()), this.#sysDue)
  }

  /** So much waits to be written, or somebody so much, that it is time to poll, in the middle of a turn if need be. */
  get backlogged(): boolean {
    return this.broker.queued > BACKLOG_MAX || this.connections.urgent
  }

  poll(now: Instant): ServerOutput | undefined {
    this.#drain(now)
    // A message that has left its port lets its client listen again.
    do {
      const output = this.connections.poll()
      if (output !== undefined) return output
      const datagram = this.gateway.poll(now)
      if (datagram !== undefined) return { kind: 'datagram', route: datagram.route, bytes: datagram.bytes }
    } while (this.#drain(now))
    const request = this.broker.nextAuthRequest()
    if (request !== undefined) return { kind: 'auth', request }
    const link = this.broker.nextAbandonedAuth()
    if (link !== undefined) return { kind: 'auth-abandoned', link }
    this.broker.endTurn()
    return undefined
  }

  /**
   * First half of a shutdown: publishes the wills of MQTT clients while subscribers are still connected. Sensors are told nothing and lose nothing.
   * Returns false while there is more to do: poll, let the store commit, and call it again. If it is cut short nothing is lost, because the
   * next process continues.
   */
  publishWills(now: Instant): boolean {
    return this.broker.shutdown.publishWills(now)
  }

  /** Second half: disconnects everybody, MQTT 5 clients with a reason. Returns false as `publishWills` does; poll once more at the end. */
  shutDown(now: Instant): boolean {
    if (!this.broker.shutdown.closeAll(now, ReasonCode.SERVER_SHUTTING_DOWN)) return false
    this.gateway.stop(now)
    return true
  }

  #paused(now: Instant, ms: number): void {
    this.connections.paused(now, ms)
    this.gateway.paused(now, ms)
    if (ms < NOTED_PAUSE_MS) return
    const reason = `for ${Math.round(ms / 1000)} s: what clients have sent meanwhile is read before any of them counts as lost`
    this.notice({ code: 'process-paused', level: 'warn', reason })
  }

  #publishSys(now: Instant): void {
    if (this.#sys === undefined) return
    this.#sysDue = now + this.#sysIntervalMs
    for (const { topic, value } of this.#sys.update(now, this.#sysFigures())) this.broker.publishSys(now, topic, value)
  }

  #sysFigures(): SysFigures {
    const { broker } = this
    const { stats, sessions, retained } = broker
    const streams = this.connections.traffic
    const datagrams = this.gateway.traffic
    const sum = (of: (traffic: Traffic) => number): number => of(streams) + of(datagrams)
    const waiting = broker.sessions.waiting()
    const shared = broker.sharedSubscriptionCount
    return {
      clients: {
        connected: sessions.connected,
        disconnected: sessions.size - sessions.connected,
        maximum: sessions.mostConnected,
        expired: stats.sessionsExpired,
      },
      sockets: streams.opened,
      connects: stats.connected + stats.refused,
      messages: { received: sum((of) => of.packetsReceived), sent: sum((of) => of.packetsSent) },
      publishes: {
        received: stats.publishReceived,
        sent: sum((of) => of.publishSent),
        dropped: stats.publishDropped + sum((of) => of.publishDropped),
      },
      publishBytes: { received: sum((of) => of.publishBytesReceived), sent: sum((of) => of.publishBytesSent) },
      bytes: { received: sum((of) => of.bytesReceived), sent: sum((of) => of.bytesSent) },
      retained: retained.count,
      stored: { messages: waiting.messages + retained.count, bytes: waiting.bytes + retained.bytes },
      subscriptions: { plain: broker.subscriptionCount - shared, shared },
      notices: this.notices,
      memory: { limit: this.memory.limits.memoryLimit, used: this.memory.byCategory() },
      process: this.#processFigures(),
    }
  }

  /** Gives whether any link had something to say. */
  #drain(now: Instant): boolean {
    const { broker, connections, gateway } = this
    let any = false
    for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) {
      any = true
      if (connections.owns(link)) connections.linkReady(now, link)
      else if (gateway.owns(link)) gateway.linkReady(now, link)
    }
    broker.takeQueued()
    return any
  }
}

export const isGatewayRecord = (record: StoreRecord): record is GatewayRecord => record.type.startsWith('sn-')
