import { type MemoryLimits, NO_MEMORY_LIMITS } from '../../src/base/memory.ts'
import type { Notice } from '../../src/base/notice.ts'
import { type Access, OPEN_ACCESS } from '../../src/broker/access.ts'
import type { ConditionOptions, ConfiguredConditions } from '../../src/broker/conditions.ts'
import type { ContentCheck } from '../../src/broker/content-check.ts'
import type { PublishQuestion } from '../../src/broker/hooks.ts'
import type { BrokerLimits } from '../../src/broker/limits.ts'
import { CelLanguage } from '../../src/filters/io/cel.ts'
import { ANONYMOUS_SENSORS, type GatewayOptions } from '../../src/gateway/gateway-options.ts'
import type { MqttClientOptions } from '../../src/mqtt/client.ts'
import { SnClient, type SnClientOptions, type SnEvent } from '../../src/mqttsn/client.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { type Message, MsgType, ReturnCode } from '../../src/mqttsn/messages.ts'
import { Server, type ServerInput, type ServerOptions } from '../../src/server.ts'
import type { ClockReading } from '../../src/store/clock.ts'
import { NO_ROOM_RETRY_MS } from '../../src/store/pace.ts'
import type { Lsn } from '../../src/store/store.ts'
import type { Target } from '../../src/upstream/target.ts'
import { type Crash, DelayedStore } from './delayed-store.ts'
import { answerOf, type HookKind } from './hook.ts'
import { type Carrier, Network } from './network.ts'
import { Random } from './random.ts'
import { Alarm, Schedule } from './schedule.ts'
import type { StreamEnd } from './stream-end.ts'
import { TcpClient } from './tcp-client.ts'

export const COMMIT_MS = 3
/** As the real process ends. */
const HALF_STOP_MS = 5000
/** Everybody may do everything, but for the states of bridges, which this client may change as well. */
const ACCESS: Access = { ...OPEN_ACCESS, publishRule: ({ clientId }) => clientId === 'collector' || undefined }
/** Wall time at which the world begins. */
const EPOCH = 1_800_000_000_000

/** One world among others, on the same clock. */
export interface Neighbour {
  readonly schedule?: Schedule
  /** What its server has beyond that of other worlds. */
  readonly server?: Partial<ServerOptions>
}

/** Sees everything that goes in and out of the server, at the moment when it does. */
export interface Observer {
  /** `route`: where the sensor was when it said this. */
  datagramIn?(sensor: Sensor, bytes: Uint8Array, route: string): void
  datagramOut?(sensor: Sensor, bytes: Uint8Array): void
  /** Sent to where it was before: nobody hears it there. */
  strayed?(sensor: Sensor, bytes: Uint8Array): void
  /** At the sensor's end of the radio, before the network has its way, and behind it. */
  said?(sensor: Sensor, bytes: Uint8Array): void
  heard?(sensor: Sensor, bytes: Uint8Array): void
  chunkIn?(client: TcpClient, bytes: Uint8Array): void
  written?(client: TcpClient, bytes: Uint8Array): void
  notice?(notice: Notice): void
  /** The hook does not want this message, and the server is about to hear of it. */
  unwanted?(text: string): void
  /** Somebody publishes this over HTTP. */
  requested?(text: string): void
  /** A stream is over, because its client broke it off, or because the server ends it. */
  closed?(client: TcpClient, by: 'client' | 'server'): void
  /** The server is about to stop, and publishes the wills that have no delay. */
  stops?(): void
  /**
   * The server was killed; the next one is about to read its store, in which the records up to `survived` are, of those that were appended. `refused`:
   * some were not taken.
   */
  crashed?(survived: Lsn, appended: Lsn, refused: boolean): void
  /** It has read it, and has said nothing yet. */
  recovered?(): void
}

/** What somebody says who forges the address of a sensor, and of which message. */
export interface Guess {
  readonly msgId: number
  /** By default that both a message and a topic id are taken. */
  readonly says?: 'PUBREC' | 'PUBREL' | 'PUBCOMP' | 'congestion' | 'invalid topic id' | 'not supported'
  readonly topicId?: number
}

