import { Fifo } from '../base/fifo.ts'
import { foreignProtocol } from '../base/foreign-protocol.ts'
import { earliest, type Instant, type Machine } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import type { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import { Timers } from '../base/timers.ts'
import type { ConnectionId } from '../mqtt/connection.ts'
import type { LinkId } from '../mqtt/link.ts'
import { type Connack, type Disconnect, type Packet, PacketType } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import { type ByteCount, Remembered } from '../mqtt/topic-names.ts'
import { Backpressure } from './backpressure.ts'
import { DialQueue } from './dial-queue.ts'
import { type Ending, GOODBYE, whyDisconnected, whyRefused } from './endings.ts'
import type { Inbound } from './inbound.ts'
import { type LinkHost, nextLook } from './link-host.ts'
import type { UpstreamLinkOwner, UpstreamLinkSettings } from './link-owner.ts'
import { afterLoss, afterMiss } from './redial.ts'
import { StreamReaders } from './stream-readers.ts'
import type { Target } from './target.ts'
import { backoffMs, type KnownTarget, type Targets } from './targets.ts'
import { UpstreamLink } from './upstream-link.ts'
import { UpstreamNotices } from './upstream-notices.ts'
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

/**
 * PINGREQ is answered within this, in milliseconds, or within the keep alive if that is less; SUBSCRIBE within this. After as long
 * without an answer to a message, PINGREQ is sent.
 */
const PATIENCE_MS = 30_000
/** Milliseconds between two attempts to reach the first address while connected to another. */
const PROBE_MS = 30_000
/** The links to far sides: dials, streams and keep alive. Its outputs besides dials go to `StreamOutput`. */
export class Upstream implements Machine<UpstreamInput, DialOutput>, LinkHost {
  readonly links = new Map<LinkId, UpstreamLink>()
  readonly held: ByteCount = { sum: 0 }
  readonly notices: UpstreamNotices
  readonly #parts: UpstreamParts
  readonly #streams = new Map<ConnectionId, UpstreamStream>()
  #streamBytes = 0
  readonly #outputs = new Fifo<DialOutput>()
  readonly #ready = new Fifo<UpstreamLink>()
  readonly #dirty = new Fifo<UpstreamLink>()
  /** What has received messages in this turn. */
  readonly #heard: Inbound[] = []
  /** The next attempt of a link; the end of the time for CONNACK; what `#watch` has to do. */
  readonly #timers = new Timers<UpstreamLink>()
  readonly #dials: DialQueue
  readonly #backpressure: Backpressure
  readonly #readers = new StreamReaders(new Remembered())
  #lastConnection: ConnectionId = 0
  #lastLink: LinkId = 0

  constructor(parts: UpstreamParts, options: Partial<UpstreamOptions> = {}) {
    this.#parts = parts
    this.notices = new UpstreamNotices(parts.notice)
    const { dialsPerSecond } = { ...DEFAULT_UPSTREAM, ...options }
    this.#dials = new DialQueue(dialsPerSecond, this.#timers)
    this.#backpressure = new Backpressure(parts.memory, parts.notice, parts.output)
    parts.memory.count('connections', () => this.#streamBytes + this.#readers.remembered.sum)
    parts.memory.count('receive_buffers', () => this.#readers.buffered)
    parts.memory.count('messages', () => this.held.sum)
  }

  /** Makes a link, which does nothing until its owner sends CONNECT. */
  open(now: Instant, settings: UpstreamLinkSettings, targets: Targets, owner: UpstreamLinkOwner): UpstreamLink {
    const link = new UpstreamLink(this.newLinkId(), settings, targets, owner, now, this)
    this.links.set(link.id, link)
    return link
  }

  /** Ids of links that are not the broker's are negative. */
  newLinkId(): LinkId {
    return --this.#lastLink
  }

  /** Forgets a link that its owner has ended. */
  remove(link: UpstreamLink): void {
    this.links.delete(link.id)
    link.forget()
  }

  /** Says goodbye to all far sides. */
  stop(now: Instant): void {
    for (const link of this.links.values()) link.send(now, GOODBYE)
  }

  // --- Inputs

  handle(now: Instant, input: UpstreamInput): void {
    const stream = this.#streams.get(input.connection)
    if (stream === undefined) return
    switch (input.kind) {
      case 'chunk':
        this.#chunk(now, stream, input.bytes)
        return
      case 'dialled':
        this.#dialled(now, stream)
        return
      case 'congested':
        stream.congested = input.on
        if (!input.on) this.markDirty(stream.link)
        return
      case 'stuck':
        this.#fail(now, stream, { reason: 'the socket takes nothing' })
        return
      case 'closed':
        this.#forget(stream)
        this.#over(now, stream, { reason: input.reason, byFar: true })
    }
  }

  handleTimeout(now: Instant): void {
    for (let timer = this.#timers.expired(now); timer !== undefined; timer = this.#timers.expired(now))
      this.#timedOut(now, timer.owner)
    this.#dials.work(now, (link, known) => this.#dial(now, link, known))
  }

  nextTimeout(): Instant | undefined {
    return earliest(this.#timers.next(), this.#dials.next())
  }

  poll(): DialOutput | undefined {
    return this.#outputs.shift()
  }

  /** The process was paused: far sides may have answered in time, and not have been read yet. */
  paused(now: Instant): void {
    for (const stream of this.#streams.values()) {
      if (stream.pingedAt !== undefined) stream.pingedAt = now
      if (stream.state !== 'up' && stream.link.stream === stream) this.#awaitConnack(now, stream.link)
    }
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
    return any || this.#backpressure.pause(now)
  }

  endTurn(): void {
    for (let inbound = this.#heard.pop(); inbound !== undefined; inbound = this.#heard.pop()) inbound.endTurn()
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
    this.#timers.arm(link.timer, Math.max(now, link.retryAt))
  }

  urge(link: UpstreamLink): void {
    this.#dials.urge(link)
  }

  end(now: Instant, link: UpstreamLink, goodbye: Disconnect | undefined): void {
    const { stream } = link
    this.#timers.disarm(link.timer)
    this.#endProbe(link)
    if (stream === undefined) return
    const { output } = this.#parts
    if (stream.state === 'up' && goodbye !== undefined) {
      // Not over a stream that only makes the session clean: the next one begins with all of it.
      if (link.session !== undefined) link.writeAll(now, output)
      output.write(goodbye, stream)
      output.flush(stream)
    }
    stream.known.ended(now, stream.state === 'up')
    output.close(stream.id, goodbye !== undefined)
    this.#forget(stream)
    link.streamLost(now, '')
    if (link.connect !== undefined) this.#timers.arm(link.timer, now)
  }

  reconnect(now: Instant, link: UpstreamLink, reasonCode: number, reason: string): void {
    const { stream } = link
    if (stream?.state === 'up') this.#fail(now, stream, { reason, goodbye: reasonCode })
  }

  backoff(link: UpstreamLink, failures: number): number {
    return backoffMs(link.targets.settings.backoff, failures, this.#parts.random)
  }

  // --- Attempts

  #dial(now: Instant, link: UpstreamLink, known: KnownTarget): void {
    link.stream = this.#open(now, link, known)
    link.status.dials++
    link.status.target = known.target.url
    link.changed(now, 'dialling')
    this.#awaitConnack(now, link)
  }

  #open(now: Instant, link: UpstreamLink, known: KnownTarget): UpstreamStream {
    const connection = --this.#lastConnection
    const { target } = known
    const stream = new UpstreamStream(connection, link, known, now, this.#readers)
    this.#streams.set(connection, stream)
    this.#streamBytes += stream.bytes
    known.dialled()
    this.#outputs.push({ kind: 'dial', connection, target })
    return stream
  }

  #awaitConnack(now: Instant, link: UpstreamLink): void {
    this.#timers.arm(link.timer, now + link.targets.settings.connectTimeoutMs)
  }

  #dialled(now: Instant, stream: UpstreamStream): void {
    const { link } = stream
    if (stream.state === 'probing') this.#reachedFirst(now, stream)
    if (stream.state !== 'dialling') return
    stream.state = 'connecting'
    link.changed(now, 'connecting')
    const { output } = this.#parts
    output.write(link.connecting(stream), stream)
    output.flush(stream)
  }

  #timedOut(now: Instant, link: UpstreamLink): void {
    const { stream } = link
    if (stream === undefined) {
      this.#dials.add(link)
    } else if (stream.state === 'up') this.#watch(now, stream)
    else {
      const seconds = link.targets.settings.connectTimeoutMs / 1000
      this.#fail(now, stream, { reason: `no ${stream.state === 'dialling' ? 'connection' : 'CONNACK'} within ${seconds} s` })
    }
  }

  // --- While connected to a later address: is the first one back?

  #probe(now: Instant, stream: UpstreamStream): void {
    const { link } = stream
    const first = link.targets.all[0]!
    const { connectTimeoutMs } = link.targets.settings
    stream.probeAt = now + PROBE_MS
    if (link.probe !== undefined && now >= link.probe.dialledAt + connectTimeoutMs) {
      first.failed(now, this.#parts.random)
      this.#endProbe(link)
    }
    if (link.probe !== undefined || !first.mayDial(now) || !this.#dials.takeToken(now)) return
    link.probe = this.#open(now, link, first)
    link.probe.state = 'probing'
  }

  /** Moves there when nothing is in flight, which the other broker would get a second time. */
  #reachedFirst(now: Instant, probe: UpstreamStream): void {
    const { link } = probe
    probe.known.reached(now, false)
    this.#endProbe(link)
    if (link.inFlight === 0 && link.stream?.state === 'up') this.end(now, link, GOODBYE)
  }

  #endProbe(link: UpstreamLink): void {
    const { probe } = link
    if (probe === undefined) return
    link.probe = undefined
    probe.known.dialling--
    this.#parts.output.close(probe.id, true)
    this.#forget(probe)
  }

  // --- Streams

  /** What becomes due on a stream that is up: keep alive, answers that do not come, messages that are held, the first address. */
  #watch(now: Instant, stream: UpstreamStream): void {
    const { link } = stream
    const { waitsSince } = link.subscriptions
    const heldUntil = nextLook(link)
    if (waitsSince !== undefined && now >= waitsSince + PATIENCE_MS && !stream.paused) {
      this.#fail(now, stream, { reason: `SUBSCRIBE is not answered within ${PATIENCE_MS / 1000} s` })
      return
    }
    if (heldUntil !== undefined && now >= heldUntil) this.markDirty(link)
    if (stream.probeAt !== undefined && now >= stream.probeAt) this.#probe(now, stream)
    if (!this.#keepAlive(now, stream)) return
    let next = stream.nextKeepAlive(PATIENCE_MS)
    if (waitsSince !== undefined) next = earliest(next, Math.max(now + 1, waitsSince + PATIENCE_MS))
    if (heldUntil !== undefined && heldUntil > now) next = earliest(next, heldUntil)
    next = earliest(next, stream.probeAt)
    if (next === undefined) this.#timers.disarm(link.timer)
    else this.#timers.arm(link.timer, next)
  }

  /** Sends PINGREQ if it is time. False if an earlier one has no answer, and the stream is over. */
  #keepAlive(now: Instant, stream: UpstreamStream): boolean {
    const next = stream.nextKeepAlive(PATIENCE_MS)
    if (next === undefined || now < next) return true
    if (stream.awaitsPong) {
      this.#fail(now, stream, { reason: `no answer to PINGREQ within ${Math.round(next - stream.pingedAt!) / 1000} s` })
      return false
    }
    const { output } = this.#parts
    output.write({ type: PacketType.PINGREQ }, stream)
    output.flush(stream)
    stream.lastSent = now
    stream.pingedAt = now
    return true
  }

  #chunk(now: Instant, stream: UpstreamStream, bytes: Uint8Array): void {
    const isFirst = stream.counted.bytesReceived === 0
    stream.lastReceived = now
    stream.counted.bytesReceived += bytes.length
    if (isFirst && bytes[0]! >> 4 !== PacketType.CONNACK) {
      const foreign = foreignProtocol(bytes)
      this.#fail(now, stream, {
        reason: foreign === undefined ? 'the answer is not CONNACK' : `this is ${foreign}, and not MQTT`,
      })
      return
    }
    stream.reading(bytes)
    this.#read(now, stream)
    stream.read(!this.#streams.has(stream.id))
  }

  #read(now: Instant, stream: UpstreamStream): void {
    const { framer } = stream
    const { output } = this.#parts
    while (this.#streams.has(stream.id) && framer.next()) {
      const { bytes, start, bodyStart, end } = framer
      // A far side that does not know 5.0 refuses it in its own words.
      if (stream.state === 'connecting' && bytes[start] === PacketType.CONNACK << 4 && end - bodyStart === 2)
        stream.speaksOlder(4)
      const { decoder } = stream
      const packet = decoder.decode(bytes, start, bodyStart, end)
      output.tap?.packetReceived(stream, packet ?? decoder.error!)
      if (packet === undefined) {
        this.#malformed(now, stream, decoder.error!)
        return
      }
      if (stream.state === 'up') this.#packet(now, stream, packet)
      else this.#connack(now, stream, packet as Connack)
    }
    if (!this.#streams.has(stream.id)) return
    if (framer.error !== undefined) this.#malformed(now, stream, framer.error)
    else this.#backpressure.read(stream)
  }

  #packet(now: Instant, stream: UpstreamStream, packet: Packet): void {
    const { link } = stream
    if (packet.type === PacketType.PINGRESP) {
      stream.answeredPing(now)
      return
    }
    if (packet.type === PacketType.DISCONNECT) {
      this.#fail(now, stream, whyDisconnected(packet, link.connect?.clientId ?? ''))
      return
    }
    if (packet.type === PacketType.PUBLISH && packet.properties !== NO_PROPERTIES) {
      const wrong = stream.unwrap(packet)
      if (wrong !== undefined) {
        this.#malformed(now, stream, wrong)
        return
      }
    }
    if (packet.type === PacketType.PUBLISH && this.#heard.at(-1) !== link.inbound) this.#heard.push(link.inbound)
    const wrong = link.received(now, packet)
    if (wrong !== undefined) this.#fail(now, stream, { reason: wrong, goodbye: ReasonCode.PROTOCOL_ERROR })
  }

  #malformed(now: Instant, stream: UpstreamStream, { reason, reasonCode }: Malformed): void {
    const what = stream.state === 'up' ? 'malformed packet' : 'the answer is not MQTT'
    this.#fail(now, stream, { reason: `${what}: ${reason}`, goodbye: reasonCode })
  }

  #connack(now: Instant, stream: UpstreamStream, connack: Connack): void {
    const { link, known } = stream
    if (connack.reasonCode !== 0) {
      const isVersion = connack.reasonCode === ReasonCode.UNSUPPORTED_PROTOCOL_VERSION && known.refusedVersion()
      if (!isVersion) link.refused(connack)
      this.#fail(now, stream, { reason: whyRefused(connack, isVersion), refusal: connack.reasonCode })
      return
    }
    link.targets.connected(now, known)
    stream.accepted(now, connack, link.connect!.keepAlive)
    if (link.needsPurge(stream.version)) {
      link.purged()
      this.end(now, link, GOODBYE)
      return
    }
    const isFirst = link.targets.settings.roundRobin || known === link.targets.all[0]
    if (!isFirst) stream.probeAt = now + PROBE_MS
    link.accepted(now, connack)
    this.#watch(now, stream)
    this.notices.up(link, stream, connack.sessionPresent)
  }

  /** Ends the stream from our side. */
  #fail(now: Instant, stream: UpstreamStream, ending: Ending): void {
    const { output } = this.#parts
    const { goodbye: reasonCode } = ending
    if (reasonCode !== undefined && stream.state === 'up' && stream.version === 5)
      output.write({ type: PacketType.DISCONNECT, reasonCode, properties: NO_PROPERTIES }, stream)
    output.flush(stream)
    output.close(stream.id, false)
    this.#forget(stream)
    this.#over(now, stream, ending)
  }

  #forget(stream: UpstreamStream): void {
    this.#streams.delete(stream.id)
    this.#streamBytes -= stream.bytes
    stream.forget()
    this.#parts.output.tap?.streamClosed(stream.id)
  }

  /** The stream is gone, or was never opened. */
  #over(now: Instant, stream: UpstreamStream, ending: Ending): void {
    const { link, known, state } = stream
    const { random } = this.#parts
    if (state === 'probing') {
      link.probe = undefined
      known.ended(now, false)
      known.failed(now, random)
      known.lastError = ending.reason
      return
    }
    this.#endProbe(link)
    const { reason, wait, isTakenOver } =
      state === 'up' ? afterLoss(now, stream, ending, random) : afterMiss(now, stream, ending, random)
    if (isTakenOver !== true) known.lastError = reason
    if (isTakenOver === true && link.settings.ofSensor !== undefined) link.yieldedTo = reason
    link.streamLost(now, reason)
    this.notices.down(link, stream, reason)
    link.retryAt = now + wait
    if (link.connect !== undefined && link.yieldedTo === '') this.#timers.arm(link.timer, link.retryAt)
    else this.#timers.disarm(link.timer)
  }

  #write(now: Instant, link: UpstreamLink): void {
    link.writeAll(now, this.#parts.output)
    const { stream } = link
    if (stream?.state !== 'up') return
    const { subscriptions, outbound } = link
    // What has waited for longer is being watched.
    if (nextLook(link) !== undefined || subscriptions.waitsSince !== undefined || outbound.waitsSince === now)
      this.#watch(now, stream)
    this.#backpressure.resume(now, stream)
  }
}
