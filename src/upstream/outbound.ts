import type { Instant } from '../base/machine.ts'
import { COST } from '../base/memory-costs.ts'
import { SmallFifo } from '../base/small-fifo.ts'
import { compacted, SmallMap } from '../base/small-map.ts'
import { reasonCodeName } from '../mqtt/describe.ts'
import { writeDelivery } from '../mqtt/encode-delivery.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import type { ByteCount } from '../mqtt/topic-names.ts'
import { messageBytes } from './message-bytes.ts'
import type { OutboundOwner } from './outbound-owner.ts'
import { OutgoingMessage } from './outgoing-message.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** MQTT 3.1.1 has no Receive Maximum; Mosquitto closed the stream of a publisher with some 200 messages of QoS 2 in flight. */
const WINDOW_OF_311 = 20

/** Codes of PUBACK and PUBREC by which the far side refuses a message for good: it is given up at once. */
const FOR_GOOD: ReadonlySet<number> = new Set([
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.TOPIC_NAME_INVALID,
  ReasonCode.PAYLOAD_FORMAT_INVALID,
])
/** Times that a message is refused with another code before it is given up. A quota passes, and has no such limit. */
const REFUSALS_MAX = 5

/** A far side that a message makes close the stream does that within so many milliseconds. */
const CLOSES_WITHIN_MS = 1_000
/** Times that it has to, after this message alone. */
const CLOSES_MAX = 2

/** Reason code of PUBREC for a message that is given up but may have arrived: its owner sends PUBREL as for one that has. */
const GIVEN_UP = ReasonCode.NO_MATCHING_SUBSCRIBERS

const NOT_IN_FLIGHT: ReadonlySet<OutgoingMessage['phase']> = new Set(['waiting', 'left', 'restored'])

/** In place of content that is not needed any more. */
const NOTHING = Publish.of('', new Uint8Array(0))

/** Counts of a link that never decrease. */
export interface OutboundCounts {
  sent: number
  resent: number
  roundTripMs: number | undefined
}

/**
 * What goes to the far side: messages in order, at most a window of them unanswered, and again over the next stream in the order of
 * the first time (MQTT-4.4.0-1, MQTT-4.6.0-1). While one is refused because of a quota, those behind it wait too.
 *
 * A sensor retransmits unacknowledged messages itself, and may have moved to another gateway when a stream is lost. A message resent here
 * could arrive after newer ones that it has published there, or twice with QoS 2. So with `ownerRepeats` nothing is resent before
 * `resend`, and a message that the owner has abandoned (`leave`) only if the owner publishes it again.
 */
export class Outbound {
  /** QoS 1 and 2, by packet id, until they are answered completely; in order of arrival. */
  #messages = new SmallMap<number, OutgoingMessage>()
  /** What is not written to the stream that is up. */
  #queue = new SmallFifo<OutgoingMessage>()
  readonly #owner: OutboundOwner
  readonly #counts: OutboundCounts
  readonly #bytes: ByteCount
  /** Messages that the far side has to answer on this stream. */
  #unanswered = 0
  #unansweredSince: Instant = 0
  /** Nothing has been answered on this stream. */
  #isSilent = true
  /** Messages that are sent one by one, because the far side closed the stream after one of several. */
  #oneByOne = 0
  /** Messages given up because the far side closed the stream, since it last answered one. */
  givenUpInARow = 0
  /** Refusals in a row that may pass, and when the next attempt is, with one message. */
  #quotas = 0
  heldUntil: Instant | undefined = undefined
  readonly #ownerRepeats: boolean
  /** Messages of the stream before are not resent until the owner calls `resend`. */
  #awaitsOwner = false
  #hasRestored = false

  /** `bytes`: what is held counts here too. */
  constructor(owner: OutboundOwner, counts: OutboundCounts, bytes: ByteCount, ownerRepeats = false) {
    this.#owner = owner
    this.#counts = counts
    this.#bytes = bytes
    this.#ownerRepeats = ownerRepeats
  }