const REFUSALS = {
  congestion: ReturnCode.CONGESTION,
  'invalid topic id': ReturnCode.INVALID_TOPIC_ID,
  'not supported': ReturnCode.NOT_SUPPORTED,
} as const

function guessed({ msgId, says, topicId = 0 }: Guess): Message[] {
  if (says === 'PUBREC' || says === 'PUBREL' || says === 'PUBCOMP') return [{ type: MsgType[says], msgId }]
  const returnCode = says === undefined ? ReturnCode.ACCEPTED : REFUSALS[says]
  return ([MsgType.PUBACK, MsgType.REGACK] as const).map((type) => ({ type, topicId, msgId, returnCode }))
}

/** A sensor somewhere in the radio network. */
export class Sensor {
  readonly client: SnClient
  address: number
  /** How fast its clock runs: a cheap crystal is off by a few per mille. */
  rate = 1
  /** Names whose REGISTER it refuses, because it has no use for them. */
  refuses: (topicName: string) => boolean = () => false
  /** Names whose REGISTER it does not answer. */
  ignores: (topicName: string) => boolean = () => false
  /** How long it takes to hear what has arrived. */
  hearsAfterMs = 0
  /** It has no room for the next message that it is sent. */
  congested = false
  /** It is in the radio network of another world, with the same client. */
  isAway = false
  readonly formerRoutes = new Set<string>()
  /** Message ids that it was sent, or has used itself: what anybody else says of others is a wrong guess. */
  readonly #ids = new Set<number>()
  /** Takes what the sensor tells its application. */
  onEvent: (event: SnEvent) => void = () => {}
  readonly #world: World
  readonly #alarm: Alarm

  constructor(world: World, options: SnClientOptions | SnClient, address: number) {
    this.#world = world
    this.client = options instanceof SnClient ? options : new SnClient(options)
    this.address = address
    this.#alarm = new Alarm(
      world.schedule,
      () => {
        const at = this.isAway ? undefined : this.client.nextTimeout()
        return at === undefined ? undefined : at / this.rate
      },
      () => this.act((client, now) => client.handleTimeout(now)),
    )
  }

  get route(): string {
    return this.#world.routeTo(this.address)
  }

  /** Does something with the client, and sends what comes of it. */
  act(what: (client: SnClient, now: number) => void): void {
    const { schedule, carrier } = this.#world
    // A timer that rings a rounding error early would ring for ever.
    what(this.client, Math.ceil(schedule.now * this.rate))
    for (let out = this.client.poll(); out !== undefined; out = this.client.poll()) {
      if (out.kind === 'event') {
        this.onEvent(out)
        continue
      }
      this.#send(carrier, out.bytes)
    }
    this.#alarm.update()
  }

  /** Says what its client knows nothing of. */
  say(message: Message): void {
    this.#send(this.#world.carrier, encodedMessage(message))
  }

  #send(carrier: Carrier, bytes: Uint8Array): void {
    const { route } = this
    this.#note(bytes)
    for (const observer of this.#world.observers) observer.said?.(this, bytes)
    this.#world.note('up', route, bytes)
    carrier.carry(`${this.client.clientId} up`, bytes.length, () => this.#world.datagram(this, route, bytes))
  }

  arrived(bytes: Uint8Array): void {
    if (this.isAway) return
    if (this.hearsAfterMs === 0) this.receive(bytes)
    else this.#world.schedule.after(this.hearsAfterMs, () => this.receive(bytes))
  }

  /** Somebody forges its address, and acknowledges what was never sent there, or refuses it, or releases what the sensor has never said. */
  forge(guess: Guess): void {
    const { route } = this
    this.#world.read(() => {
      if (this.#ids.has(guess.msgId)) return
      for (const message of guessed(guess)) this.#world.datagram(this, route, encodedMessage(message))
    })
  }

  /** The server sends it this message. */
  sent(bytes: Uint8Array): void {
    this.#note(bytes)
  }

  #note(bytes: Uint8Array): void {
    const message = decodeMessage(bytes)
    if (!isMalformed(message) && 'msgId' in message) this.#ids.add(message.msgId)
  }

  receive(bytes: Uint8Array): void {
    for (const observer of this.#world.observers) observer.heard?.(this, bytes)
    const message = decodeMessage(bytes)
    const { state } = this.client
    if (!isMalformed(message) && message.type === MsgType.REGISTER && this.ignores(message.topicName)) return
    const listens = state === 'active' || state === 'asleep' || state === 'awake'
    const answer = listens && !isMalformed(message) ? this.#refusal(message) : undefined
    if (answer !== undefined) this.#send(this.#world.carrier, encodedMessage(answer))
    else this.act((client, now) => client.handleDatagram(now, bytes))
  }

  /** What it does not take, it answers itself: its client hears nothing of it. */
  #refusal(message: Message): Message | undefined {
    const isRegister = message.type === MsgType.REGISTER
    if (isRegister && this.refuses(message.topicName)) {
      const { topicId, msgId } = message
      return { type: MsgType.REGACK, topicId, msgId, returnCode: ReturnCode.NOT_SUPPORTED }
    }
    if (!this.congested || !(isRegister || (message.type === MsgType.PUBLISH && message.qos > 0))) return undefined
    this.congested = false
    const { topicId, msgId } = message
    return { type: isRegister ? MsgType.REGACK : MsgType.PUBACK, topicId, msgId, returnCode: ReturnCode.CONGESTION }
  }
}

