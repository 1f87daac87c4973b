import { COST } from '../base/memory-costs.ts'
import { SmallFifo } from '../base/small-fifo.ts'
import { compacted, SmallMap } from '../base/small-map.ts'
import { type Delivery, OutgoingType, type Waiting } from '../mqtt/link.ts'
import { PacketType, type PublishResponse } from '../mqtt/packets.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import type { ByteCount } from '../mqtt/topic-names.ts'
import { messageBytes } from './message-bytes.ts'
import { responseOf } from './outbound.ts'

/** Messages, and bytes of them, that wait for the owner of the link; beyond, the socket is not read. */
const WAITING_MAX = 1000
const WAITING_BYTES = 1024 * 1024

class Polled implements Delivery {
  readonly type = OutgoingType.DELIVERY
  message!: Publish
  qos: QoS = 0
  packetId = 0
  retain = false
  dup = false
  readonly subscriptionIdentifiers = undefined
}

/** The message that was polled last: one for all links. */
const polled = new Polled()

/** What has come from the far side under one packet id, and is not completed. */
interface Exchange {
  /** 'held': the owner has the message. 'received': it has said PUBREC, and PUBREL is awaited. 'released': it has that. */
  phase: 'held' | 'received' | 'released'
  qos: QoS
  /** The stream on which it came last. */
  stream: number
  /** The owner's answer, which no stream has carried. */
  answer: PublishResponse | undefined
  /** What the owner has, or will get: the far side may mean another by the packet id. Undefined if it is from before a restart. */
  message: Publish | undefined
  /** Bytes counted for the message here: 0 while it is in the queue, and 0 for bridges, which count it in `Deliveries`. */
  bytes: number
  /** Its topic, under which the owner may not keep it. */
  readonly topic: string
  /** The far side does not know it under this packet id any more: the owner completes it, and nobody is told. */
  isLost: boolean
}

const exchangeOf = (phase: Exchange['phase'], qos: QoS, stream: number, message?: Publish): Exchange => ({
  phase,
  qos,
  stream,
  answer: undefined,
  message,
  bytes: 0,
  topic: message?.topic ?? '',
  isLost: false,
})

/** In place of an empty array for each link, 32 bytes. */
const NONE: Publish[] = []

/** What is held for an owner that sleeps. */
export interface HeldLimits {
  /** Messages with QoS 0, and bytes of them; beyond, the oldest are dropped. */
  readonly heldMessages: number
  readonly heldBytes: number
}

/**
 * What comes from the far side: messages that wait for the owner of the link, and which packet ids it has. One that comes again
 * while the owner has it is not handed out a second time; the answer goes out on the stream that is up.
 */
export class Inbound {
  readonly #waiting = new SmallFifo<Publish | PublishResponse>()
  /** PUBRELs of the far side: they wait for no message, or an owner whose window is full would never have room again. */
  readonly #releases = new SmallFifo<PublishResponse>()
  #exchanges = new SmallMap<number, Exchange>()
  /** Answers of the owner that belong to a session which the far side has lost, by packet id. */
  #stale: Map<number, number> | undefined = undefined
  /** Messages of this turn, which refer to the buffer of the socket. */
  #fresh: Publish[] = NONE
  /** Bytes of the messages that wait. */
  #bytes = 0
  readonly #sum: ByteCount
  /** Counts streams. */
  #stream = 0
  /** A message with QoS 1 that has come again over the stream that is up is handed out once more: its answer was lost. */
  #isRepeating = false
  /** A message without DUP has been received on this stream. */
  #isPastBacklog = false
  readonly #held: HeldLimits | undefined
  /** Messages with QoS 0 that wait, and bytes of them. */
  readonly #unsaved = { count: 0, bytes: 0 }
  #dropped = 0
  /**
   * Messages with QoS 1 and 2, by packet id, in order: the owner has still to complete another message under the packet id of the
   * first. Those behind it wait too, or a retained message would come after its deletion. QoS 0 does not: MQTT orders messages of one
   * QoS, and it would not come again over the next stream.
   */
  readonly #behind = new Map<number, Publish>()
  /** Whether a message under the packet id of a receipt from before a restart may be a copy of that message. */
  #isCopy: (message: Publish) => boolean = () => true

