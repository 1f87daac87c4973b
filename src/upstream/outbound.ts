import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import { writeDelivery } from '../mqtt/encode-delivery.ts'
import { type Delivery, OutgoingType } from '../mqtt/link.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { StreamOutput } from '../mqtt/stream-output.ts'
import type { UpstreamStream } from './upstream-stream.ts'

/** MQTT 3.1.1 has no Receive Maximum; Mosquitto closed the stream of a publisher with some 200 messages of QoS 2 in flight. */
export const WINDOW_OF_311 = 20

/** Codes of PUBACK and PUBREC by which the far side refuses a message for good: it is given up. */
const FOR_GOOD: ReadonlySet<number> = new Set([
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.TOPIC_NAME_INVALID,
  ReasonCode.PAYLOAD_FORMAT_INVALID,
])
/** Other refusals, except for a quota, after which a message is given up. */
const REFUSALS_MAX = 5

/** A message on its way to the far side. */
export class OutgoingMessage implements Delivery {
  readonly type = OutgoingType.DELIVERY
  /** Released with PUBREC: it must not be sent again. */
  message: Publish
  qos: QoS
  readonly packetId: number
  retain: boolean
  dup: boolean
  readonly subscriptionIdentifiers = undefined
  /** As its owner has it; the far side may take no more than a lower one. */
  readonly givenQos: QoS
  phase: 'waiting' | 'sent' | 'received' | 'released' = 'waiting'
  /** Times that the far side closed the stream while this message was the only one in question. */
  closes = 0
  refusals = 0
  sentAt: Instant = 0

  constructor(message: Publish, qos: QoS, packetId: number, retain: boolean, dup: boolean) {
    this.message = message
    this.qos = qos
    this.givenQos = qos
    this.packetId = packetId
    this.retain = retain
    this.dup = dup
  }
}

export interface OutboundOwner {
  /** For the owner of the link. */
  answer(type: PublishResponse['type'], packetId: number, reasonCode: number): void
  /** A message is given up: the far side will not have it. */
  givenUp(message: OutgoingMessage, reason: string): void
  /** Something that is said once. */
  limited(what: string): void
}

/**
 * What goes to the far side: messages in order, at most a window of them unanswered, and sent again over the next stream in the order
 * of the first time (MQTT-4.4.0-1, MQTT-4.6.0-1).
 */
export class Outbound {
  /** QoS 1 and 2, by packet id, until they are answered completely; in order of arrival. */
  readonly #messages = new Map<number, OutgoingMessage>()
  /** What is not written to the stream that is up. */
  readonly #queue = new Fifo<OutgoingMessage>()
  readonly #owner: OutboundOwner
  /** Messages that were written to this stream, or must be answered on it, and are not answered yet. */
  #unanswered = 0
  /** Bytes of their topics, payloads and properties. */
  bytes = 0

  constructor(owner: OutboundOwner) {
    this.#owner = owner
  }

  /** QoS 1 and 2 that are not answered completely. */
  get size(): number {
    return this.#messages.size
  }

  get queued(): number {
    return this.#queue.length
  }

  has(packetId: number): boolean {
    return this.#messages.has(packetId)
  }

  /** Takes over a message; false if it has it already. */
  add(message: OutgoingMessage): boolean {
    if (message.qos > 0) {
      if (this.#messages.has(message.packetId)) return false
      this.#messages.set(message.packetId, message)
      this.bytes += message.message.weight
    }
    this.#queue.push(message)
    return true
  }

  /** PUBREL of the owner. True if it is to be written; otherwise it has been dealt with. */
  release(packetId: number, isUp: boolean): boolean {
    const message = this.#messages.get(packetId)
    if (message === undefined) {
      // Of a message from before a restart of this process.
      const restored = new OutgoingMessage(NOTHING, 2, packetId, false, true)
      restored.phase = 'released'
      this.#messages.set(packetId, restored)
      if (isUp) this.#unanswered++
      return isUp
    }
    if (message.qos < 2) {
      // The far side has acknowledged it with a lower QoS.
      this.#messages.delete(packetId)
      this.#owner.answer(PacketType.PUBCOMP, packetId, 0)
      return false
    }
    if (message.phase !== 'received') return false
    message.phase = 'released'
    return isUp
  }

  /** Writes what the window allows. */
  write(now: Instant, stream: UpstreamStream, output: StreamOutput, window: number): void {
    const most = Math.min(window, stream.version === 5 ? stream.receiveMaximum : WINDOW_OF_311)
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      if (next.qos > 0 && this.#unanswered >= most) return
      this.#queue.shift()
      this.#write(now, stream, output, next)
    }
  }

  #write(now: Instant, stream: UpstreamStream, output: StreamOutput, message: OutgoingMessage): void {
    const { slab } = output
    if (!stream.retainAvailable && message.retain) {
      message.retain = false
      this.#owner.limited('it keeps no retained messages: they are passed on as ordinary ones')
    }
    if (message.qos > stream.maximumQos) {
      message.qos = stream.maximumQos
      this.#owner.limited(`it takes messages with QoS ${stream.maximumQos} at most`)
    }
    if (!writeDelivery(slab, message, stream.version, now, stream.maxPacketSize, stream.outgoingAliases)) {
      this.#giveUp(message, `it is above the Maximum Packet Size of ${stream.maxPacketSize}`)
      return
    }
    output.delivered(message.message)
    stream.counted.messagesSent++
    if (message.dup) stream.counted.retransmissions++
    message.sentAt = now
    if (message.qos > 0) {
      message.phase = 'sent'
      this.#unanswered++
    } else if (message.givenQos > 0) this.#done(message)
  }