/** One for all worlds: it is loaded when the first condition is used. */
export const LANGUAGE = new CelLanguage()

/**
 * The production `Server`, its store, sensors, TCP clients and the networks between them, in one synchronous loop on a virtual clock. Everything
 * that happens follows from the seed.
 */
export class World {
  readonly schedule: Schedule
  readonly random: Random
  /** The radio that is there unless another one carries. */
  readonly network: Network
  carrier: Carrier
  readonly observers: Observer[] = []
  readonly notices = new Map<string, number>()
  /** A line per datagram and write, in the order of happening. */
  readonly trace: string[] = []
  store = new DelayedStore(COMMIT_MS)
  server: Server
  /** By how much the wall clock has been set since the beginning. */
  #clockSet = 0
  /** End of the last pause of the process: what happened in it, it saw then. */
  runsAt = 0
  /** Input that waits in sockets, while the process is paused. */
  #unread: (() => void)[] | undefined
  /** The server dials: a `dialled` or `closed` for this connection follows, or nothing if nobody answers. */
  dial: (connection: number, target: Target) => void = () => {}
  readonly #options: Partial<GatewayOptions>
  readonly #limits: Partial<BrokerLimits>
  #memory: Partial<MemoryLimits>
  readonly #conditions: ConditionOptions
  readonly #access: Access
  readonly #hook: HookKind
  readonly #content: ContentCheck | undefined
  #mostIdle = 0
  readonly #sensors: Sensor[] = []
  readonly #unobserved = new Set<TcpClient>()
  readonly #unobservedKeys = new Set<string>()
  readonly #streams = new Map<number, StreamEnd>()
  readonly #server: Partial<ServerOptions>
  readonly #serverAlarm: Alarm
  readonly #storeAlarm: Alarm
  #nextConnection = 1
  #nextAddress = 1

  constructor(
    seed: number,
    options: Partial<GatewayOptions> = {},
    limits: Partial<BrokerLimits> = {},
    memory: Partial<MemoryLimits> = {},
    access = ACCESS,
    hook: HookKind = 'none',
    content?: ContentCheck,
    configured?: ConfiguredConditions,
    { schedule = new Schedule(), server = {} }: Neighbour = {},
  ) {
    this.schedule = schedule
    this.#server = server
    this.#conditions = { language: LANGUAGE, ...(configured && { configured }) }
    this.#access = access
    this.#hook = hook
    this.#content = content
    this.#options = options
    this.#limits = limits
    this.#memory = memory
    this.random = new Random(seed)
    this.network = new Network(this.schedule, this.random)
    this.carrier = this.network
    this.server = this.#newServer()
    this.server.recover(this.schedule.now, this.#reading())
    this.#serverAlarm = new Alarm(
      this.schedule,
      () => (this.#unread === undefined ? this.server.nextTimeout() : undefined),
      () => this.#drive(() => this.server.handleTimeout(this.schedule.now)),
    )
    this.#storeAlarm = new Alarm(
      this.schedule,
      () => this.store.nextTimeout(),
      () => {
        this.store.handleTimeout(this.schedule.now)
        this.input({ kind: 'durable' })
      },
    )
  }

