import { Fifo } from '../base/fifo.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import type { Publish } from '../mqtt/publish.ts'
import { responseOf } from './outbound.ts'

/** Messages, and bytes of them, that wait for the owner of the link; beyond, the socket is not read. */
const WAITING_MAX = 1000
const WAITING_BYTES = 1024 * 1024

/** What the owner of the link gets: a message, or a response of the far side. */
export type Incoming = Publish | PublishResponse

/** What has come from the far side under one packet id, and is not completed. */
interface Exchange {
  /** 'held': it has the message or the PUBREL and has not answered; 'received': it has said PUBREC, and PUBREL is awaited. */
  phase: 'held' | 'received' | 'released'
  qos: number
  /** The owner's answer, which no stream has carried. */
  answer: PublishResponse | undefined
}

/**
 * What comes from the far side: messages that wait for the owner of the link, and which packet ids it has. One that comes again
 * while the owner has it is not handed out a second time; the answer goes out on the stream that is up.
 */
export class Inbound {
  readonly #waiting = new Fifo<Incoming>()
  readonly #exchanges = new Map<number, Exchange>()
  /** Answers of the owner that belong to a session which the far side has lost, by packet id. */
  readonly #stale = new Map<number, number>()
  /** Messages of this turn, which refer to the buffer of the socket. */
  #fresh: Publish[] = []
  /** Bytes of the messages that wait. */
  bytes = 0

  get waiting(): number {
    return this.#waiting.length
  }

  /** Unanswered messages of QoS 1 and 2: what Receive Maximum limits. */
  get unanswered(): number {
    return this.#exchanges.size
  }

  get isFull(): boolean {
    return this.#waiting.length >= WAITING_MAX || this.bytes >= WAITING_BYTES
  }

  get isDrained(): boolean {
    return this.#waiting.length <= WAITING_MAX / 2 && this.bytes <= WAITING_BYTES / 2
  }

  take(): Incoming | undefined {
    const next = this.#waiting.shift()
    if (next?.type === PacketType.PUBLISH) this.bytes -= next.weight
    return next
  }

  /** A PUBLISH from the far side; returns the answer, if it is known already. */
  message(message: Publish): PublishResponse | undefined {
    const { qos, packetId } = message
    if (qos > 0) {
      const known = this.#exchanges.get(packetId)
      if (known?.phase === 'held' && known.qos === qos) return this.#answerOf(packetId, known)
      this.#exchanges.set(packetId, { phase: 'held', qos, answer: undefined })
    }
    this.#waiting.push(message)
    this.#fresh.push(message)
    this.bytes += message.weight
    return undefined
  }

  /** A PUBREL from the far side. */
  release(packetId: number): PublishResponse | undefined {
    const known = this.#exchanges.get(packetId)
    if (known?.phase === 'released') return this.#answerOf(packetId, known)
    this.#exchanges.set(packetId, { phase: 'released', qos: 2, answer: undefined })
    this.#waiting.push(responseOf(PacketType.PUBREL, packetId))
    return undefined
  }

  #answerOf(packetId: number, exchange: Exchange): PublishResponse | undefined {
    const { answer } = exchange
    exchange.answer = undefined
    if (answer !== undefined) this.#answered(packetId, exchange, answer)
    return answer
  }

  /** An answer of the owner. True if it is to be written now. */
  answer(answer: PublishResponse, isUp: boolean): boolean {
    const { packetId } = answer
    const stale = this.#stale.get(packetId)
    if (stale !== undefined) {
      if (stale === 1) this.#stale.delete(packetId)
      else this.#stale.set(packetId, stale - 1)
      return false
    }
    const exchange = this.#exchanges.get(packetId)
    if (exchange === undefined) return isUp
    if (isUp) this.#answered(packetId, exchange, answer)
    else exchange.answer = answer
    return isUp
  }

  #answered(packetId: number, exchange: Exchange, { type, reasonCode }: PublishResponse): void {
    if (type === PacketType.PUBREC && reasonCode < 0x80) exchange.phase = 'received'
    else this.#exchanges.delete(packetId)
  }

  /** The receipts of QoS 2 that the owner has from before a restart of this process. */
  restore(packetIds: Iterable<number>): void {
    for (const packetId of packetIds) this.#exchanges.set(packetId, { phase: 'received', qos: 2, answer: undefined })
  }

  /**
   * The far side has lost the session. What the owner has is not acknowledged any more, and its receipts are released, because new
   * messages will have the same packet ids.
   */
  sessionLost(): void {
    for (const [packetId, { phase, qos, answer }] of this.#exchanges) {
      let answers = phase === 'held' && answer === undefined ? 1 : 0
      if (qos === 2 && phase !== 'released') {
        this.#waiting.push(responseOf(PacketType.PUBREL, packetId))
        answers++
      } else if (phase === 'released' && answer === undefined) answers = 1
      if (answers > 0) this.#stale.set(packetId, (this.#stale.get(packetId) ?? 0) + answers)
    }
    this.#exchanges.clear()
  }

  /** The turn is over: what still waits is copied out of the buffer of the socket. */
  endTurn(): void {
    if (this.#waiting.length > 0) for (const message of this.#fresh) message.own()
    if (this.#fresh.length > 0) this.#fresh = []
  }
}
