import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Notice } from '../../src/base/notice.ts'
import { MqttClient, type MqttClientOptions, type MqttEvent } from '../../src/mqtt/client.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import type { QoS } from '../../src/mqtt/publish.ts'
import { Server, type ServerOptions } from '../../src/server.ts'
import type { BridgeOptions } from '../../src/upstream/bridge-options.ts'
import { parseTarget, type Target } from '../../src/upstream/target.ts'
import type { BridgeTopic, Direction } from '../../src/upstream/topic-map.ts'
import { OPTIONS } from '../gateway/harness.ts'

export const target = (url = 'mqtt://far:1883'): Target => parseTarget(url) as Target

/** `PATTERN DIRECTION QOS LOCAL REMOTE`. */
export function topic(line: string): BridgeTopic {
  const words = line.split(' ').map((word) => (word === '""' ? '' : word))
  const [pattern, direction = 'out', qos = '0', localPrefix = '', remotePrefix = ''] = words
  return { pattern: pattern!, direction: direction as Direction, qos: Number(qos) as QoS, localPrefix, remotePrefix }
}

export const bridge = (topics: readonly string[], more: Partial<BridgeOptions> = {}): BridgeOptions => ({
  name: 'head',
  topics: topics.map(topic),
  targets: {
    ...{ addresses: [target()], roundRobin: false, version: 'auto', backoff: { baseMs: 1000, maxMs: 1000 } },
    connectTimeoutMs: 10_000,
  },
  ...{ startType: 'automatic', idleTimeoutMs: 60_000, threshold: 3, localClientId: 'bridge:head', localCleanSession: false },
  connect: {
    ...{ bridge: true, clientId: 'site.head', cleanStart: false, keepAlive: 60, username: undefined, password: undefined },
    properties: { sessionExpiryInterval: 0xffff_ffff },
  },
  notificationTopic: '$SYS/broker/connection/site.head/state',
  ...{ notifiesRemotely: true, outgoingRetain: true, attemptUnsubscribe: true, window: 20, maxPacketSize: 1024 * 1024 },
  ...more,
})

/** A client of one of the two servers. */
export class Client {
  readonly mqtt: MqttClient
  readonly events: MqttEvent[] = []
  readonly #site: Site

  constructor(site: Site, mqtt: MqttClient) {
    this.#site = site
    this.mqtt = mqtt
  }