  /** Infinity: sleeping sensors never become rows, in this process and in those that follow. They all do at every chance otherwise. */
  set mostIdle(most: number) {
    this.#mostIdle = most
    this.server.gateway.mostIdle = most
  }

  /** There is as much memory as anybody wants, from now on. */
  enoughMemory(): void {
    this.#memory = NO_MEMORY_LIMITS
    Object.assign(this.server.memory.limits, NO_MEMORY_LIMITS)
  }

  addSensor(options: SnClientOptions | SnClient): Sensor {
    const sensor = new Sensor(this, options, this.#nextAddress++)
    this.#sensors.push(sensor)
    return sensor
  }

  /** A place on a line of its own, or one at an IP address where senders may be forged. */
  routeTo(address: number): string {
    return this.#options.trustedNetworks === undefined ? `sensor:${address}` : `198.51.100.7:${1024 + address}`
  }

  /** The sensor is heard from another address from now on. */
  move(sensor: Sensor): void {
    sensor.formerRoutes.add(sensor.route)
    sensor.address = this.#nextAddress++
  }

  /** `unobserved`: observers hear nothing of it, nor of Notices about its session. */
  addTcpClient(options: MqttClientOptions, unobserved?: 'unobserved'): TcpClient {
    const client = new TcpClient(this, options)
    if (unobserved === 'unobserved') {
      this.#unobserved.add(client)
      this.#unobservedKeys.add(`mqtt:${options.clientId}`)
    }
    return client
  }

  #tell(client: StreamEnd, what: (observer: Observer, client: TcpClient) => void): void {
    // What goes from server to server is not the observers' business.
    if (!(client instanceof TcpClient) || this.#unobserved.has(client)) return
    for (const observer of this.observers) what(observer, client)
  }

  openStream(client: StreamEnd, listener = 'mqtt'): number {
    const connection = this.#nextConnection++
    this.#streams.set(connection, client)
    this.input({ kind: 'opened', connection, from: { peer: `tcp:${connection}`, listener } })
    return connection
  }

  /** A stream that the server dials is there from its side, whether anybody answers or not. */
  adopt(connection: number, end: StreamEnd): void {
    this.#streams.set(connection, end)
  }

  streamClosed(connection: number): void {
    this.read(() => {
      const client = this.#streams.get(connection)
      if (client !== undefined) this.#tell(client, (observer, tcp) => observer.closed?.(tcp, 'client'))
      this.#streams.delete(connection)
    })
  }

  datagram(sensor: Sensor, route: string, bytes: Uint8Array): void {
    this.read(() => {
      for (const observer of this.observers) observer.datagramIn?.(sensor, bytes, route)
      this.input({ kind: 'datagram', route, bytes })
    })
  }

  chunk(client: TcpClient, connection: number, bytes: Uint8Array): void {
    this.read(() => {
      this.#tell(client, (observer) => observer.chunkIn?.(client, bytes))
      this.input({ kind: 'chunk', connection, bytes })
    })
  }

  /** The wall clock is set; a process that runs sees it a second later. */
  setClock(by: number): void {
    this.#clockSet += by
    this.schedule.after(1000, () => this.#look())
  }

  #look(): void {
    if (this.#unread === undefined) this.input({ kind: 'clock', reading: this.#reading() })
  }

  #reading(): ClockReading {
    const { now } = this.schedule
    return { wall: EPOCH + now + this.#clockSet, bootId: 'boot', uptime: now }
  }

  /** The process does not run for so long, as after SIGSTOP: what comes waits in its sockets, and is read before any timer is looked at. */
  pause(ms: number): void {
    if (this.#unread !== undefined) return
    this.#unread = []
    this.runsAt = this.schedule.now + ms
    const { server } = this
    this.schedule.after(ms, () => {
      // The process that was paused is gone, and the next one may be paused in its turn.
      if (server !== this.server) return
      const unread = this.#unread ?? []
      this.#unread = undefined
      this.input({ kind: 'paused', ms })
      for (const read of unread) read()
      this.#look()
      this.#serverAlarm.update()
    })
  }

  input(input: ServerInput): void {
    this.read(() => this.#drive(() => this.server.handle(this.schedule.now, input)))
  }

  /** A turn of the event loop with something that is no input of the server. */
  run(what: () => void): void {
    this.read(() => this.#drive(what))
  }

  /** What reaches the process: at once, or when it runs again. */
  read(read: () => void): void {
    if (this.#unread === undefined) read()
    else this.#unread.push(read)
  }

  /** kill -9, and a new process on what the store has made durable. Streams break; sensors are told nothing. */
  crash(crash: Crash = {}): void {
    this.note('crash', '', new Uint8Array(0))
    this.#unread = undefined
    this.runsAt = Math.min(this.runsAt, this.schedule.now)
    const streams = [...this.#streams.values()]
    this.#streams.clear()
    const { appended, refusals } = this.store
    const survivors = this.store.withWholeTurns(crash.survivors ?? 0)
    const survived = this.store.durable + survivors
    // A checkpoint was there before, and the log goes on from it.
    this.store = this.store.crash({ folded: this.store.durable >> 1, ...crash, survivors })
    for (const observer of this.observers) observer.crashed?.(survived, appended, refusals > 0)
    this.server = this.#newServer()
    this.server.recover(this.schedule.now, this.#reading())
    for (const observer of this.observers) observer.recovered?.()
    this.#drive(() => {})
    for (const client of streams) {
      client.streamLost()
    }
  }

  /** SIGTERM, and a new process on the same store: everything that was appended is durable at the end of the old one. */
  stopAndStart(): void {
    for (const observer of this.observers) observer.stops?.()
    this.#inPieces(() => this.server.publishWills(this.schedule.now))
    this.#inPieces(() => this.server.shutDown(this.schedule.now))
    if (!this.store.stalled) this.store.commit()
    this.crash()
  }

  /** Time passes between the pieces; where the store stands still the process ends all the same. */
  #inPieces(piece: () => boolean): void {
    const until = this.schedule.now + HALF_STOP_MS
    for (let done = false; !done && this.schedule.now < until; ) {
      this.#drive(() => {
        done = piece()
      })
      // Room that has come meanwhile is looked for a little later, as the real process does.
      if (!done) this.schedule.runUntil(this.schedule.now + (this.store.hasRoom ? 1 : NO_ROOM_RETRY_MS))
    }
  }

  /** The store goes on after a stall: what is on its way becomes durable. Nobody is told of room that has come meanwhile. */
  wakeStore(): void {
    this.run(() => {})
  }

  note(what: string, where: string, bytes: Uint8Array): void {
    this.trace.push(`${this.schedule.now} ${what} ${where} ${Buffer.from(bytes).toString('hex')}`)
  }

  #newServer(): Server {
    const server = new Server({
      sensorFigures: true,
      conditions: this.#conditions,
      gateway: {
        gatewayId: 1,
        tRetryMs: 10_000,
        nRetry: 3,
        sessionExpirySeconds: Number.POSITIVE_INFINITY,
        maxSessions: 1000,
        maxIdleMs: 0,
        topicsPerClient: 100,
        sleepMargin: 1.5,
        wakeMessages: 100,
        tWaitMs: 300_000,
        maxClientIdLength: 64,
        inflightMessages: 1,
        wakeBytes: Number.POSITIVE_INFINITY,
        roam: 'asleep',
        register: 'lazy',
        strictSleep: false,
        qosM1InlineTopic: false,
        forwarders: true,
        users: ANONYMOUS_SENSORS,
        qos2HoldDownMs: 60_000,
        unknownSenderPerSecond: 100,
        predefinedTopics: [{ pattern: '*', topics: new Map([[1, 'anonymous/count']]) }],
        maxDatagram: 1024,
        ...this.#options,
      },
      broker: this.#limits,
      memory: this.#memory,
      access: this.#access,
      ...(this.#hook !== 'none' && { hooks: { asksAboutMessages: true } }),
      content: this.#content,
      store: this.store,
      clock: { epoch: EPOCH },
      notice: (notice: Notice) => {
        const { code, count = 1 } = notice
        this.notices.set(code, (this.notices.get(code) ?? 0) + count)
        if (notice.client !== undefined && this.#unobservedKeys.has(notice.client)) return
        for (const observer of this.observers) observer.notice?.(notice)
      },
      random: this.random.next,
      ...this.#server,
    })
    server.gateway.mostIdle = this.#mostIdle
    return server
  }

  #drive(what: () => void): void {
    const { now } = this.schedule
    this.store.now = now
    what()
    for (let out = this.server.poll(now); out !== undefined; out = this.server.poll(now)) {
      if (out.kind === 'datagram') this.#transmit(out.route, out.bytes)
      else if (out.kind === 'write') this.#write(out.connection, out.bytes)
      else if (out.kind === 'close') this.#close(out.connection)
      else if (out.kind === 'dial') this.dial(out.connection, out.target)
      else if (out.kind === 'pause') this.#streams.get(out.connection)?.pause()
      else if (out.kind === 'resume') this.#streams.get(out.connection)?.resume()
      else if (out.kind === 'hook') this.#ask(out.question)
    }
    this.#serverAlarm.update()
    this.#storeAlarm.update()
  }

  /** The program answers, unless this process has ended by then. */
  #ask(question: PublishQuestion): void {
    const { ms, answer } = answerOf(this.#hook, question)
    const { server } = this
    const text = Buffer.from(question.payload).toString()
    const tell = (handle: (input: ServerInput) => void): void => {
      if (server !== this.server) return
      if (answer.kind === 'refused') for (const observer of this.observers) observer.unwanted?.(text)
      handle({ kind: 'hooked', id: question.id, answer })
    }
    // An answer within the turn comes between two polls.
    if (ms === 0) tell((input) => server.handle(this.schedule.now, input))
    else this.schedule.after(ms, () => tell((input) => this.input(input)))
  }

  #transmit(route: string, bytes: Uint8Array): void {
    this.note('down', route, bytes)
    const sensor = this.#sensors.find((each) => each.route === route)
    if (sensor === undefined) {
      const moved = this.#sensors.find(({ formerRoutes }) => formerRoutes.has(route))
      if (moved !== undefined) for (const observer of this.observers) observer.strayed?.(moved, bytes)
      return
    }
    sensor.sent(bytes)
    for (const observer of this.observers) observer.datagramOut?.(sensor, bytes)
    this.carrier.carry(`${sensor.client.clientId} down`, bytes.length, () => {
      if (sensor.route === route) sensor.arrived(bytes)
    })
  }

  #write(connection: number, bytes: Uint8Array): void {
    const client = this.#streams.get(connection)
    if (client === undefined) return
    this.note('write', `tcp:${connection}`, bytes)
    this.#tell(client, (observer, tcp) => observer.written?.(tcp, bytes))
    // Its client has gone, and the server has still to read that.
    if (client.connection !== connection) return
    // Of a congested socket the server hears in the middle of its writing.
    const congested = (): void => this.server.handle(this.schedule.now, { kind: 'congested', connection, on: true })
    client.write(Uint8Array.from(bytes), congested)
  }

  #close(connection: number): void {
    const client = this.#streams.get(connection)
    if (client === undefined) return
    this.#tell(client, (observer, tcp) => observer.closed?.(tcp, 'server'))
    client.inOrder(() => {
      if (client.connection === connection) client.breakStream()
    })
  }
}