  /** An answer from the far side; returns what is wrong with it, if anything. */
  answered({ type, packetId, reasonCode }: PublishResponse): string | undefined {
    const message = this.#messages.get(packetId)
    if (message === undefined || message.phase === 'waiting') return 'which is not in flight'
    if (type === PacketType.PUBCOMP) {
      if (message.phase !== 'released') return 'which is not released'
      this.#unanswered--
      this.#messages.delete(packetId)
      this.#owner.answer(type, packetId, 0)
      return undefined
    }
    // PUBREC after PUBREC: the answer to a repeated PUBLISH.
    if (message.phase !== 'sent') return undefined
    if (type === PacketType.PUBREC && message.qos < 2) return 'which has QoS 1'
    if (reasonCode >= 0x80) {
      this.#unanswered--
      this.#refused(message, reasonCode)
      return undefined
    }
    if (type === PacketType.PUBACK) {
      // RabbitMQ answers QoS 2 with PUBACK.
      if (message.qos === 2) this.#owner.limited('it takes messages with QoS 1 at most')
      this.#unanswered--
      this.#done(message)
      return undefined
    }
    message.phase = 'received'
    this.#forgetContent(message)
    this.#owner.answer(type, packetId, 0)
    return undefined
  }

  /** The far side has the message, with a QoS below 2: for the owner that sends QoS 2 the exchange goes on here. */
  #done(message: OutgoingMessage): void {
    const { packetId, givenQos } = message
    if (givenQos === 2) {
      message.qos = 1
      message.phase = 'received'
      this.#forgetContent(message)
      this.#owner.answer(PacketType.PUBREC, packetId, 0)
      return
    }
    this.#forgetContent(message)
    this.#messages.delete(packetId)
    this.#owner.answer(PacketType.PUBACK, packetId, 0)
  }

  #refused(message: OutgoingMessage, reasonCode: number): void {
    const said = `refused with reason code 0x${reasonCode.toString(16)}`
    if (FOR_GOOD.has(reasonCode) || (reasonCode !== ReasonCode.QUOTA_EXCEEDED && ++message.refusals >= REFUSALS_MAX)) {
      this.#giveUp(message, said)
      return
    }
    message.phase = 'waiting'
    message.dup = false
    this.#again(message)
  }

  #again(message: OutgoingMessage): void {
    const rest = [...this.#queue]
    this.#queue.clear()
    this.#queue.push(message)
    for (const each of rest) this.#queue.push(each)
  }

  #giveUp(message: OutgoingMessage, reason: string): void {
    const { packetId, givenQos } = message
    this.#owner.givenUp(message, reason)
    if (givenQos === 0) return
    this.#forgetContent(message)
    this.#messages.delete(packetId)
    const type = givenQos === 1 ? PacketType.PUBACK : PacketType.PUBREC
    this.#owner.answer(type, packetId, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)
  }

  #forgetContent(message: OutgoingMessage): void {
    this.bytes -= message.message.weight
    message.message = NOTHING
  }

  /**
   * A stream is up. What is not answered is sent again; without a session at the far side as new. Yields the packet ids of PUBREL to
   * write at once.
   */
  resume(sessionPresent: boolean): number[] {
    const releases: number[] = []
    const unsent = [...this.#queue].filter(({ qos, phase }) => qos === 0 || phase === 'waiting')
    this.#queue.clear()
    this.#unanswered = 0
    for (const message of [...this.#messages.values()]) {
      const { packetId, phase } = message
      if (phase === 'sent') {
        message.dup = sessionPresent
        message.phase = 'waiting'
        this.#queue.push(message)
      } else if (phase === 'released') {
        if (sessionPresent) {
          releases.push(packetId)
          this.#unanswered++
        } else {
          // The far side has lost its receipt of this message with the session: it must not be sent again (MQTT-4.3.3-6).
          this.#messages.delete(packetId)
          this.#owner.answer(PacketType.PUBCOMP, packetId, 0)
        }
      } else if (phase === 'received' && message.qos === 2) {
        if (sessionPresent) this.#unanswered++
        // The owner's PUBREL is answered here.
        else message.qos = 1
      }
    }
    for (const message of unsent) this.#queue.push(message)
    return releases
  }

  /** The stream is gone. Returns the number of QoS 0 messages that were lost with it. */
  lost(): number {
    return this.#queue.filter(({ givenQos }) => givenQos > 0)
  }
}

export const responseOf = (type: PublishResponse['type'], packetId: number, reasonCode = 0): PublishResponse => ({
  type,
  packetId,
  reasonCode,
  properties: NO_PROPERTIES,
})

/** In place of content that is not needed any more. */
const NOTHING = Publish.of('', new Uint8Array(0))
