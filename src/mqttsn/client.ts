import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import { decodeMessage, isMalformed } from './decode.ts'
import { encodedMessage } from './encode.ts'
import { type Message, MsgType, ReturnCode, type SnPublish, type SnQoS, type TopicIdType, type WillQoS } from './messages.ts'

export interface SnWill {
  readonly topic: string
  readonly message: Uint8Array
  readonly qos: WillQoS
  readonly retain: boolean
}

export interface SnClientOptions {
  readonly clientId: string
  /** Keep alive in seconds. */
  readonly keepAliveSeconds?: number
  readonly cleanSession?: boolean
  readonly will?: SnWill
  readonly tRetryMs?: number
  readonly nRetry?: number
}

/** A topic as a client may refer to it. A name is registered before a message is published to it. */
export type TopicRef = string | { readonly topicIdType: 'predefined' | 'short'; readonly topicId: number }

export type SnClientState = 'disconnected' | 'connecting' | 'active' | 'asleep' | 'awake' | 'disconnecting'

export type SnEvent =
  | { readonly event: 'connected' }
  | { readonly event: 'refused'; readonly returnCode: number }
  | { readonly event: 'registered'; readonly topicName: string; readonly topicId: number }
  | { readonly event: 'registerRefused'; readonly topicName: string; readonly returnCode: number }
  /** A QoS 1 or 2 message is fully acknowledged, or was refused with this return code. */
  | { readonly event: 'published'; readonly msgId: number; readonly returnCode: number }
  /** A QoS 0 message was refused. A QoS 0 message that is accepted has no answer. */
  | { readonly event: 'rejected'; readonly topicId: number; readonly returnCode: number }
  | { readonly event: 'subscribed'; readonly topicId: number; readonly returnCode: number }
  | { readonly event: 'unsubscribed' }
  | { readonly event: 'message'; readonly topic: string | undefined; readonly message: SnPublish }
  | { readonly event: 'asleep' }
  /** PINGRESP has ended the awake period. */
  | { readonly event: 'wakeEnded' }
  | { readonly event: 'pong' }
  | { readonly event: 'willUpdated'; readonly returnCode: number }
  /** By the gateway, or in answer to our own DISCONNECT. */
  | { readonly event: 'disconnected' }
  /** N_retry is used up: the connection is considered broken [1.2 section 6.13]. */
  | { readonly event: 'timedOut'; readonly awaiting: string }

export type SnClientOutput = { readonly kind: 'datagram'; readonly bytes: Uint8Array } | ({ readonly kind: 'event' } & SnEvent)

/** A request and the replies that complete it. */
interface Request {
  readonly message: Message
  /** Types of the replies that continue or complete it. */
  readonly awaits: readonly number[]
  readonly msgId: number
  /** Topic name of a REGISTER, SUBSCRIBE or PUBLISH. */
  readonly topicName?: string
}

/** Maximum number of requests that wait for the open one. */
const QUEUE_MAX = 100
/**
 * Number of finished QoS 2 message ids that are remembered, so that a delayed copy of a PUBLISH is not taken for a new
 * message.
 */
const FINISHED_MAX = 256
/** Prefix of a shared subscription. Its messages, and the topic id in its SUBACK, have the topic without it. */
const SHARED = /^\$share\/[^/]+\//

/**
 * An MQTT-SN 1.2 client without a socket, for tests, the simulator and the command line. One request is open at a time
 * and retransmitted after T_retry; others wait. Anything that does not fit the state is ignored and counted in `ignored`.
 */
export class SnClient {
  readonly clientId: string
  state: SnClientState = 'disconnected'
  ignored = 0
  /** Requests sent again because no answer came within T_retry. */
  retransmissions = 0
  readonly #options: Required<Omit<SnClientOptions, 'will'>>
  #will: SnWill | undefined
  readonly #outputs = new Fifo<SnClientOutput>()
  readonly #queue = new Fifo<Request>()
  #open: Request | undefined = undefined
  #retries = 0
  #retryAt: Instant | undefined = undefined
  #pingAt: Instant | undefined = undefined
  #lastMsgId = 0
  readonly #idByName = new Map<string, number>()
  readonly #nameById = new Map<number, string>()
  /** QoS 2 messages from the gateway that wait for PUBREL. */
  readonly #received = new Set<number>()
  #finished: number[] = []

