import { Fifo } from '../base/fifo.ts'
import { earliest, type Instant, type Machine } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import type { Memory } from '../base/memory.ts'
import { COST } from '../base/memory-costs.ts'
import type { NoticeSink } from '../base/notice.ts'
import { Timers } from '../base/timers.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import type { LinkId } from '../mqtt/link.ts'
import { type Connack, type Disconnect, PacketType } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import { Remembered } from '../mqtt/topic-names.ts'
import type { Target } from './target.ts'
import { backoffMs, type Targets } from './targets.ts'
import { type LinkHost, UpstreamLink, type UpstreamLinkOwner, type UpstreamLinkSettings } from './upstream-link.ts'
import { UpstreamStream } from './upstream-stream.ts'

export interface UpstreamOptions {
  /** Attempts to connect, of all links together: clusters accept 15 to 100 sessions a second. */
  readonly dialsPerSecond: number
}

export const DEFAULT_UPSTREAM: UpstreamOptions = { dialsPerSecond: 50 }

/** Connections to far sides have negative ids, chosen here; those of clients are positive. */
export type UpstreamInput =
  /** The stream is open, its handshakes done. An attempt that fails is a `closed`. */
  | { readonly kind: 'dialled'; readonly connection: ConnectionId }
  | { readonly kind: 'chunk'; readonly connection: ConnectionId; readonly bytes: Uint8Array }
  | { readonly kind: 'congested'; readonly connection: ConnectionId; readonly on: boolean }
  | { readonly kind: 'stuck'; readonly connection: ConnectionId }
  | { readonly kind: 'closed'; readonly connection: ConnectionId; readonly reason: string }

/** Open a stream to this target; answered by `dialled` or `closed`. A `close` output before that ends the attempt. */
export interface DialOutput {
  readonly kind: 'dial'
  readonly connection: ConnectionId
  readonly target: Target
}

export interface UpstreamParts {
  /** Where streams are written: that of the clients' connections. */
  readonly output: StreamOutput
  readonly notice: NoticeSink
  readonly random: () => number
  readonly memory: Memory
}

/** A stream that lasts less than this, in milliseconds, counts as a failure. */
const LASTING_MS = 10_000
/** PINGREQ is answered within this, in milliseconds, or within the keep alive if that is less. */
const PING_MS = 30_000
/** Milliseconds between two looks at targets whose only attempt is under way. */
const LOOK_AGAIN_MS = 1_000

/** The links to far sides: dials, streams and keep alive. Its outputs besides dials go to `StreamOutput`. */
export class Upstream implements Machine<UpstreamInput, DialOutput>, LinkHost {
  readonly links = new Map<LinkId, UpstreamLink>()
  readonly #parts: UpstreamParts
  readonly #options: UpstreamOptions
  readonly #streams = new Map<ConnectionId, UpstreamStream>()
  readonly #dials = new Fifo<DialOutput>()
  readonly #ready = new Fifo<UpstreamLink>()
  readonly #dirty = new Fifo<UpstreamLink>()
  /** Links whose time has come, in order, for the dial budget. */
  readonly #due = new Fifo<UpstreamLink>()
  readonly #budget: TokenBucket
  #nextDialAt: Instant = 0
  readonly #timers = new Timers<UpstreamLink>()
  readonly #remembered = new Remembered()
  #lastConnection: ConnectionId = 0
  #lastLink: LinkId = 0

