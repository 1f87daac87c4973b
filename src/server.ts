import { ClientFigures, COUNTED_NOTICES } from './base/client-figures.ts'
import { earliest, type Instant, type Machine } from './base/machine.ts'
import { Memory, type MemoryLimits } from './base/memory.ts'
import { type Notice, NoticeCounts, type NoticeSink } from './base/notice.ts'
import type { Access, AuthAnswer, AuthRequest } from './broker/access.ts'
import { bridgeView, leftSessions } from './broker/bridge-view.ts'
import { Broker } from './broker/broker.ts'
import type { ConditionOptions } from './broker/conditions.ts'
import type { ContentCheck } from './broker/content-check.ts'
import type { Hooks, PublishAnswer, PublishQuestion } from './broker/hooks.ts'
import { type BrokerLimits, DEFAULT_LIMITS } from './broker/limits.ts'
import { LocalLinks } from './broker/local-links.ts'
import { type ProcessFigures, type SysFigures, SysTopics } from './broker/sys-topics.ts'
import type { DatagramTap } from './gateway/datagram-tap.ts'
import { Gateway } from './gateway/gateway.ts'
import type { GatewayOptions } from './gateway/gateway-options.ts'
import type { Datagram } from './gateway/ports/ports.ts'
import type { RouteKey } from './gateway/ports/route.ts'
import type { ConnectionId, StreamInfo } from './mqtt/connection.ts'
import type { ConnectionLimits } from './mqtt/connection-limits.ts'
import { Connections } from './mqtt/connections.ts'
import type { LinkId } from './mqtt/link.ts'
import { ReasonCode } from './mqtt/reason-codes.ts'
import type { ConnectionOutput } from './mqtt/stream-output.ts'
import type { StreamTap } from './mqtt/stream-tap.ts'
import { bridgeQueue } from './presence/bridge-figures.ts'
import { Presence, type PresenceOptions } from './presence/presence.ts'
import { type ClockReading, StoreClock } from './store/clock.ts'
import type { GatewayRecord, Store, StoreRecord, WallClock } from './store/store.ts'
import { sysFigures } from './sys-figures.ts'
import type { BridgeOptions } from './upstream/bridge-options.ts'
import { Bridges } from './upstream/bridges.ts'
import type { SensorUpstreamOptions } from './upstream/sensors/options.ts'
import { SensorUpstream } from './upstream/sensors/sensor-upstream.ts'
import { type DialOutput, Upstream, type UpstreamOptions } from './upstream/upstream.ts'

export interface ServerOptions {
  readonly broker?: Partial<BrokerLimits>
  readonly connections?: Partial<ConnectionLimits>
  /** Limits on the memory that peers may use; none if absent. */
  readonly memory?: Partial<MemoryLimits>
  readonly gateway: GatewayOptions
  readonly access?: Access
  readonly hooks?: Hooks | undefined
  readonly content?: ContentCheck | undefined
  /** Conditions of subscriptions; none is accepted if absent. */
  readonly conditions?: ConditionOptions
  readonly store: Store
  /** The wall clock, until the first `clock` input. */
  readonly clock: WallClock
  readonly notice: NoticeSink
  /** In [0, 1). The only source of randomness, so that a run can be repeated. */
  readonly random: () => number
  /** Seconds between two updates of the topics under `$SYS`; never if 0 or absent. */
  readonly sysInterval?: number
  /** Published as `$SYS/broker/version`: `roost version 1.2.3`. */
  readonly version?: string
  readonly presence?: PresenceOptions
  /** Links to far sides; none if absent. */
  readonly upstream?: Partial<UpstreamOptions>
  readonly bridges?: readonly BridgeOptions[]
  /** Sensors have their sessions at a cluster instead of the broker here. */
  readonly sensors?: SensorUpstreamOptions | undefined
  /** Keeps figures of each sensor, 64 bytes each: `Sensors.figuresOf`. */
  readonly sensorFigures?: boolean
  /** Called at every update of the topics under `$SYS`. */
  readonly processFigures?: () => ProcessFigures
}

/** Sees every packet, in the order in which they are read and written. */
export type Tap = StreamTap & DatagramTap