  constructor(options: SnClientOptions) {
    this.#options = { keepAliveSeconds: 60, cleanSession: true, tRetryMs: 10_000, nRetry: 3, ...options }
    this.clientId = options.clientId
    this.#will = options.will
  }

  /** True if no request is open or waiting. */
  get idle(): boolean {
    return this.#open === undefined && this.#queue.length === 0
  }

  topicId(topicName: string): number | undefined {
    return this.#idByName.get(topicName)
  }

  // --- Commands

  connect(now: Instant): void {
    const { clientId, keepAliveSeconds: duration, cleanSession } = this.#options
    if (cleanSession) {
      this.#forgetTopics()
      this.#received.clear()
      this.#finished = []
    }
    this.#drop()
    this.state = 'connecting'
    const message: Message = {
      type: MsgType.CONNECT,
      will: this.#will !== undefined,
      cleanSession,
      protocolId: 1,
      duration,
      clientId,
    }
    this.#request(now, { message, awaits: [MsgType.CONNACK], msgId: 0 })
  }

  register(now: Instant, topicName: string): void {
    const msgId = this.#nextMsgId()
    this.#request(now, {
      message: { type: MsgType.REGISTER, topicId: 0, msgId, topicName },
      awaits: [MsgType.REGACK],
      msgId,
      topicName,
    })
  }

  /** Returns the message id: 0 for QoS 0 and -1. */
  publish(now: Instant, topic: TopicRef, data: Uint8Array, qos: SnQoS = 0, retain = false): number {
    const msgId = qos > 0 ? this.#nextMsgId() : 0
    const named = typeof topic === 'string'
    if (named && !this.#idByName.has(topic)) this.register(now, topic)
    // The topic id of a name is filled in when the message is sent.
    const { topicIdType, topicId } = named ? { topicIdType: 'normal' as TopicIdType, topicId: 0 } : topic
    const message: Message = { type: MsgType.PUBLISH, dup: false, qos, retain, topicIdType, topicId, msgId, data }
    const awaits = qos <= 0 ? [] : qos === 1 ? [MsgType.PUBACK] : [MsgType.PUBREC, MsgType.PUBACK]
    this.#request(now, { message, awaits, msgId, ...(named && { topicName: topic }) })
    return msgId
  }

  subscribe(now: Instant, topic: TopicRef, qos: 0 | 1 | 2 = 0): void {
    const msgId = this.#nextMsgId()
    const named = typeof topic === 'string'
    const about = named ? { topicIdType: 'normal' as TopicIdType, topicName: topic, topicId: 0 } : { ...topic, topicName: '' }
    const message: Message = { type: MsgType.SUBSCRIBE, dup: false, qos, msgId, ...about }
    this.#request(now, { message, awaits: [MsgType.SUBACK], msgId, ...(named && { topicName: topic.replace(SHARED, '') }) })
  }

  unsubscribe(now: Instant, topic: TopicRef): void {
    const msgId = this.#nextMsgId()
    const about =
      typeof topic === 'string'
        ? { topicIdType: 'normal' as TopicIdType, topicName: topic, topicId: 0 }
        : { ...topic, topicName: '' }
    this.#request(now, {
      message: { type: MsgType.UNSUBSCRIBE, dup: false, qos: 0, msgId, ...about },
      awaits: [MsgType.UNSUBACK],
      msgId,
    })
  }

  ping(now: Instant): void {
    this.#request(now, { message: { type: MsgType.PINGREQ, clientId: undefined }, awaits: [MsgType.PINGRESP], msgId: 0 })
  }

  /** DISCONNECT with a duration. While asleep, it changes the duration. */
  sleep(now: Instant, seconds: number): void {
    this.#request(now, { message: { type: MsgType.DISCONNECT, duration: seconds }, awaits: [MsgType.DISCONNECT], msgId: 0 })
  }

  /** PINGREQ with the client id: receives queued messages, then continues to sleep. */
  wake(now: Instant): void {
    if (this.state !== 'asleep') {
      this.ignored++
      return
    }
    this.state = 'awake'
    this.#request(now, { message: { type: MsgType.PINGREQ, clientId: this.clientId }, awaits: [MsgType.PINGRESP], msgId: 0 })
  }

  disconnect(now: Instant): void {
    this.#drop()
    this.state = 'disconnecting'
    this.#request(now, { message: { type: MsgType.DISCONNECT, duration: undefined }, awaits: [MsgType.DISCONNECT], msgId: 0 })
  }

  updateWillTopic(now: Instant, topic: string | undefined, qos: WillQoS = 0, retain = false): void {
    this.#request(now, { message: { type: MsgType.WILLTOPICUPD, topic, qos, retain }, awaits: [MsgType.WILLTOPICRESP], msgId: 0 })
  }

  updateWillMessage(now: Instant, message: Uint8Array): void {
    this.#request(now, { message: { type: MsgType.WILLMSGUPD, message }, awaits: [MsgType.WILLMSGRESP], msgId: 0 })
  }

  /** Loses everything in RAM, like a node whose battery was replaced. */
  reboot(): void {
    this.#drop()
    this.#forgetTopics()
    this.#received.clear()
    this.#finished = []
    this.#outputs.clear()
    this.#pingAt = undefined
    this.state = 'disconnected'
  }

  // --- Inputs

  handleDatagram(now: Instant, bytes: Uint8Array): void {
    const message = decodeMessage(bytes)
    if (isMalformed(message)) {
      this.ignored++
      return
    }
    // Messages that arrive in answer to PINGREQ show that the gateway is alive: continue to wait [1.2 section 6.14].
    if (this.state === 'awake' && this.#open?.message.type === MsgType.PINGREQ) this.#retryAt = now + this.#options.tRetryMs
    if (this.#isFromPreviousConnection(message)) {
      this.ignored++
      return
    }
    switch (message.type) {
      case MsgType.WILLTOPICREQ:
        if (this.state === 'connecting' && this.#will !== undefined) this.#send(now, { type: MsgType.WILLTOPIC, ...this.#will })
        else this.ignored++
        return
      case MsgType.WILLMSGREQ:
        if (this.state === 'connecting' && this.#will !== undefined)
          this.#send(now, { type: MsgType.WILLMSG, message: this.#will.message })
        else this.ignored++
        return
      case MsgType.REGISTER:
        if (this.#startsCleanSession) {
          this.ignored++
          return
        }
        this.#learn(message.topicName, message.topicId)
        this.#send(now, { type: MsgType.REGACK, topicId: message.topicId, msgId: message.msgId, returnCode: ReturnCode.ACCEPTED })
        return
      case MsgType.PUBLISH:
        if (this.#startsCleanSession) this.ignored++
        else this.#message(now, message)
        return
      case MsgType.PUBREL:
        if (this.#received.delete(message.msgId)) this.#finished = [message.msgId, ...this.#finished].slice(0, FINISHED_MAX)
        this.#send(now, { type: MsgType.PUBCOMP, msgId: message.msgId })
        return
      case MsgType.PINGREQ:
        this.#send(now, { type: MsgType.PINGRESP })
        return
      case MsgType.DISCONNECT:
        if (this.#open?.awaits.includes(MsgType.DISCONNECT)) break
        this.#drop()
        this.state = 'disconnected'
        this.#pingAt = undefined
        this.#emit({ event: 'disconnected' })
        return
      default:
    }
    this.#reply(now, message)
  }

  /**
   * True while CONNECT is about to end the previous session: what still arrives from that session, topic ids above all,
   * is meaningless.
   */
  get #startsCleanSession(): boolean {
    return this.state === 'connecting' && this.#options.cleanSession
  }

  handleTimeout(now: Instant): void {
    if (this.#retryAt !== undefined && this.#retryAt <= now) this.#retry(now)
    if (this.#pingAt !== undefined && this.#pingAt <= now) {
      this.#pingAt = now + this.#options.keepAliveSeconds * 1000
      if (this.state === 'active' && this.idle) this.ping(now)
    }
  }

  nextTimeout(): Instant | undefined {
    const { state } = this
    const pingAt = state === 'active' ? this.#pingAt : undefined
    if (this.#retryAt === undefined) return pingAt
    return pingAt === undefined ? this.#retryAt : Math.min(pingAt, this.#retryAt)
  }

  poll(): SnClientOutput | undefined {
    return this.#outputs.shift()
  }

  // --- Internals

  /**
   * True for a message that arrives before CONNACK: it belongs to the previous connection, and its topic id may not be
   * valid in the next.
   */
  #isFromPreviousConnection({ type }: Message): boolean {
    const isNew = this.state === 'connecting' || this.state === 'disconnected'
    return isNew && (type === MsgType.REGISTER || type === MsgType.PUBLISH)
  }

  #message(now: Instant, message: SnPublish): void {
    const { qos, msgId, topicId, topicIdType } = message
    const topic = topicIdType === 'normal' ? this.#nameById.get(topicId) : undefined
    if (topicIdType === 'normal' && topic === undefined) {
      this.#send(now, { type: MsgType.PUBACK, topicId, msgId, returnCode: ReturnCode.INVALID_TOPIC_ID })
      return
    }
    if (qos === 2) {
      const again = this.#received.has(msgId) || this.#finished.includes(msgId)
      this.#send(now, { type: MsgType.PUBREC, msgId })
      if (again) return
      this.#received.add(msgId)
    } else if (qos === 1) this.#send(now, { type: MsgType.PUBACK, topicId, msgId, returnCode: ReturnCode.ACCEPTED })
    this.#emit({ event: 'message', topic, message })
  }

  /** Handles a reply to the open request. Other replies are delayed or misdirected, and ignored. */
  #reply(now: Instant, message: Message): void {
    const open = this.#open
    const msgId = 'msgId' in message ? message.msgId : 0
    if (message.type === MsgType.PUBACK && msgId === 0 && message.returnCode !== ReturnCode.ACCEPTED) {
      this.#emit({ event: 'rejected', topicId: message.topicId, returnCode: message.returnCode })
      return
    }
    if (open === undefined || !open.awaits.includes(message.type) || open.msgId !== msgId) {
      this.ignored++
      return
    }
    switch (message.type) {
      case MsgType.CONNACK:
        this.state = message.returnCode === ReturnCode.ACCEPTED ? 'active' : 'disconnected'
        this.#emit(
          message.returnCode === ReturnCode.ACCEPTED
            ? { event: 'connected' }
            : { event: 'refused', returnCode: message.returnCode },
        )
        break
      case MsgType.REGACK:
        if (message.returnCode === ReturnCode.ACCEPTED) {
          this.#learn(open.topicName!, message.topicId)
          this.#emit({ event: 'registered', topicName: open.topicName!, topicId: message.topicId })
        } else this.#emit({ event: 'registerRefused', topicName: open.topicName!, returnCode: message.returnCode })
        break
      case MsgType.PUBACK:
        if (message.returnCode === ReturnCode.INVALID_TOPIC_ID && open.topicName !== undefined)
          this.#idByName.delete(open.topicName)
        this.#emit({ event: 'published', msgId, returnCode: message.returnCode })
        break
      case MsgType.PUBREC:
        this.#begin(now, { message: { type: MsgType.PUBREL, msgId }, awaits: [MsgType.PUBCOMP], msgId })
        return
      case MsgType.PUBCOMP:
        this.#emit({ event: 'published', msgId, returnCode: ReturnCode.ACCEPTED })
        break
      case MsgType.SUBACK:
        if (message.returnCode === ReturnCode.ACCEPTED && message.topicId > 0 && open.topicName !== undefined)
          this.#learn(open.topicName, message.topicId)
        this.#emit({ event: 'subscribed', topicId: message.topicId, returnCode: message.returnCode })
        break
      case MsgType.UNSUBACK:
        this.#emit({ event: 'unsubscribed' })
        break
      case MsgType.PINGRESP:
        this.#emit({ event: this.state === 'awake' ? 'wakeEnded' : 'pong' })
        if (this.state === 'awake') this.state = 'asleep'
        break
      case MsgType.DISCONNECT: {
        const sleeps = open.message.type === MsgType.DISCONNECT && open.message.duration !== undefined
        this.state = sleeps ? 'asleep' : 'disconnected'
        this.#emit({ event: sleeps ? 'asleep' : 'disconnected' })
        break
      }
      case MsgType.WILLTOPICRESP:
      case MsgType.WILLMSGRESP:
        this.#emit({ event: 'willUpdated', returnCode: message.returnCode })
        break
      default:
    }
    this.#next(now)
  }

  #request(now: Instant, request: Request): void {
    if (this.#open === undefined) this.#begin(now, request)
    else if (this.#queue.length < QUEUE_MAX) this.#queue.push(request)
    else this.ignored++
  }

  #begin(now: Instant, request: Request): void {
    let { message } = request
    if (message.type === MsgType.PUBLISH && request.topicName !== undefined) {
      const topicId = this.#idByName.get(request.topicName)
      if (topicId === undefined) {
        // Its REGISTER was refused, so the PUBLISH fails, too.
        this.#emit({ event: 'published', msgId: request.msgId, returnCode: ReturnCode.INVALID_TOPIC_ID })
        this.#next(now)
        return
      }
      message = { ...message, topicId }
    }
    this.#send(now, message)
    if (request.awaits.length === 0) {
      this.#next(now)
      return
    }
    this.#open = { ...request, message }
    this.#retries = 0
    this.#retryAt = now + this.#options.tRetryMs
  }

  #next(now: Instant): void {
    this.#open = undefined
    this.#retryAt = undefined
    const request = this.#queue.shift()
    if (request !== undefined) this.#begin(now, request)
  }

  #retry(now: Instant): void {
    const open = this.#open
    if (open === undefined) {
      this.#retryAt = undefined
      return
    }
    if (this.#retries >= this.#options.nRetry) {
      const awaiting = open.message.type
      const wasAwake = this.state === 'awake'
      this.#drop()
      // A client in an awake period that gets no answer goes back to sleep to save its battery; in any other state it is
      // disconnected.
      this.state = wasAwake ? 'asleep' : 'disconnected'
      this.#emit({ event: 'timedOut', awaiting: String(awaiting) })
      return
    }
    this.#retries++
    this.retransmissions++
    this.#retryAt = now + this.#options.tRetryMs
    const { message } = open
    const again = message.type === MsgType.PUBLISH || message.type === MsgType.SUBSCRIBE ? { ...message, dup: true } : message
    this.#send(now, again)
  }

  #send(now: Instant, message: Message): void {
    if (this.#options.keepAliveSeconds > 0) this.#pingAt = now + this.#options.keepAliveSeconds * 1000
    this.#outputs.push({ kind: 'datagram', bytes: encodedMessage(message) })
  }

  #emit(event: SnEvent): void {
    this.#outputs.push({ kind: 'event', ...event })
  }

  #learn(topicName: string, topicId: number): void {
    // An id that is reassigned stands for the new topic only.
    const before = this.#nameById.get(topicId)
    if (before !== undefined && before !== topicName) this.#idByName.delete(before)
    this.#idByName.set(topicName, topicId)
    this.#nameById.set(topicId, topicName)
  }

  #forgetTopics(): void {
    this.#idByName.clear()
    this.#nameById.clear()
  }

  /** Discards the open request and those that wait. */
  #drop(): void {
    this.#open = undefined
    this.#retryAt = undefined
    this.#queue.clear()
  }

  #nextMsgId(): number {
    this.#lastMsgId = this.#lastMsgId === 0xffff ? 1 : this.#lastMsgId + 1
    return this.#lastMsgId
  }
}