  constructor(parts: UpstreamParts, options: Partial<UpstreamOptions> = {}) {
    this.#parts = parts
    this.#options = { ...DEFAULT_UPSTREAM, ...options }
    this.#budget = new TokenBucket(this.#options.dialsPerSecond)
    parts.memory.count('connections', () => this.#streams.size * COST.connection + this.#remembered.sum)
  }

  /** Makes a link, which does nothing until its owner sends CONNECT. */
  open(now: Instant, settings: UpstreamLinkSettings, targets: Targets, owner: UpstreamLinkOwner): UpstreamLink {
    const link = new UpstreamLink(--this.#lastLink, settings, targets, owner, now, this)
    this.links.set(link.id, link)
    return link
  }

  // --- Inputs

  handle(now: Instant, input: UpstreamInput): void {
    const stream = this.#streams.get(input.connection)
    if (stream === undefined) return
    switch (input.kind) {
      case 'chunk':
        stream.lastReceived = now
        stream.counted.bytesReceived += input.bytes.length
        stream.framer.push(input.bytes)
        this.#read(now, stream)
        return
      case 'dialled':
        this.#dialled(now, stream)
        return
      case 'congested':
        stream.congested = input.on
        if (!input.on) this.markDirty(stream.link)
        return
      case 'stuck':
        this.#fail(now, stream, 'the socket takes nothing')
        return
      case 'closed':
        this.#forget(stream)
        this.#over(now, stream, input.reason)
    }
  }

  handleTimeout(now: Instant): void {
    for (let timer = this.#timers.expired(now); timer !== undefined; timer = this.#timers.expired(now))
      this.#timedOut(now, timer.owner)
    this.#dialDue(now)
  }

  nextTimeout(): Instant | undefined {
    return earliest(this.#timers.next(), this.#due.length > 0 ? this.#nextDialAt : undefined)
  }

  poll(): DialOutput | undefined {
    return this.#dials.shift()
  }

  /** Lets owners take what there is for them, and writes what there is for far sides. Returns whether there was anything. */
  drain(now: Instant): boolean {
    let any = false
    for (let link = this.#ready.shift(); link !== undefined; link = this.#ready.shift()) {
      any = true
      link.ready = false
      link.owner.upstreamReady(now, link)
    }
    for (let link = this.#dirty.shift(); link !== undefined; link = this.#dirty.shift()) {
      any = true
      link.dirty = false
      this.#write(now, link)
    }
    return any
  }

  endTurn(): void {
    for (const { link } of this.#streams.values()) link.inbound.endTurn()
  }

  // --- For links

  markReady(link: UpstreamLink): void {
    if (link.ready) return
    link.ready = true
    this.#ready.push(link)
  }

  markDirty(link: UpstreamLink): void {
    if (link.dirty) return
    link.dirty = true
    this.#dirty.push(link)
  }

  wantStream(now: Instant, link: UpstreamLink): void {
    if (link.stream !== undefined || link.wanting) return
    link.changed(now, 'waiting')
    this.#timers.arm(link.timer, now)
  }

  end(now: Instant, link: UpstreamLink, goodbye: Disconnect | undefined): void {
    const { stream } = link
    this.#timers.disarm(link.timer)
    if (stream === undefined) return
    const { output } = this.#parts
    if (stream.state === 'up' && goodbye !== undefined) {
      link.writeAll(now, output)
      output.write(goodbye, stream)
      output.flush(stream)
    }
    output.close(stream.id, goodbye !== undefined)
    if (stream.state !== 'up') stream.known.dialling--
    this.#forget(stream)
    link.streamLost(now, 'ended here')
    if (link.connect !== undefined) this.#timers.arm(link.timer, now)
  }

  notice(
    link: UpstreamLink,
    code: 'upstream-refused' | 'upstream-limited' | 'message-dropped',
    reason: string,
    count?: number,
  ): void {
    if (code !== 'message-dropped' && !this.#isNew(link, reason)) return
    const peer = link.status.target
    this.#parts.notice({ code, level: 'warn', client: link.settings.name, peer, reason, ...(count !== undefined && { count }) })
  }

  #isNew(link: UpstreamLink, reason: string): boolean {
    if (link.told.has(reason)) return false
    if (link.told.size === TOLD_MAX) link.told.clear()
    link.told.add(reason)
    return true
  }

  // --- Attempts

  #dialDue(now: Instant): void {
    for (let link = this.#due.peek(); link !== undefined; link = this.#due.peek()) {
      if (link.connect !== undefined && link.stream === undefined) {
        const known = link.targets.choose(now)
        if (known === undefined) this.#timers.arm(link.timer, link.targets.nextDial() ?? now + LOOK_AGAIN_MS)
        else if (this.#budget.take(now)) this.#dial(now, link, known)
        else {
          this.#nextDialAt = now + 1000 / this.#options.dialsPerSecond
          return
        }
      }
      link.wanting = false
      this.#due.shift()
    }
  }

  #dial(now: Instant, link: UpstreamLink, known: UpstreamStream['known']): void {
    const connection = --this.#lastConnection
    const stream = new UpstreamStream(connection, link, known, now, link.settings.maxPacketSize, this.#remembered)
    this.#streams.set(connection, stream)
    link.stream = stream
    known.dialling++
    link.status.dials++
    link.status.target = known.target.url
    link.changed(now, 'dialling')
    this.#timers.arm(link.timer, now + link.targets.settings.connectTimeoutMs)
    this.#dials.push({ kind: 'dial', connection, target: known.target })
  }

  #dialled(now: Instant, stream: UpstreamStream): void {
    if (stream.state !== 'dialling') return
    stream.state = 'connecting'
    stream.lastReceived = now
    stream.link.changed(now, 'connecting')
    const { output } = this.#parts
    output.write(stream.link.connectFor(stream), stream)
    output.flush(stream)
  }

  #timedOut(now: Instant, link: UpstreamLink): void {
    const { stream } = link
    if (stream === undefined) {
      if (link.connect === undefined || link.wanting) return
      link.wanting = true
      this.#due.push(link)
    } else if (stream.state === 'up') this.#keepAlive(now, stream)
    else {
      const seconds = link.targets.settings.connectTimeoutMs / 1000
      this.#fail(now, stream, `no ${stream.state === 'dialling' ? 'connection' : 'CONNACK'} within ${seconds} s`)
    }
  }

  // --- Streams

  #keepAlive(now: Instant, stream: UpstreamStream): void {
    const { keepAliveMs, link } = stream
    if (keepAliveMs === 0) return
    const patience = Math.min(PING_MS, keepAliveMs)
    if (stream.pingedAt !== undefined && stream.lastReceived < stream.pingedAt && !stream.paused) {
      if (now >= stream.pingedAt + patience) {
        this.#fail(now, stream, `no answer to PINGREQ within ${patience / 1000} s`)
        return
      }
      this.#timers.arm(link.timer, stream.pingedAt + patience)
      return
    }
    stream.pingedAt = undefined
    const due = Math.min(stream.lastSent, stream.lastReceived) + keepAliveMs
    if (due > now) {
      this.#timers.arm(link.timer, due)
      return
    }
    const { output } = this.#parts
    output.write({ type: PacketType.PINGREQ }, stream)
    output.flush(stream)
    stream.lastSent = now
    stream.pingedAt = now
    this.#timers.arm(link.timer, now + patience)
  }

  #read(now: Instant, stream: UpstreamStream): void {
    const { framer, decoder, link } = stream
    while (this.#streams.has(stream.id) && framer.next()) {
      const packet = decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)
      this.#parts.output.tap?.packetReceived(stream, packet ?? decoder.error!)
      if (packet === undefined) {
        this.#malformed(now, stream, decoder.error!)
        return
      }
      if (stream.state !== 'up') {
        if (packet.type === PacketType.CONNACK && stream.state === 'connecting') this.#connack(now, stream, packet)
        else this.#fail(now, stream, `packet type ${packet.type} instead of CONNACK`)
      } else if (packet.type === PacketType.PINGRESP) {
        if (stream.pingedAt !== undefined) link.status.roundTripMs = now - stream.pingedAt
      } else if (packet.type === PacketType.DISCONNECT) {
        this.#fail(now, stream, `DISCONNECT with reason code 0x${packet.reasonCode.toString(16)}`)
      } else {
        if (packet.type === PacketType.PUBLISH && packet.properties !== NO_PROPERTIES) {
          const wrong = stream.resolveAlias(packet)
          if (wrong !== undefined) {
            this.#malformed(now, stream, wrong)
            return
          }
        }
        const wrong = link.received(now, packet)
        if (wrong !== undefined) this.#fail(now, stream, wrong)
      }
    }
    if (framer.error !== undefined && this.#streams.has(stream.id)) this.#malformed(now, stream, framer.error)
    framer.release()
    decoder.release()
    if (link.inbound.isFull && !stream.paused && this.#streams.has(stream.id)) {
      stream.paused = true
      this.#parts.output.pause(stream)
    }
  }

  #malformed(now: Instant, stream: UpstreamStream, { reason, reasonCode }: Malformed): void {
    const goodbye: Disconnect = { type: PacketType.DISCONNECT, reasonCode, properties: NO_PROPERTIES }
    if (stream.state === 'up' && stream.version === 5) this.#parts.output.write(goodbye, stream)
    this.#fail(now, stream, `malformed packet: ${reason}`)
  }