export type ServerInput =
  | { readonly kind: 'opened'; readonly connection: ConnectionId; readonly from: StreamInfo }
  | { readonly kind: 'chunk'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  /** Bytes buffered in front of the stream, because it delivers only whole messages (WebSocket). */
  | { readonly kind: 'buffering'; readonly connection: ConnectionId; readonly bytes: number }
  /** The socket's send buffer is full (`on`), or has drained. */
  | { readonly kind: 'congested'; readonly connection: ConnectionId; readonly on: boolean }
  /** The socket has accepted none of the waiting bytes for longer than the write timeout. */
  | { readonly kind: 'stuck'; readonly connection: ConnectionId }
  | { readonly kind: 'closed'; readonly connection: ConnectionId; readonly reason: string }
  /** A stream that was asked for with `dial` is open. */
  | { readonly kind: 'dialled'; readonly connection: ConnectionId }
  | { readonly kind: 'datagram'; readonly route: RouteKey; readonly bytes: Uint8Array }
  /** The answer to an `auth` output. */
  | { readonly kind: 'authenticated'; readonly link: LinkId; readonly step: number; readonly answer: AuthAnswer }
  /** The answer to a `hook` output. */
  | { readonly kind: 'hooked'; readonly id: number; readonly answer: PublishAnswer }
  /** The access rules have changed. */
  | { readonly kind: 'access-changed' }
  /** The event loop lags (`on`), or has caught up. No new connections are accepted while it lags. */
  | { readonly kind: 'overloaded'; readonly on: boolean }
  /** `store.durable` has advanced. */
  | { readonly kind: 'durable' }
  /** A reading of the machine's clocks; about once a second. */
  | { readonly kind: 'clock'; readonly reading: ClockReading }
  /**
   * The process did not run for `ms` milliseconds. Data that waits in the sockets must follow before the next
   * `handleTimeout`.
   */
  | { readonly kind: 'paused'; readonly ms: number }

export type ServerOutput =
  | ConnectionOutput
  | ({ readonly kind: 'datagram' } & Datagram)
  /**
   * Open a stream to this target. Answered by `dialled`, or by `closed` if that fails; the events and outputs of the stream are those
   * of any other. Its connection id, chosen here, is negative.
   */
  | DialOutput
  /** Verify the identity of this client; answered by `authenticated` with the same link and step. */
  | { readonly kind: 'auth'; readonly request: AuthRequest }
  /** The client of this link has disconnected: the answer to its `auth` is no longer needed, and ignored. */
  | { readonly kind: 'auth-abandoned'; readonly link: LinkId }
  /** Whether this message is published, and how; answered by `hooked` with the same id. Its payload is valid until the next call. */
  | { readonly kind: 'hook'; readonly question: PublishQuestion }

/** A pause of at least this many milliseconds raises a Notice. */
const NOTED_PAUSE_MS = 5_000

/**
 * Maximum number of deliveries that wait for the end of a turn. Above this, output is written before more input is
 * read.
 */
const BACKLOG_MAX = 4096

/**
 * The broker, MQTT connections and the MQTT-SN gateway as one sans-I/O state machine. It owns no socket, clock, timer
 * or file; these belong to a caller: `Loop` (src/process/loop.ts) with real ones, fuzz/sim/world.ts with simulated
 * ones. It is not reentrant: no method may be called from within another one, or from within `notice` or `random`.
 *
 * **Start.** Call `recover` once, or `replay` and then `resume`, before anything else; then open listeners and ports.
 *
 * **Each turn.**
 * 1. `handle` each input: data from sockets, answers to `auth` and `hook` outputs, `durable` after `store.durable` has advanced.
 * 2. `handleTimeout` if `nextTimeout` has been reached.
 * 3. `poll` until it returns `undefined`, and carry out each output in order: write, pause, resume or close the stream,
 *    send the datagram, verify the client, ask the hook. Outputs may be discarded only for a stream that has closed; datagrams may be
 *    lost. Inputs that arise between two polls are handled immediately; the running loop polls the resulting outputs.
 * 4. Let the store commit, and set one timer for `nextTimeout`.
 *
 * Any call may produce outputs and may move `nextTimeout` either way, so poll after every group of calls and read
 * `nextTimeout` after every poll. How many inputs make a turn is the caller's choice; fewer polls mean larger writes.
 * When `backlogged` is true, poll before the next input, and say that the turn `continues`: a turn that takes long lets
 * data that arrives wait for the next one.
 *
 * **Time.** `now` is a monotonic clock in milliseconds with an arbitrary origin; it never decreases from call to call.
 * Wall-clock time enters only through `ServerOptions.clock` and `clock` inputs, about one per second. `handleTimeout`
 * may be called early, late or repeatedly. If the process did not run for a while, send `paused` first, then all data
 * that waits in the sockets, and only then call `handleTimeout`: clients that have sent something in the meantime must
 * not be considered lost.
 *
 * **Streams.** Send `opened` once, then any number of `chunk`, `buffering`, `congested` and `stuck`, then `closed`
 * once. After a `close` output, do not send `closed`. A paused stream sends no `chunk` until it is resumed, except for
 * data that was already read.
 *
 * **Stop.** Call `publishWills`, then `shutDown`, each until it returns true, polling and committing after every call;
 * poll once more at the end, and close the store.
 */
export class Server implements Machine<ServerInput, ServerOutput> {
  readonly broker: Broker
  readonly gateway: Gateway
  readonly connections: Connections
  /** Undefined if nothing is configured that needs it. */
  readonly upstream: Upstream | undefined
  /** Undefined if none is configured. */
  readonly bridges: Bridges | undefined
  /** Undefined if sensors have their sessions here. */
  readonly sensors: SensorUpstream | undefined
  /** Clients that are part of this process. */
  readonly local = new LocalLinks()
  /** Undefined if no topic has a type. */
  readonly content: ContentCheck | undefined
  /** Counts of each Notice. */
  readonly notices = new NoticeCounts()
  /** Memory used on behalf of peers. */
  readonly memory: Memory
  /** Counts a Notice and passes it on. The process around the server reports through it too. */
  readonly notice: NoticeSink
  readonly #store: Store
  readonly #clock: StoreClock
  readonly #presence: Presence
  readonly #sys: SysTopics | undefined
  readonly #sysIntervalMs: number
  readonly #processFigures: () => ProcessFigures
  /** Counters of each MQTT client; undefined if the HTTP service, which shows them, is off. */
  readonly clientFigures: ClientFigures | undefined
  readonly #sensorFigures: boolean
  #keepsFigures = false
  #tap: Tap | undefined = undefined
  /** When the topics under `$SYS` are next updated; undefined before `recover`. */
  #sysDue: Instant | undefined = undefined

  constructor(options: ServerOptions) {
    const { store, random, sysInterval = 0, hooks } = options
    const notice: NoticeSink = (each) => {
      this.notices.add(each)
      if (this.#keepsFigures) this.#count(each)
      options.notice(each)
    }
    this.notice = notice
    this.#store = store
    const clock = new StoreClock(options.clock.epoch, store, notice)
    this.#clock = clock
    const { version = 'roost' } = options
    this.#sys = sysInterval > 0 ? new SysTopics(version) : undefined
    this.#sysIntervalMs = sysInterval * 1000
    this.#processFigures = options.processFigures ?? (() => ({}))
    this.#sensorFigures = options.sensorFigures ?? false
    this.clientFigures = this.#sensorFigures ? new ClientFigures() : undefined
    const memory = new Memory(options.memory)
    this.memory = memory
    this.content = options.content
    memory.count('store', () => store.waitingBytes ?? 0)
    this.broker = new Broker({
      store,
      clock,
      notice,
      random,
      memory,
      figures: this.clientFigures,
      ...(options.broker && { limits: options.broker }),
      ...(options.access && { access: options.access }),
      hooks,
      content: options.content,
      ...(options.conditions && { conditions: options.conditions }),
    })
    this.connections = new Connections(this.broker, options.connections ?? {}, notice, memory)
    this.connections.figures = this.clientFigures
    const { output } = this.connections
    const { bridges = [], sensors } = options
    const needsUpstream = bridges.length > 0 || sensors !== undefined || options.upstream !== undefined
    this.upstream = needsUpstream ? new Upstream({ output, notice, random, memory }, sensors ?? options.upstream) : undefined
    const { maxTopicLevels = DEFAULT_LIMITS.maxTopicLevels } = options.broker ?? {}
    const host = { uplink: this.broker, notice, maxTopicLevels, ...bridgeView(this.broker) }
    this.bridges = this.upstream && new Bridges(bridges, this.upstream, host)
    const gateway = { ...options.gateway, events: hooks?.events }
    this.sensors = sensors && new SensorUpstream(sensors, this.upstream!, { store, memory, notice })
    this.gateway = new Gateway(gateway, this.sensors ?? this.broker, store, clock, notice, random, memory)
    this.#presence = new Presence(options.presence ?? {}, {
      ...{ sensors: this.gateway.sensors, live: this.broker.live, memory, sys: sysInterval > 0 },
      wallEpoch: () => clock.wallEpoch,
      bridges: this.bridges && { all: this.bridges.all, queueOf: (bridge) => bridgeQueue(this.broker, bridge) },
      version: version.slice(version.lastIndexOf(' ') + 1),
    })
  }

  /** Sees every packet and datagram; undefined, the default, while no trace is on. See `Tracer` (src/trace/tracer.ts). */
  get tap(): Tap | undefined {
    return this.#tap
  }

  set tap(tap: Tap | undefined) {
    this.#tap = tap
    this.connections.tap = tap
    this.gateway.tap = tap
  }

  /** Restores the state in the store. Called once, before any input and before anything listens. */
  recover(now: Instant, reading?: ClockReading): void {
    this.replay()
    this.resume(now, reading)
  }

  /** First half of `recover`: reads the store and appends nothing to it. The records may come in several parts. */
  replay(records: Iterable<StoreRecord> = this.#store.replay()): void {
    for (const record of records) {
      this.#clock.apply(record)
      if (isGatewayRecord(record)) {
        this.sensors?.apply(record)
        this.gateway.apply(record)
      } else if (record.type !== 'clock') this.broker.apply(record)
    }
  }

  /** Second half of `recover`: starts the clocks of sessions and sensors. */
  resume(now: Instant, reading: ClockReading = { wall: this.#clock.epoch + now, bootId: '', uptime: 0 }): void {
    this.#clock.recover(now, reading)
    this.#keepsFigures = this.#sensorFigures
    if (this.#keepsFigures) this.gateway.sensors.keepFigures(now, this.wallEpoch)
    this.broker.recover(now)
    // Sensors resume their sessions first; only then does the expiry of all other sessions start.
    this.gateway.recover(now)
    this.broker.runDownRecovered(now, (clientId) => this.gateway.sensors.isLost(clientId))
    this.#publishSys(now)
    this.bridges?.start(now)
    this.#reportLeftSessions()
  }

  #reportLeftSessions(): void {
    const configured = new Set(this.bridges?.all.map(({ options }) => options.localClientId))
    for (const client of leftSessions(this.broker.sessions, configured)) {
      const reason = 'its bridge is no longer configured, but messages are queued for it: see roost sessions rm'
      this.notice({ code: 'bridge-problem', level: 'warn', client, reason })
    }
  }

  handle(now: Instant, input: ServerInput): void {
    switch (input.kind) {
      case 'chunk':
        if (input.connection < 0) this.upstream?.handle(now, input)
        else this.connections.chunk(now, input.connection, input.bytes)
        return
      case 'datagram':
        this.gateway.handleDatagram(now, input.route, input.bytes)
        return
      case 'authenticated':
        this.broker.authenticated(now, input.link, input.step, input.answer)
        return
      case 'hooked':
        this.broker.asked?.answered(now, input.id, input.answer)
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
        this.sensors?.handleDurable()
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
        if (input.connection < 0) this.upstream?.handle(now, input)
        else this.connections.congested(now, input.connection, input.on)
        return
      case 'stuck':
        if (input.connection < 0) this.upstream?.handle(now, input)
        else this.connections.stuck(now, input.connection)
        return
      case 'closed':
        if (input.connection < 0) this.upstream?.handle(now, input)
        else this.connections.closed(now, input.connection, input.reason)
        return
      case 'dialled':
        this.upstream?.handle(now, input)
    }
  }

  /** The wall clock at instant 0, in milliseconds since 1970: makes a date of an `Instant`, for people. */
  get wallEpoch(): number {
    return this.#clock.wallEpoch
  }

  handleTimeout(now: Instant): void {
    this.connections.handleTimeout(now)
    this.gateway.handleTimeout(now)
    this.broker.handleTimeout(now)
    this.upstream?.handleTimeout(now)
    this.bridges?.handleTimeout(now)
    this.sensors?.handleTimeout(now)
    this.#presence.handleTimeout(now)
    if (this.#sysDue !== undefined && this.#sysDue <= now) this.#publishSys(now)
  }

  nextTimeout(): Instant | undefined {
    const { connections, gateway, broker } = this
    const streams = earliest(connections.nextTimeout(), gateway.nextTimeout())
    const own = earliest(earliest(this.#presence.nextTimeout(), this.#sysDue), this.sensors?.nextTimeout())
    const inside = earliest(broker.nextTimeout(), earliest(this.upstream?.nextTimeout(), this.bridges?.nextTimeout()))
    return earliest(earliest(streams, inside), own)
  }

  /**
   * True if so much output is waiting, in total or for one connection, that the caller should poll before the next
   * input.
   */
  get backlogged(): boolean {
    return this.broker.queued > BACKLOG_MAX || this.connections.urgent
  }

  poll(now: Instant, continues = false): ServerOutput | undefined {
    this.#drain(now)
    // Once its message has left the port, a client can receive again.
    do {
      const output = this.connections.poll(continues)
      if (output !== undefined) return output
      const datagram = this.gateway.poll(now)
      if (datagram !== undefined) return { kind: 'datagram', route: datagram.route, bytes: datagram.bytes }
    } while (this.#drain(now))
    const request = this.broker.nextAuthRequest()
    if (request !== undefined) return { kind: 'auth', request }
    const link = this.broker.nextAbandonedAuth()
    if (link !== undefined) return { kind: 'auth-abandoned', link }
    const question = this.broker.asked?.nextQuestion()
    if (question !== undefined) return { kind: 'hook', question }
    if (this.upstream !== undefined) {
      const dial = this.upstream.poll()
      if (dial !== undefined) return dial
      this.upstream.endTurn()
    }
    this.broker.endTurn()
    return undefined
  }

  /**
   * First half of a shutdown: publishes the wills of MQTT clients while subscribers are still connected. Sensors are
   * not disconnected. Returns false until it is complete: poll, let the store commit, and call it again. Nothing is
   * lost if it is interrupted; the next process continues.
   */
  publishWills(now: Instant): boolean {
    return this.broker.shutdown.publishWills(now)
  }

  /**
   * Second half of a shutdown: disconnects all MQTT clients, MQTT 5 clients with a reason code. Returns false as
   * `publishWills` does. Poll once more at the end.
   */
  shutDown(now: Instant): boolean {
    this.bridges?.stop(now)
    if (!this.broker.shutdown.closeAll(now, ReasonCode.SERVER_SHUTTING_DOWN)) return false
    this.upstream?.stop(now)
    this.gateway.stop(now)
    return true
  }

  #paused(now: Instant, ms: number): void {
    this.connections.paused(now, ms)
    this.broker.pauses.ended(now, ms)
    this.gateway.paused(now, ms)
    this.upstream?.paused(now)
    if (ms < NOTED_PAUSE_MS) return
    const reason = `for ${Math.round(ms / 1000)} s: what clients have sent meanwhile is read before any of them counts as lost`
    this.notice({ code: 'process-paused', level: 'warn', reason })
  }

  #publishSys(now: Instant): void {
    if (this.#sys === undefined) return
    this.#sysDue = now + this.#sysIntervalMs
    for (const { topic, value } of this.#sys.update(now, this.figures())) this.broker.publishSys(now, topic, value)
  }

  /** The totals of this moment, as the topics under `$SYS` have them. */
  figures(): SysFigures {
    return sysFigures(this, this.#processFigures())
  }

  /** Counts what a notice says of a client. */
  #count(notice: Notice): void {
    const { code, client, count } = notice
    this.gateway.sensors.noticed(notice)
    const counter = COUNTED_NOTICES[code]
    if (counter === undefined || client?.startsWith('mqtt:') !== true) return
    const session = this.broker.sessions.byKey(client)
    if (session !== undefined) this.clientFigures?.count(session.figuresAt, counter, count)
  }

  /** Lets every ready link produce output. Returns whether any link was ready. */
  #drain(now: Instant): boolean {
    const { broker, connections, gateway, local } = this
    let any = false
    for (let link = broker.nextReadyLink(); link !== undefined; link = broker.nextReadyLink()) {
      any = true
      if (connections.of(link) !== undefined) connections.linkReady(now, link)
      else if (gateway.owns(link)) gateway.linkReady(now, link)
      else if (this.bridges?.linkReady(now, link) !== true) local.linkReady(link)
    }
    if (this.upstream?.drain(now) === true) any = true
    for (let link = this.sensors?.nextReadyLink(); link !== undefined; link = this.sensors?.nextReadyLink()) {
      any = true
      gateway.linkReady(now, link)
    }
    broker.takeQueued()
    return any
  }
}

export const isGatewayRecord = (record: StoreRecord): record is GatewayRecord => record.type.startsWith('sn-')