  /** `sum`: what is held counts here too. `held`: the owner may sleep, and completes what the far side has lost. */
  constructor(sum: ByteCount, held?: HeldLimits) {
    this.#sum = sum
    this.#held = held
  }

  /** Messages with QoS 0 that were dropped since this was asked last. */
  takeDropped(): number {
    const dropped = this.#dropped
    this.#dropped = 0
    return dropped
  }

  get waiting(): number {
    return this.#messages + this.#releases.length
  }

  get #messages(): number {
    return this.#waiting.length + this.#behind.size
  }

  /** Unanswered messages of QoS 1 and 2: what Receive Maximum limits. */
  get unanswered(): number {
    return this.#exchanges.size + this.#behind.size
  }

  /** What the owner has not got, or has not answered to the end; bytes of topics, payloads and properties. */
  get held(): Waiting {
    let { bytes } = this.#unsaved
    for (const { message } of this.#exchanges.values()) bytes += message?.weight ?? 0
    for (const { weight } of this.#behind.values()) bytes += weight
    return { messages: this.#unsaved.count + this.unanswered, bytes }
  }

  get isFull(): boolean {
    return this.#messages >= WAITING_MAX || this.#bytes >= WAITING_BYTES
  }

  get isDrained(): boolean {
    return this.#messages <= WAITING_MAX / 2 && this.#bytes <= WAITING_BYTES / 2
  }

  /** The next one for the owner. A `Delivery` is valid until the next call. While the owner does not listen, only a PUBREL. */
  poll(isListening: boolean): Delivery | PublishResponse | undefined {
    const release = this.#releases.shift()
    if (release !== undefined || !isListening) return release
    const next = this.#waiting.shift()
    if (next?.type !== PacketType.PUBLISH) return next
    this.#taken(next)
    polled.message = next
    polled.qos = next.qos
    polled.packetId = next.packetId
    polled.retain = next.retain
    polled.dup = next.dup
    return polled
  }

  /** A message has left the queue: its owner has it, or it is dropped. */
  #taken(message: Publish): void {
    const { qos, packetId, weight } = message
    this.#waits(message, -1)
    if (qos > 0) {
      const exchange = this.#held === undefined ? undefined : this.#exchanges.get(packetId)
      if (exchange?.message === message) this.#keeps(exchange, messageBytes(message))
      return
    }
    this.#unsaved.count--
    this.#unsaved.bytes -= weight
  }

  /** A message enters (1) or leaves (-1) the queue. */
  #waits(message: Publish, sign: 1 | -1): void {
    this.#bytes += sign * message.weight
    this.#sum.sum += sign * messageBytes(message)
  }

  #keeps(exchange: Exchange, bytes: number): void {
    this.#sum.sum += bytes - exchange.bytes
    exchange.bytes = bytes
  }

  #set(packetId: number, exchange: Exchange): void {
    const before = this.#exchanges.get(packetId)
    this.#sum.sum += before === undefined ? COST.receipt : -before.bytes
    this.#exchanges.set(packetId, exchange)
  }

  #delete(packetId: number): void {
    const exchange = this.#exchanges.get(packetId)
    if (exchange === undefined) return
    this.#exchanges.delete(packetId)
    this.#sum.sum -= COST.receipt + exchange.bytes
    this.#exchanges = compacted(this.#exchanges)
  }

  /** A PUBLISH from the far side; returns the answer, if it is known already. */
  message(message: Publish): PublishResponse | undefined {
    const { qos, packetId } = message
    if (qos > 0) {
      if (!message.dup && !this.#isPastBacklog) this.#passBacklog()
      const known = this.#exchanges.get(packetId)
      if (known?.phase === 'held' && (!this.#isAgain(known, message) || this.#isOvertaken(known, message)))
        this.#lost(packetId, known)
      if (known?.phase === 'received' && !known.isLost) {
        if (this.#isForgotten(known, message)) this.#lost(packetId, known)
        else if (qos === 2 && this.#held !== undefined) {
          // The far side has not heard the PUBREC. A sensor whose window is full would not take the message a second time.
          known.stream = this.#stream
          return responseOf(PacketType.PUBREC, packetId)
        }
      }
      if (known?.phase === 'held' && !known.isLost && known.qos === qos) return this.#answerOf(packetId, known)
      if (qos === 1 && message.dup) this.#isRepeating = true
      if (this.#behind.size > 0 || this.#isLost(packetId)) {
        this.#waitBehind(message)
        return undefined
      }
      this.#set(packetId, exchangeOf('held', qos, this.#stream, message))
    }
    this.#waiting.push(message)
    if (this.#fresh.length === 0) this.#fresh = [message]
    else this.#fresh.push(message)
    this.#waits(message, 1)
    if (qos === 0) this.#holds(message.weight)
    return undefined
  }

  /**
   * The far side resends unacknowledged messages before new ones (MQTT-4.4.0-1, MQTT-4.6.0-1). It does not expect the PUBACKs that are
   * left over here: after a restart it has assigned other packet ids. Without this they would be kept until those ids are used again.
   */
  #passBacklog(): void {
    this.#isPastBacklog = true
    for (const [packetId, { qos, answer, stream }] of [...this.#exchanges])
      if (qos === 1 && answer !== undefined && stream !== this.#stream) this.#delete(packetId)
  }

  /**
   * The far side does not know an exchange any more that it has not released: it uses the packet id for another message, or for QoS 1
   * over another stream (MQTT-2.2.1-3), as Mosquitto does after a crash. The receipt would swallow a message.
   */
  #isForgotten(known: Exchange, message: Publish): boolean {
    return message.qos === 1 ? known.stream !== this.#stream : !this.#isAgain(known, message)
  }

  /** What was before it is handed out once more, and would be the last in the end; with QoS 1 it may come again itself. */
  #isOvertaken({ stream }: Exchange, { qos }: Publish): boolean {
    return qos === 1 && this.#isRepeating && stream !== this.#stream
  }

  /** The owner has a message under this packet id that the far side does not mean any more. */
  #isLost(packetId: number): boolean {
    return this.#exchanges.get(packetId)?.isLost === true
  }

  #waitBehind(message: Publish): void {
    // NATS repeats over one stream what is not acknowledged.
    if (this.#behind.has(message.packetId)) return
    message.own()
    this.#behind.set(message.packetId, message)
    this.#waits(message, 1)
  }

  /** What waits for a packet id that is free by now comes to its turn, with what is behind it. */
  deliverBehind(): void {
    for (const [packetId, message] of this.#behind) {
      if (this.#isLost(packetId)) return
      this.#behind.delete(packetId)
      this.#set(packetId, exchangeOf('held', message.qos, this.#stream, message))
      this.#waiting.push(message)
    }
  }

  #forgetBehind(): void {
    for (const message of this.#behind.values()) this.#waits(message, -1)
    this.#behind.clear()
  }

  /**
   * Whether a message is the one that is held under its packet id. NATS counts packet ids anew on each stream, also where the session
   * goes on: then another message comes under the id of one that is not acknowledged. And over one stream it repeats a message whose
   * PUBACK is on its way, after which the id is free there, while the owner has the copy. With QoS 2 a packet id that is not released
   * means the same message whatever DUP says (MQTT-4.3.3-10): Mosquitto after a crash does not know that it has sent it.
   */
  #isAgain({ message: held, topic }: Exchange, message: Publish): boolean {
    if (held === undefined) return this.#isCopy(message)
    const isRepeated = message.dup || message.qos === 2
    const isLike = isRepeated && topic === message.topic && held.payloadLength === message.payloadLength
    if (!isLike || !held.owned) return isLike
    const { payload } = message
    return held.payload.every((byte, i) => byte === payload[i])
  }

  #holds(bytes: number): void {
    const unsaved = this.#unsaved
    unsaved.count++
    unsaved.bytes += bytes
    const held = this.#held
    if (held === undefined || (unsaved.count <= held.heldMessages && unsaved.bytes <= held.heldBytes)) return
    this.#waiting.filter((each) => {
      const isOver = unsaved.count > held.heldMessages || unsaved.bytes > held.heldBytes
      if (!isOver || each.type !== PacketType.PUBLISH || each.qos > 0) return true
      this.#taken(each)
      this.#dropped++
      return false
    })
  }

  /** A PUBREL from the far side. */
  release(packetId: number): PublishResponse | undefined {
    const known = this.#exchanges.get(packetId)
    if (known?.phase === 'released') return this.#answerOf(packetId, known)
    this.#set(packetId, exchangeOf('released', 2, this.#stream))
    this.#releases.push(responseOf(PacketType.PUBREL, packetId))
    return undefined
  }

  #answerOf(packetId: number, exchange: Exchange): PublishResponse | undefined {
    const { answer } = exchange
    exchange.answer = undefined
    exchange.stream = this.#stream
    if (answer !== undefined) this.#answered(packetId, exchange, answer)
    return answer
  }

  /**
   * An answer of the owner. True if it is to be written now. One for a message that came over an earlier stream waits until the far
   * side sends it again over this one: the far side may have sent it already, and would take a second answer for that of the next
   * message with the same packet id.
   */
  answer(answer: PublishResponse, isUp: boolean): boolean {
    const { packetId } = answer
    const stale = this.#stale?.get(packetId)
    if (stale !== undefined) {
      if (stale === 1) this.#stale!.delete(packetId)
      else this.#stale!.set(packetId, stale - 1)
      return false
    }
    const exchange = this.#exchanges.get(packetId)
    if (exchange === undefined) return isUp
    if (exchange.isLost) {
      this.#completeLost(packetId, exchange, answer)
      return false
    }
    if (isUp && exchange.stream === this.#stream) {
      this.#answered(packetId, exchange, answer)
      return true
    }
    if (isUp && exchange.qos === 1 && this.#isPastBacklog) this.#delete(packetId)
    else exchange.answer = answer
    return false
  }

  #answered(packetId: number, exchange: Exchange, { type, reasonCode }: PublishResponse): void {
    if (type === PacketType.PUBREC && reasonCode < 0x80) {
      exchange.phase = 'received'
      if (exchange.message !== undefined) this.#keeps(exchange, messageBytes(exchange.message))
    } else this.#delete(packetId)
  }

  /** The receipts of QoS 2 that the owner has from before a restart of this process. */
  restore(packetIds: Iterable<number>, isCopy: (message: Publish) => boolean): void {
    this.#isCopy = isCopy
    for (const packetId of packetIds) this.#set(packetId, exchangeOf('received', 2, 0))
  }

  /** A stream is up. What the owner has not got comes again over it, or is gone with the session. */
  resume(sessionPresent: boolean): void {
    this.#stream++
    this.#isRepeating = false
    this.#isPastBacklog = false
    this.#forgetBehind()
    if (!sessionPresent && this.#held !== undefined) this.#lose()
    else if (!sessionPresent) this.#sessionLost()
  }

  /** The far side has lost the session, but the owner gets what is here. New messages with the same packet ids wait for that. */
  #lose(): void {
    for (const [packetId, exchange] of [...this.#exchanges]) this.#lost(packetId, exchange)
  }

  #lost(packetId: number, exchange: Exchange): void {
    const { answer, phase } = exchange
    exchange.isLost = true
    exchange.answer = undefined
    if (answer !== undefined) this.#completeLost(packetId, exchange, answer)
    else if (phase === 'received') this.#releaseLost(packetId, exchange)
  }

  #completeLost(packetId: number, exchange: Exchange, { type, reasonCode }: PublishResponse): void {
    if (type === PacketType.PUBREC && reasonCode < 0x80) this.#releaseLost(packetId, exchange)
    else {
      this.#delete(packetId)
      this.deliverBehind()
    }
  }

  #releaseLost(packetId: number, exchange: Exchange): void {
    exchange.phase = 'released'
    exchange.message = undefined
    this.#keeps(exchange, 0)
    this.#releases.push(responseOf(PacketType.PUBREL, packetId))
  }

  /**
   * The far side has lost the session. What the owner has is not acknowledged any more, and its receipts are released, because new
   * messages will have the same packet ids.
   */
  #sessionLost(): void {
    for (const [packetId, { phase, qos, answer }] of this.#exchanges) {
      let answers = phase === 'held' && answer === undefined ? 1 : 0
      if (qos === 2 && phase !== 'released') {
        this.#waiting.push(responseOf(PacketType.PUBREL, packetId))
        answers++
      } else if (phase === 'released' && answer === undefined) answers = 1
      if (answers === 0) continue
      this.#stale ??= new Map()
      this.#stale.set(packetId, (this.#stale.get(packetId) ?? 0) + answers)
    }
    this.#clearExchanges()
  }

  #clearExchanges(): void {
    for (const { bytes } of this.#exchanges.values()) this.#sum.sum -= COST.receipt + bytes
    this.#exchanges = new SmallMap()
  }

  /** The owner cannot take this message now, and does not answer it: it is handed out when the far side sends it again. */
  decline(packetId: number): void {
    this.#delete(packetId)
  }

  /** What the owner has not got is forgotten, and comes again over another stream; QoS 0, which would not, stays. */
  forgetWaiting(): void {
    this.#forgetBehind()
    this.#waiting.filter((each) => {
      if (each.type !== PacketType.PUBLISH || each.qos === 0) return true
      this.#waits(each, -1)
      this.#delete(each.packetId)
      return false
    })
  }

  /**
   * The owner begins a conversation. What the far side has not sent over the stream that is up is forgotten: another client may have
   * completed it in the same session, and what is still owed comes again. `deliverBehind` when the owner has forgotten it too: a new
   * message may have the packet id.
   */
  forgetEarlier(isUp: boolean): void {
    if (!isUp) this.#forgetBehind()
    for (const [packetId, { stream }] of this.#exchanges) if (!isUp || stream !== this.#stream) this.#delete(packetId)
    this.#releases.filter(({ packetId }) => this.#exchanges.has(packetId))
    this.#waiting.filter((each) => {
      const isOwed = this.#exchanges.has(each.packetId) || (each.type === PacketType.PUBLISH && each.qos === 0)
      if (!isOwed && each.type === PacketType.PUBLISH) this.#waits(each, -1)
      return isOwed
    })
  }

  /** Whether the owner has something under this packet id that the far side knows of. */
  knows(packetId: number): boolean {
    return this.#exchanges.has(packetId)
  }

  /**
   * What the far side had to say again over this stream is through. A message with QoS 2 that the owner has received and that has
   * not come again was completed by another client in the same session; the owner would wait for its PUBREL for ever.
   */
  endBacklog(): void {
    for (const [packetId, exchange] of [...this.#exchanges])
      if (exchange.answer?.type === PacketType.PUBREC && exchange.stream !== this.#stream) this.#lost(packetId, exchange)
  }

  /** Forgets everything: the owner begins anew. */
  clear(): void {
    this.#unsaved.count = 0
    this.#unsaved.bytes = 0
    this.#forgetBehind()
    this.#clearExchanges()
    this.#stale = undefined
    for (const each of this.#waiting) if (each.type === PacketType.PUBLISH) this.#waits(each, -1)
    this.#waiting.clear()
    this.#releases.clear()
    this.#fresh = NONE
  }

  /**
   * The turn is over: what still waits is copied out of the buffer of the socket, and what may have to be told from another message
   * with its packet id.
   */
  endTurn(): void {
    const isWaiting = this.#waiting.length > 0
    for (const message of this.#fresh) if (isWaiting || message.qos === 2) message.own()
    this.#fresh = NONE
  }
}