  /** QoS 1 and 2 that are not answered completely, without those that are not sent again for now. */
  get size(): number {
    // A bridge asks in every turn, and may have a large window.
    if (!this.#ownerRepeats) return this.#messages.size
    let size = 0
    for (const { phase } of this.#messages.values()) if (phase !== 'left' && !(this.#awaitsOwner && phase === 'waiting')) size++
    return size
  }

  /** Not written yet, although they may be. */
  get queued(): number {
    return this.#awaitsOwner ? 0 : this.#queue.length
  }

  /** Messages are held until the owner calls `resend`. */
  get awaitsOwner(): boolean {
    return this.#awaitsOwner
  }

  /** Since when the far side has had something to answer. */
  get waitsSince(): Instant | undefined {
    return this.#unanswered > 0 ? this.#unansweredSince : undefined
  }

  has(packetId: number): boolean {
    return this.#messages.has(packetId)
  }

  get(packetId: number): OutgoingMessage | undefined {
    return this.#messages.get(packetId)
  }

  /** Packet ids that are not answered completely. */
  ids(): Iterable<number> {
    return this.#messages.keys()
  }

  /** Takes over a message. One that it has already is not taken twice; its owner may have missed PUBREC. */
  add(message: OutgoingMessage): void {
    const { qos, packetId } = message
    if (qos > 0) {
      const known = this.#messages.get(packetId)
      if (known?.phase === 'received') this.#owner.answer(PacketType.PUBREC, packetId, 0)
      if (known?.phase === 'left') this.#takeUp(known)
      if (known !== undefined) {
        known.isLeft = false
        return
      }
      this.#keep(message)
    } else this.#bytes.sum += messageBytes(message.message)
    this.#queue.push(message)
  }

  #takeUp(message: OutgoingMessage): void {
    message.phase = 'waiting'
    message.dup = true
    this.#queue.push(message)
  }

  /** Resends unacknowledged messages of the stream before. True if there is something to write. */
  resend(): boolean {
    const { awaitsOwner } = this
    this.#awaitsOwner = false
    return awaitsOwner
  }

  /**
   * The owner starts over, and may have used another gateway in between. It still receives acknowledgements that arrive on this stream,
   * but its messages are not resent unless it publishes them again.
   */
  leave(isUp: boolean): void {
    this.#queue.filter(({ givenQos }) => givenQos === 0)
    for (const each of [...this.#messages.values()]) {
      if (each.phase === 'sent' && isUp) each.isLeft = true
      else if (each.phase === 'sent' || each.phase === 'waiting') this.#letGo(each)
      else if (each.phase === 'restored') this.#drop(each)
    }
    this.#awaitsOwner = false
  }

  /** The message is not resent. With QoS 2 its packet id is remembered, because the far side may have a receipt. */
  #letGo(message: OutgoingMessage): void {
    if (message.qos === 2 && message.sentAt > Number.NEGATIVE_INFINITY) message.phase = 'left'
    else this.#drop(message)
  }

  /** Releases the packet id of an abandoned message for another one. */
  free(packetId: number): void {
    if (this.release(packetId, true)) this.#owner.releases(packetId)
  }

  /**
   * Repeats PUBREC to an owner that may have missed it. The owner would resend the message, but not while others fill the queue, and
   * those may be waiting for the end of this exchange.
   */
  answerAgain(): void {
    for (const { phase, packetId } of this.#messages.values())
      if (phase === 'received') this.#owner.answer(PacketType.PUBREC, packetId, 0)
  }

  #keep(message: OutgoingMessage): void {
    this.#messages.set(message.packetId, message)
    this.#bytes.sum += COST.inflight + message.message.weight
  }

  /** PUBREL of the owner. True if it is to be written now. */
  release(packetId: number, isUp: boolean): boolean {
    const message = this.#messages.get(packetId)
    if (message === undefined) return this.#restore(packetId, isUp)
    if (message.phase === 'left') {
      this.#unanswered++
      message.phase = 'released'
      return isUp
    }
    if (message.phase !== 'received') return false
    if (message.qos < 2) {
      // The far side has acknowledged it with a lower QoS.
      this.#complete(message, PacketType.PUBCOMP, 0)
      return false
    }
    message.phase = 'released'
    return isUp
  }

  /** PUBREL for a message of another process. A sensor's waits until it is known what is served: RabbitMQ 3.10 goes silent after it. */
  #restore(packetId: number, isUp: boolean): boolean {
    const message = new OutgoingMessage(NOTHING, 2, packetId, false, true)
    message.phase = this.#ownerRepeats ? 'restored' : 'released'
    this.#keep(message)
    this.#hasRestored ||= this.#ownerRepeats
    if (this.#ownerRepeats || !isUp) return false
    this.#unanswered++
    return true
  }

  #releaseRestored({ maximumQos }: UpstreamStream): void {
    this.#hasRestored = false
    for (const restored of [...this.#messages.values()]) {
      if (restored.phase !== 'restored') continue
      if (maximumQos < 2) this.#complete(restored, PacketType.PUBCOMP, 0)
      else {
        restored.phase = 'released'
        this.#unanswered++
        this.#owner.releases(restored.packetId)
      }
    }
  }

  /** Writes what the window allows. */
  write(now: Instant, stream: UpstreamStream, output: StreamOutput, window: number): void {
    if (this.#hasRestored && !stream.link.awaitsQos(stream)) this.#releaseRestored(stream)
    if (this.#awaitsOwner || (this.heldUntil !== undefined && now < this.heldUntil)) return
    this.heldUntil = undefined
    const isCareful = this.#oneByOne > 0 || this.#quotas > 0
    const most = isCareful ? 1 : Math.min(window, stream.version === 5 ? stream.receiveMaximum : WINDOW_OF_311)
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      if (next.qos > 0 && (this.#unanswered >= most || stream.link.subscriptions.has(next.packetId))) return
      if (next.qos === 2 && stream.link.awaitsQos(stream)) return
      this.#queue.shift()
      this.#left(next)
      this.#write(now, stream, output, next)
    }
  }

  /** A message has left the queue. With QoS 0 nothing else holds it. */
  #left({ givenQos, message }: OutgoingMessage): void {
    if (givenQos === 0) this.#bytes.sum -= messageBytes(message)
  }

  #write(now: Instant, stream: UpstreamStream, output: StreamOutput, message: OutgoingMessage): void {
    if (message.retain && !stream.retainAvailable) {
      message.retain = false
      this.#owner.limited('keeps no retained messages: they are passed on as others')
    }
    if (message.qos > stream.maximumQos) {
      message.qos = stream.maximumQos
      if (message.qos < stream.known.wantedQos) this.#owner.limited(`takes messages with QoS ${message.qos} at most`)
    }
    const { version, maxPacketSize, outgoingAliases } = stream
    if (!writeDelivery(output.slab, message, version, now, maxPacketSize, outgoingAliases)) {
      this.#giveUp(message, `above the largest packet that it takes, ${maxPacketSize} bytes`)
      return
    }
    output.delivered(message.message)
    this.#counts.sent++
    if (message.dup) this.#counts.resent++
    if (message.qos > 0) {
      message.sentAt = now
      message.phase = 'sent'
      if (this.#unanswered++ === 0) this.#unansweredSince = now
    } else if (message.givenQos > 0) this.#acknowledged(message)
  }

  /** An answer of the far side. Returns what is wrong with it, if anything; then it has no effect. */
  answered(now: Instant, { type, packetId, reasonCode }: PublishResponse): string | undefined {
    const message = this.#messages.get(packetId)
    const phase = message?.phase ?? 'waiting'
    if (message === undefined || NOT_IN_FLIGHT.has(phase)) return 'which is not in flight'
    if (type === PacketType.PUBCOMP) {
      if (phase !== 'released') return 'which is not released'
      this.#unanswered--
      this.#released(message)
      return undefined
    }
    // PUBREC again, after the owner of this link was restarted: PUBREL is on its way.
    if (phase !== 'sent') return undefined
    if (type === PacketType.PUBREC && message.qos < 2) return 'which has QoS 1'
    this.#counts.roundTripMs = now - message.sentAt
    this.#isSilent = false
    this.givenUpInARow = 0
    message.closes = 0
    if (this.#oneByOne > 0) this.#oneByOne--
    if (reasonCode < 0x80) this.#quotas = 0
    if (type === PacketType.PUBREC && reasonCode < 0x80) {
      message.phase = 'received'
      this.#forgetContent(message)
      this.#owner.answer(type, packetId, 0)
      return undefined
    }
    this.#unanswered--
    if (reasonCode >= 0x80) {
      this.#refused(now, message, reasonCode)
      return undefined
    }
    // RabbitMQ answers QoS 2 with PUBACK.
    if (message.qos === 2) this.#owner.limited('takes messages with QoS 1 at most')
    this.#acknowledged(message)
    return undefined
  }

  /** The far side has the message, with a QoS below 2. If its owner sends it with QoS 2, the exchange ends here. */
  #acknowledged(message: OutgoingMessage): void {
    const { packetId, givenQos } = message
    if (givenQos < 2) {
      this.#complete(message, PacketType.PUBACK, 0)
      return
    }
    message.qos = 1
    message.phase = 'received'
    this.#forgetContent(message)
    this.#owner.answer(PacketType.PUBREC, packetId, 0)
  }

  #refused(now: Instant, message: OutgoingMessage, reasonCode: number): void {
    if (message.isLeft) {
      this.#drop(message)
      return
    }
    const reason = `refused: ${reasonCodeName(reasonCode)}`
    const isQuota = reasonCode === ReasonCode.QUOTA_EXCEEDED
    if (FOR_GOOD.has(reasonCode) || (!isQuota && ++message.refusals >= REFUSALS_MAX)) {
      this.#giveUp(message, reason, true)
      return
    }
    this.#quotas++
    this.heldUntil = now + this.#owner.holds(this.#quotas, reason)
    message.phase = 'waiting'
    message.dup = false
    // Those before it in the queue were refused too.
    const queue = new SmallFifo<OutgoingMessage>()
    let isIn = false
    for (const each of this.#queue) {
      if (!isIn && (each.sentAt === Number.NEGATIVE_INFINITY || each.sentAt > message.sentAt)) {
        queue.push(message)
        isIn = true
      }
      queue.push(each)
    }
    if (!isIn) queue.push(message)
    this.#queue = queue
  }

  /** `isRefused`: the far side has said so. */
  #giveUp(message: OutgoingMessage, reason: string, isRefused = false): void {
    const { givenQos, qos, sentAt, dup, packetId } = message
    this.#owner.givenUp(message, reason)
    this.#quotas = 0
    if (givenQos === 0) return
    // The far side may have a receipt, and would take the next message with this packet id for this one: PUBREL goes first. An earlier
    // process may have sent it.
    const hasToRelease = qos === 2 && !isRefused && (dup || sentAt > Number.NEGATIVE_INFINITY)
    message.isGivenUp = !hasToRelease || !this.#owner.recordsGivenUp
    if (!hasToRelease) {
      this.#released(message)
      return
    }
    this.#forgetContent(message)
    this.#unanswered++
    message.phase = message.isGivenUp ? 'released' : 'received'
    if (message.isGivenUp) this.#owner.releases(packetId)
    else this.#owner.answer(PacketType.PUBREC, packetId, GIVEN_UP)
  }

  /** The far side has no receipt of it. */
  #released(message: OutgoingMessage): void {
    const { isGivenUp, givenQos } = message
    if (!isGivenUp) this.#complete(message, PacketType.PUBCOMP, 0)
    else this.#complete(message, givenQos === 1 ? PacketType.PUBACK : PacketType.PUBREC, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
  }

