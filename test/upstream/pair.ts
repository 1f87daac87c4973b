import type { Notice } from '../../src/base/notice.ts'
import type { ConnectionId } from '../../src/mqtt/connection.ts'
import { type Outgoing, OutgoingType } from '../../src/mqtt/link.ts'
import { type Connect, type Packet, PacketType, type SubscriptionRequest } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../../src/mqtt/properties.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import { Server, type ServerOptions, type ServerOutput } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import type { UpstreamLinkOwner, UpstreamLinkSettings } from '../../src/upstream/link-owner.ts'
import { parseTarget, type Target } from '../../src/upstream/target.ts'
import { Targets, type TargetsSettings } from '../../src/upstream/targets.ts'
import type { Upstream } from '../../src/upstream/upstream.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { OPTIONS } from '../gateway/harness.ts'

/** What hears the streams of a server that dials. */
export interface Far {
  /** False: nobody listens there. */
  opened(connection: ConnectionId, target: Target): boolean
  wrote(connection: ConnectionId, bytes: Uint8Array): void
  closed(connection: ConnectionId): void
}

export function target(url = 'mqtt://far:1883'): Target {
  const parsed = parseTarget(url)
  if (typeof parsed === 'string') throw new Error(parsed)
  return parsed
}

export const TARGETS: TargetsSettings = {
  addresses: [target()],
  roundRobin: false,
  version: 'auto',
  backoff: { baseMs: 1000, maxMs: 60_000 },
  connectTimeoutMs: 10_000,
}

/** Takes everything that a link has for its owner; acknowledges messages at once unless told otherwise. */
export class Owner implements UpstreamLinkOwner {
  readonly got: Outgoing[] = []
  readonly messages: { topic: string; text: string; qos: QoS; packetId: number; retain: boolean; dup: boolean }[] = []
  readonly properties: Properties[] = []
  readonly states: string[] = []
  acknowledges = true
  /** Sends PUBREL when it gets PUBREC. */
  releases = true

  upstreamReady(now: number, link: UpstreamLink): void {
    if (this.states.at(-1) !== link.status.state) this.states.push(link.status.state)
    for (let out = link.poll(now); out !== undefined; out = link.poll(now)) {
      if (out.type === OutgoingType.DELIVERY) {
        const { message, qos, packetId, retain, dup } = out
        this.properties.push(message.properties)
        this.messages.push({ topic: message.topic, text: Buffer.from(message.payload).toString(), qos, packetId, retain, dup })
        // As a bridge with prefixes does.
        message.topic = `here/${message.topic}`
        if (this.acknowledges && qos > 0) link.send(now, response(qos === 1 ? PacketType.PUBACK : PacketType.PUBREC, packetId))
        continue
      }
      this.got.push(out)
      if (out.type === PacketType.PUBREC && out.reasonCode < 0x80 && this.releases)
        link.send(now, response(PacketType.PUBREL, out.packetId))
      if (out.type === PacketType.PUBREL && this.acknowledges) link.send(now, response(PacketType.PUBCOMP, out.packetId))
    }
  }

  /** The packet ids of what it got of this type. */
  ids(type: number): number[] {
    return this.got.flatMap((out) => (out.type === type && 'packetId' in out ? [out.packetId] : []))
  }

  codes(type: number): number[] {
    return this.got.flatMap((out) => (out.type === type && 'reasonCode' in out ? [out.reasonCode] : []))
  }
}

export const response = (type: 4 | 5 | 6 | 7, packetId: number, reasonCode = 0): Packet => ({
  type,
  packetId,
  reasonCode,
  properties: NO_PROPERTIES,
})

export const connectPacket = (more: Partial<Connect> = {}): Connect => ({
  type: PacketType.CONNECT,
  protocolVersion: 5,
  bridge: false,
  clientId: 'link',
  cleanStart: false,
  keepAlive: 60,
  will: undefined,
  username: undefined,
  password: undefined,
  properties: { sessionExpiryInterval: 3600 },
  ...more,
})

/** A server in virtual time that dials, and what is at the other end. */
export class Dialling {
  now = 0
  readonly notices: Notice[] = []
  readonly server: Server
  readonly upstream: Upstream
  /** Streams that are open, or being opened. */
  readonly streams = new Set<ConnectionId>()
  readonly dialled: string[] = []
  far: Far | undefined
  /** Sees each output. */
  seen: (out: ServerOutput) => void = () => {}
  /** Chunks that were handed over. */
  readonly #chunks: Uint8Array[] = []