  #connack(now: Instant, stream: UpstreamStream, connack: Connack): void {
    const { link, known } = stream
    if (connack.reasonCode !== 0) {
      const isVersion = connack.reasonCode === ReasonCode.UNSUPPORTED_PROTOCOL_VERSION && known.refusedVersion()
      link.refused(connack)
      const { reasonString } = connack.properties
      const said = `CONNECT refused with reason code 0x${connack.reasonCode.toString(16)}`
      this.#fail(now, stream, isVersion ? `${said}, trying another version` : reasonString ? `${said}: ${reasonString}` : said)
      return
    }
    known.dialling--
    link.targets.connected(known)
    stream.accepted(now, connack, link.connect!.keepAlive)
    link.accepted(now, connack)
    this.#keepAlive(now, stream)
    if (stream.keepAliveMs === 0) this.#timers.disarm(link.timer)
    const session = connack.sessionPresent ? 'session continued' : 'new session'
    const reason = `MQTT ${stream.version === 5 ? '5.0' : stream.version === 4 ? '3.1.1' : '3.1'}, ${session}`
    this.#parts.notice({ code: 'upstream-up', level: 'info', client: link.settings.name, peer: stream.peer, reason })
  }

  /** Ends the stream from our side. */
  #fail(now: Instant, stream: UpstreamStream, reason: string): void {
    const { output } = this.#parts
    output.flush(stream)
    output.close(stream.id, false)
    this.#forget(stream)
    this.#over(now, stream, reason)
  }

  #forget(stream: UpstreamStream): void {
    this.#streams.delete(stream.id)
    stream.forget()
    this.#parts.output.tap?.streamClosed(stream.id)
  }

  /** The stream is gone, or was never opened: when is the next attempt? */
  #over(now: Instant, stream: UpstreamStream, reason: string): void {
    const { link, known } = stream
    const { random } = this.#parts
    const { targets } = link
    let wait: number
    if (stream.state === 'up') {
      link.failures = now - stream.connectedAt < LASTING_MS ? link.failures + 1 : 0
      wait = backoffMs(targets.settings.backoff, link.failures, random)
      if (targets.settings.roundRobin) targets.leave(known)
    } else {
      known.dialling--
      if (stream.state === 'connecting' && stream.counted.bytesReceived === 0) known.closedBeforeConnack()
      known.failed(now, random)
      targets.leave(known)
      wait = 0
    }
    link.streamLost(now, reason)
    if (this.#isNew(link, `${stream.peer} ${reason}`) || stream.state === 'up')
      this.#parts.notice({ code: 'upstream-down', level: 'warn', client: link.settings.name, peer: stream.peer, reason })
    if (link.connect !== undefined) this.#timers.arm(link.timer, now + wait)
    else this.#timers.disarm(link.timer)
  }

  #write(now: Instant, link: UpstreamLink): void {
    link.writeAll(now, this.#parts.output)
    const { stream } = link
    if (stream?.paused === true && link.inbound.isDrained) {
      stream.paused = false
      stream.lastReceived = now
      this.#parts.output.resume(stream)
    }
  }
}

/** Reasons that are remembered for one link, so that each is said once. */
const TOLD_MAX = 100