  #complete(message: OutgoingMessage, type: PublishResponse['type'], reasonCode: number): void {
    this.#drop(message)
    this.#owner.answer(type, message.packetId, reasonCode)
  }

  #drop(message: OutgoingMessage): void {
    this.#forgetContent(message)
    this.#bytes.sum -= COST.inflight
    this.#messages.delete(message.packetId)
    this.#messages = compacted(this.#messages)
  }

  #forgetContent(message: OutgoingMessage): void {
    this.#bytes.sum -= message.message.weight
    message.message = NOTHING
  }

  /**
   * A stream is up: what is not answered is sent again, without a session at the far side as new. Returns the packet ids of those
   * whose PUBREL is to be written at once.
   */
  resume(sessionPresent: boolean): number[] {
    const releases: number[] = []
    const unsent = this.#queue
    this.#queue = new SmallFifo()
    this.#unanswered = 0
    this.#isSilent = true
    for (const message of [...this.#messages.values()]) {
      const { packetId, phase, qos } = message
      if (phase === 'left' || (phase === 'sent' && message.isLeft)) {
        if (!sessionPresent) this.#drop(message)
        else if (phase === 'sent') this.#letGo(message)
      } else if (phase === 'sent') {
        message.dup = sessionPresent
        message.phase = 'waiting'
        this.#queue.push(message)
      } else if ((phase === 'released' || phase === 'restored') && !sessionPresent) {
        // Its receipt is lost with the session: sent again, it would come twice (MQTT-4.3.3-6).
        this.#released(message)
      } else if (phase === 'released') {
        releases.push(packetId)
        this.#unanswered++
      } else if (phase === 'received' && qos === 2) {
        if (sessionPresent) this.#unanswered++
        // The owner's PUBREL is answered here.
        else message.qos = 1
      }
    }
    for (const message of unsent) this.#queue.push(message)
    this.#awaitsOwner = this.#ownerRepeats && this.#queue.length > 0
    return releases
  }

  /** The stream is gone. Returns the number of QoS 0 messages that are lost with it. */
  lost(): number {
    return this.#queue.filter((message) => {
      this.#left(message)
      return message.givenQos > 0
    })
  }

  /** The far side could not be reached: it was away, and no message is to blame. */
  unreachable(): void {
    this.#oneByOne = 0
    for (const message of this.#messages.values()) message.closes = 0
  }

  /**
   * The far side has closed the stream. If it has answered nothing, then perhaps because of a message, which it would do again and
   * again: returns whether one is suspected, or was given up.
   */
  closedByFar(now: Instant): 'nothing' | 'suspected' | 'given up' {
    if (!this.#isSilent) return 'nothing'
    const sent = [...this.#messages.values()].filter(({ phase, sentAt }) => phase === 'sent' && now - sentAt <= CLOSES_WITHIN_MS)
    const [first] = sent
    if (first === undefined) return 'nothing'
    if (sent.length > 1) this.#oneByOne = sent.length
    else if (++first.closes === CLOSES_MAX) {
      if (this.#oneByOne > 0) this.#oneByOne--
      this.givenUpInARow++
      this.#giveUp(first, `it closed the connection ${CLOSES_MAX} times after it`)
      return 'given up'
    }
    return 'suspected'
  }

  /** Forgets everything: the owner starts over, with the same packet ids. */
  clear(): void {
    for (const message of this.#messages.values()) {
      this.#forgetContent(message)
      this.#bytes.sum -= COST.inflight
    }
    this.#messages = new SmallMap()
    for (const message of this.#queue) this.#left(message)
    this.#queue.clear()
    this.#unanswered = 0
    this.#oneByOne = 0
    this.#quotas = 0
    this.heldUntil = undefined
    this.#awaitsOwner = false
  }
}

export const responseOf = (type: PublishResponse['type'], packetId: number, reasonCode = 0): PublishResponse => ({
  type,
  packetId,
  reasonCode,
  properties: NO_PROPERTIES,
})