  publish(name: string, text: string, qos: QoS = 0, more: { retain?: boolean; properties?: object } = {}): this {
    this.mqtt.publish(this.#site.pair.now, { topic: name, payload: Buffer.from(text), qos, ...more })
    this.#site.pair.run()
    return this
  }

  subscribe(filter: string, qos: QoS = 2): this {
    const subscription = { filter, qos, noLocal: false, retainAsPublished: true, retainHandling: 0 as const }
    this.mqtt.subscribe(this.#site.pair.now, [subscription])
    this.#site.pair.run()
    return this
  }

  /** What has come since this was asked last: `topic=text q1 retain`. */
  heard(): string[] {
    const messages = this.events.splice(0).flatMap((event) => (event.event === 'message' ? [event.message] : []))
    return messages.map((message) => {
      const text = Buffer.from(message.payload).toString()
      return `${message.topic}=${text} q${message.qos}${message.retain ? ' retain' : ''}`
    })
  }
}

/** One server, with its store and clients. */
export class Site {
  server!: Server
  readonly pair: Pair
  readonly notices: Notice[] = []
  store = new DelayedStore()
  readonly #clients = new Map<ConnectionId, Client>()
  readonly #options: Partial<ServerOptions>
  #last = 0

  constructor(pair: Pair, options: Partial<ServerOptions>) {
    this.pair = pair
    this.#options = options
    this.start()
  }

  start(more: Partial<ServerOptions> = {}): void {
    this.#clients.clear()
    this.server = new Server({
      ...{ gateway: OPTIONS, store: this.store, clock: { epoch: 1_800_000_000_000 }, random: () => 0 },
      notice: (notice) => this.notices.push(notice),
      ...this.#options,
      ...more,
    })
    this.server.recover(this.pair.now)
  }

  /** The process is killed: what was not durable is lost. */
  crash(more: Partial<ServerOptions> = {}): void {
    this.pair.cut()
    this.store = this.store.crash()
    this.start(more)
    this.pair.run()
  }

  client(clientId: string, options: Partial<MqttClientOptions> = {}): Client {
    const client = new Client(this, new MqttClient({ clientId, keepAliveSeconds: 0, ...options }))
    const connection = this.open()
    this.#clients.set(connection, client)
    client.mqtt.connect(this.pair.now)
    this.pair.run()
    return client
  }

  open(): ConnectionId {
    const connection = ++this.#last
    this.server.handle(this.pair.now, { kind: 'opened', connection, from: { peer: '10.0.0.1:1', listener: 'mqtt' } })
    return connection
  }

  codes(): string[] {
    return this.notices.map(({ code }) => code)
  }

  #hear(connection: ConnectionId, { mqtt, events }: Client): boolean {
    let any = false
    for (let out = mqtt.poll(); out !== undefined; out = mqtt.poll()) {
      any = true
      if (out.kind === 'bytes') this.server.handle(this.pair.now, { kind: 'chunk', connection, bytes: out.bytes })
      else if (out.kind === 'event') events.push(out)
    }
    return any
  }

  /** Carries out what there is; true if there was anything. */
  step(isCommitting: boolean): boolean {
    const { server, pair } = this
    let any = false
    for (const [connection, client] of this.#clients) if (this.#hear(connection, client)) any = true
    server.handleTimeout(pair.now)
    for (let out = server.poll(pair.now); out !== undefined; out = server.poll(pair.now)) {
      any = true
      if (out.kind === 'dial') pair.dial(this, out.connection)
      else if (out.kind === 'write') {
        const client = this.#clients.get(out.connection)
        if (client === undefined) pair.write(this, out.connection, Uint8Array.from(out.bytes))
        else client.mqtt.handleChunk(pair.now, Uint8Array.from(out.bytes))
      } else if (out.kind === 'close') {
        const client = this.#clients.get(out.connection)
        if (client !== undefined) this.#hear(out.connection, client)
        this.#clients.delete(out.connection)
        pair.closed(this, out.connection)
      }
    }
    if (isCommitting && this.store.durable < this.store.appended) {
      any = true
      this.store.commit()
      server.handle(pair.now, { kind: 'durable' })
    }
    return any || (server.nextTimeout() ?? Number.POSITIVE_INFINITY) <= pair.now
  }
}

/** Two servers in virtual time, of which the near one has bridges to the far one. */
export class Pair {
  now = 0
  /** Whether the far one is reachable. */
  isUp = true
  /** Commits of the near store take place. */
  commits = true
  dials = 0
  readonly near: Site
  readonly far: Site
  /** Connections of the near one with their ends at the far one. */
  readonly #lines = new Map<ConnectionId, ConnectionId>()

  constructor(bridges: readonly BridgeOptions[], near: Partial<ServerOptions> = {}, far: Partial<ServerOptions> = {}) {
    this.far = new Site(this, far)
    this.near = new Site(this, { ...near, bridges })
    this.run()
  }

  run(): void {
    for (let again = true; again; ) again = [this.near.step(this.commits), this.far.step(true)].includes(true)
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.#next(); at !== undefined && at <= until; at = this.#next()) {
      this.now = Math.max(this.now, at)
      this.run()
    }
    this.now = until
    this.run()
  }

  #next(): number | undefined {
    const times = [this.near, this.far].flatMap(({ server }) => server.nextTimeout() ?? [])
    return times.length === 0 ? undefined : Math.min(...times)
  }

  dial(site: Site, connection: ConnectionId): void {
    this.dials++
    if (!this.isUp) {
      site.server.handle(this.now, { kind: 'closed', connection, reason: 'connect ECONNREFUSED' })
      return
    }
    this.#lines.set(connection, this.far.open())
    site.server.handle(this.now, { kind: 'dialled', connection })
  }

  write(site: Site, connection: ConnectionId, bytes: Uint8Array): void {
    const [to, other] = this.#other(site, connection)
    if (other !== undefined) to.server.handle(this.now, { kind: 'chunk', connection: other, bytes })
  }

  closed(site: Site, connection: ConnectionId): void {
    const [to, other] = this.#other(site, connection)
    if (other === undefined) return
    this.#lines.delete(site === this.near ? connection : other)
    to.server.handle(this.now, { kind: 'closed', connection: other, reason: 'closed' })
  }

  #other(site: Site, connection: ConnectionId): [Site, ConnectionId | undefined] {
    if (site === this.near) return [this.far, this.#lines.get(connection)]
    return [this.near, [...this.#lines].find(([, there]) => there === connection)?.[0]]
  }

  /** The line breaks: both ends see it. */
  cut(): void {
    for (const [here, there] of this.#lines) {
      this.near.server.handle(this.now, { kind: 'closed', connection: here, reason: 'cut' })
      this.far.server.handle(this.now, { kind: 'closed', connection: there, reason: 'cut' })
    }
    this.#lines.clear()
  }

  down(): void {
    this.isUp = false
    this.cut()
    this.run()
  }

  up(): void {
    this.isUp = true
    this.advance(3000)
  }
}