  constructor(options: Partial<ServerOptions> = {}) {
    this.server = new Server({
      gateway: OPTIONS,
      store: new MemoryStore(),
      clock: { epoch: 1_800_000_000_000 },
      notice: (notice) => this.notices.push(notice),
      random: () => 0.5,
      upstream: {},
      ...options,
    })
    this.server.recover(this.now)
    this.upstream = this.server.upstream!
  }

  /** The addresses of one far side, for several links. */
  targets(more: Partial<TargetsSettings> = {}, bridge = false): Targets {
    return new Targets({ ...TARGETS, ...more }, bridge)
  }

  open(
    owner: Owner,
    settings: Partial<UpstreamLinkSettings> = {},
    targets: Targets | Partial<TargetsSettings> = {},
    bridge = false,
  ): UpstreamLink {
    const all = { name: 'head-office', window: 20, maxPacketSize: 1024 * 1024, ...settings }
    const where = targets instanceof Targets ? targets : this.targets(targets, bridge)
    return this.upstream.open(this.now, all, where, owner)
  }

  connect(link: UpstreamLink, more: Partial<Connect> = {}): void {
    link.send(this.now, connectPacket(more))
    this.run()
  }

  publish(
    link: UpstreamLink,
    topic: string,
    text: string,
    qos: QoS,
    packetId: number,
    more: { retain?: boolean } = {},
  ): 'go' | 'pause' {
    const flow = link.send(this.now, Publish.of(topic, Buffer.from(text), qos, more.retain ?? false, packetId))
    this.run()
    return flow
  }

  subscribe(link: UpstreamLink, packetId: number, ...subscriptions: (Partial<SubscriptionRequest> & { filter: string })[]): void {
    link.send(this.now, {
      type: PacketType.SUBSCRIBE,
      packetId,
      subscriptions: subscriptions.map((each) => ({
        ...{ qos: 2, noLocal: false, retainAsPublished: true, retainHandling: 0 },
        ...each,
      })),
      properties: NO_PROPERTIES,
    })
    this.run()
  }

  chunk(connection: ConnectionId, bytes: Uint8Array): void {
    if (!this.streams.has(connection)) return
    const copy = Uint8Array.from(bytes)
    this.#chunks.push(copy)
    this.server.handle(this.now, { kind: 'chunk', connection, bytes: copy })
  }

  /** Overwrites what was received: the buffer of a socket is used again. */
  wipe(): void {
    for (const chunk of this.#chunks.splice(0)) chunk.fill(0)
  }

  /** The far side closes the stream, or it breaks. */
  break(connection: ConnectionId, reason = 'connection closed'): void {
    if (this.streams.delete(connection)) this.server.handle(this.now, { kind: 'closed', connection, reason })
  }

  breakAll(reason?: string): void {
    for (const connection of this.streams) this.break(connection, reason)
    this.run()
  }

  advance(ms: number): void {
    const until = this.now + ms
    for (let at = this.server.nextTimeout(); at !== undefined && at <= until; at = this.server.nextTimeout()) {
      this.now = Math.max(this.now, at)
      this.server.handleTimeout(this.now)
      this.run()
    }
    this.now = until
  }

  /** Lets everything happen that is due now. */
  run(): void {
    this.server.handleTimeout(this.now)
    for (let out = this.server.poll(this.now); out !== undefined; out = this.server.poll(this.now)) this.#carryOut(out)
  }

  #carryOut(out: ServerOutput): void {
    const { far, server, now } = this
    this.seen(out)
    if (out.kind === 'dial') {
      const { connection } = out
      this.dialled.push(out.target.url)
      this.streams.add(connection)
      if (far?.opened(connection, out.target) === true) server.handle(now, { kind: 'dialled', connection })
      else this.break(connection, 'connect ECONNREFUSED')
    } else if (out.kind === 'write') {
      if (this.streams.has(out.connection)) far?.wrote(out.connection, Uint8Array.from(out.bytes))
    } else if (out.kind === 'close' && this.streams.delete(out.connection)) far?.closed(out.connection)
  }

  codes(): string[] {
    return this.notices.map(({ code, reason = '' }) => `${code}: ${reason}`)
  }
}
