import type { Instant } from '../base/machine.ts'
import { Timer } from '../base/timers.ts'
import type { Delivery } from '../mqtt/link.ts'
import { PacketType } from '../mqtt/packets.ts'
import { messageLength } from '../mqttsn/encode.ts'
import {
  type Message,
  type MsgIdOnly,
  MsgType,
  type Register,
  ReturnCode,
  type SnPublish,
  type TopicAck,
  type TopicIdType,
} from '../mqttsn/messages.ts'
import type { ClientTimer } from './client-host.ts'
import { type Held, hold } from './held.ts'
import { allTriesMs, retryDelayMs } from './retry-profile.ts'
import type { SnClient } from './sn-client.ts'
import type { Awaiting, Transaction } from './transaction.ts'
import { OWN_REQUEST, responsePacket, unsubscribePacket } from './translate.ts'

interface TopicReference {
  readonly topicIdType: TopicIdType
  readonly topicId: number
}

/**
 * Messages on their way to one client, one transaction at a time: REGISTER where the client does not know the topic's id, then PUBLISH, to the
 * end of its acknowledgement. While one is open the link does not listen, so everything else waits in the session's queue, in order.
 */
export class Downlink {
  /** Deliveries begun in this awake period, and the octets that it took. */
  #begun = 0
  #octets = 0
  readonly #client: SnClient
  #transaction: Transaction | undefined = undefined
  /** What was open when the client was told its ids again. */
  #interrupted: Transaction | undefined = undefined
  #retryTimer: Timer<ClientTimer> | undefined = undefined
  #lastRegisterId = 0

  constructor(client: SnClient) {
    this.#client = client
  }

  /** What the client has not answered yet. */
  get awaiting(): Awaiting | undefined {
    return this.#transaction?.awaiting
  }

  get busy(): boolean {
    return this.#transaction !== undefined
  }

  beginWake(): void {
    this.#begun = 0
    this.#octets = 0
  }

  /** Another delivery is within what one awake period may bring (ruling A5). */
  get mayBegin(): boolean {
    const { wakeMessages, wakeBytes } = this.#client.host.options
    return this.#begun < wakeMessages && this.#octets < wakeBytes
  }

  /** A delivery from the broker. */
  begin(now: Instant, delivery: Delivery): void {
    this.#begun++
    this.#start(now, hold(delivery))
  }

  /** Tells the client all ids of its session that it may have forgotten, then goes on with what is open (`register: eager`, ruling A10). */
  registerAll(now: Instant): void {
    const open = this.#transaction
    if (open !== undefined && !isOwnRegister(open)) this.#interrupted = open
    this.#transaction = undefined
    this.#registerNext(now)
  }

  /** The client sleeps: an open transaction waits with it. */
  suspend(): void {
    this.#disarm()
  }

  /** The client listens again: an open transaction goes on from its beginning, with what the client may have forgotten. */
  resume(now: Instant): void {
    const transaction = this.#transaction
    if (transaction === undefined) return
    this.#transaction = undefined
    if (isOwnRegister(transaction)) this.#registerNext(now)
    else if (transaction.awaiting === 'PUBCOMP') this.release(now, transaction.msgId)
    else if (transaction.held !== undefined)
      this.#start(now, {
        ...transaction.held,
        dup: transaction.held.dup || transaction.awaiting !== 'REGACK',
        registeredAgain: false,
      })
  }

  /** The connection is over: what was open is the broker's to send again. */
  abandon(): void {
    this.#transaction = undefined
    this.#interrupted = undefined
    this.#disarm()
  }

  /** The broker's PUBREL, recorded by now: it goes to the client until PUBCOMP comes. */
  release(now: Instant, msgId: number): void {
    const message: Message = { type: MsgType.PUBREL, msgId }
    if (this.#transaction !== undefined && this.#transaction.msgId !== msgId) {
      // An answer to a PUBREC that nobody waits for, in the middle of something else: said once, the client asks again if it is lost.
      this.#send(message)
      return
    }
    const transaction: Transaction = { awaiting: 'PUBCOMP', msgId, message, held: undefined, retries: 0, rests: false }
    if (!this.#client.isReachable) {
      // PUBREC crossed our PINGRESP: the sleeper hears the answer when it wakes.
      this.#transaction = transaction
      this.#disarm()
      return
    }
    this.#open(now, transaction)
    this.#send(message)
  }

  /** REGACK, PUBACK, PUBREC or PUBCOMP from the client. What answers nothing that is open is ignored. */
  answered(now: Instant, message: TopicAck | MsgIdOnly): void {
    const transaction = this.#transaction
    const { type, msgId } = message
    if (type === MsgType.PUBACK && message.returnCode === ReturnCode.INVALID_TOPIC_ID) {
      this.#unknownTopicId(message.topicId, transaction?.msgId === msgId ? transaction.message : undefined)
    }
    if (transaction === undefined || transaction.msgId !== msgId) {
      // PUBREC again: our PUBREL was lost, and its transaction repeats it; PUBREC for nothing we know ends with PUBREL all the same.
      if (type === MsgType.PUBREC && transaction === undefined)
        this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
      return
    }
    if (type !== MsgType.PUBCOMP) this.#client.host.proved(this.#client.route)
    if (type === MsgType.REGACK && transaction.awaiting === 'REGACK') this.#registered(now, transaction, message.returnCode)
    else if (type === MsgType.PUBACK) this.#acknowledged(now, transaction, message.returnCode)
    else if (type === MsgType.PUBREC && transaction.awaiting === 'PUBREC') {
      // The broker records it, and its PUBREL comes back when that is durable.
      this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
    } else if (type === MsgType.PUBCOMP && transaction.awaiting === 'PUBCOMP') {
      this.#done(now, PacketType.PUBCOMP, msgId)
    }
  }

  /** T_retry has passed. */
  timedOut(now: Instant): void {
    const transaction = this.#transaction
    if (transaction === undefined) {
      this.#client.settle(now, true)
      return
    }
    if (transaction.rests) {
      this.resume(now)
      return
    }
    if (this.#client.host.ports.isWaiting(this.#client.route) || this.#client.awaitsStore) {
      // It has not even left.
      if (this.#client.state === 'awake') this.#client.settle(now, true)
      else this.#armRetry(now, transaction.retries)
      return
    }
    if (transaction.retries >= this.#client.retryProfile.nRetry) {
      this.#client.retriesExhausted(now, transaction.awaiting)
      return
    }
    transaction.retries++
    this.#armRetry(now, transaction.retries)
    const { message } = transaction
    this.#send(message.type === MsgType.PUBLISH ? { ...message, dup: true } : message)
  }

  /** Looks again after T_retry, although nothing is open: an awake period that waits for the store must end too. */
  watch(now: Instant): void {
    const timer = this.#timer()
    const { host, retryProfile } = this.#client
    if (!timer.armed) host.timers.arm(timer, now + allTriesMs(retryProfile))
  }

  /** What waited for its port, or for the store, is on its way: only now its answer can be waited for. */
  left(now: Instant): void {
    const transaction = this.#transaction
    if (transaction !== undefined && !transaction.rests && this.#timer().armed) this.#armRetry(now, transaction.retries)
  }

  #start(now: Instant, held: Held): void {
    const client = this.#client
    const { topic } = held.message
    if (client.registry.refuses(topic)) {
      this.#giveUp(now, held, `the client has refused to register ${topic}`)
      return
    }
    const reference = this.#reference(topic, held.registeredAgain)
    if (reference !== undefined) {
      this.#publish(now, held, reference)
      return
    }
    const assigned = client.topicIds.idFor(topic, true)
    if (assigned === 'store full') {
      this.#awaitStore(now, held)
      return
    }
    if (assigned === 'too many') {
      this.#giveUp(now, held, `no topic id for ${topic}: ${assigned}`)
      return
    }
    const msgId = this.#registerId(held.packetId)
    const message: Message = { type: MsgType.REGISTER, topicId: assigned.topicId, msgId, topicName: topic }
    if (messageLength(message) > client.host.ports.roomTo(client.route)) {
      this.#giveUp(now, held, `${topic} is too long for REGISTER`)
      return
    }
    this.#open(now, { awaiting: 'REGACK', msgId, message, held, retries: 0, rests: false })
    this.#send(message, assigned.lsn)
  }

  /** How the client knows this topic; `undefined` if it has to be told. `normalOnly`: it refused the id that it should have known. */
  #reference(topic: string, normalOnly: boolean): TopicReference | undefined {
    const { registry, host, clientId } = this.#client
    const normal = registry.idOf(topic)
    if (normal !== undefined && registry.knows(normal)) return { topicIdType: 'normal', topicId: normal }
    if (normalOnly) return undefined
    const predefined = host.predefined.idOf(clientId, topic)
    if (predefined !== undefined && registry.knowsPredefined(predefined))
      return { topicIdType: 'predefined', topicId: predefined }
    if (topic.length === 2 && topic.charCodeAt(0) < 0x80 && topic.charCodeAt(1) < 0x80) {
      return { topicIdType: 'short', topicId: (topic.charCodeAt(0) << 8) | topic.charCodeAt(1) }
    }
    return undefined
  }

  #publish(now: Instant, held: Held, { topicIdType, topicId }: TopicReference): void {
    const { message, qos, retain, dup, packetId: msgId } = held
    const publish: SnPublish = { type: MsgType.PUBLISH, dup, qos, retain, topicIdType, topicId, msgId, data: message.payload }
    if (messageLength(publish) > this.#client.host.ports.roomTo(this.#client.route)) {
      this.#giveUp(now, held, `${message.payloadLength} octets on ${message.topic} are too long for a datagram`)
      return
    }
    if (qos > 0)
      this.#open(now, { awaiting: qos === 1 ? 'PUBACK' : 'PUBREC', msgId, message: publish, held, retries: 0, rests: false })
    this.#send(publish)
    if (qos === 0) this.#close(now)
  }

  #registered(now: Instant, transaction: Transaction, returnCode: number): void {
    if (returnCode === ReturnCode.CONGESTION) {
      this.#rest(now, transaction)
      return
    }
    const { held } = transaction
    this.#transaction = undefined
    this.#disarm()
    const { registry } = this.#client
    const { topicName } = transaction.message as Register
    const topicId = registry.idOf(topicName)
    if (returnCode !== ReturnCode.ACCEPTED || topicId === undefined) {
      // Section 6.10: this corresponds to an unsubscribe from that name; from a wildcard nobody can unsubscribe like that.
      registry.markRefused(topicName)
      this.#client.toBroker(now, unsubscribePacket(OWN_REQUEST, topicName))
    } else registry.markKnown(topicId)
    if (held === undefined) {
      this.#registerNext(now)
      return
    }
    if (topicId === undefined || registry.refuses(topicName)) {
      this.#giveUp(now, held, `the client refused to register ${topicName}`)
      return
    }
    if (!this.#client.isReachable) {
      // REGACK crossed our PINGRESP: its message goes out at the next wake.
      this.#transaction = transaction
      return
    }
    this.#publish(now, held, { topicIdType: 'normal', topicId })
  }

  #acknowledged(now: Instant, transaction: Transaction, returnCode: number): void {
    const { awaiting, held, msgId } = transaction
    if (awaiting !== 'PUBACK' && awaiting !== 'PUBREC') return
    if (returnCode === ReturnCode.INVALID_TOPIC_ID && held !== undefined && !held.registeredAgain) {
      if (!this.#client.isReachable) return
      this.#transaction = undefined
      this.#disarm()
      this.#start(now, { ...held, registeredAgain: true })
      return
    }
    if (returnCode === ReturnCode.CONGESTION) {
      this.#rest(now, transaction)
      return
    }
    if (returnCode !== ReturnCode.ACCEPTED) {
      this.#giveUp(now, held!, `the client answered with return code ${returnCode}`)
      return
    }
    if (awaiting === 'PUBACK') this.#done(now, PacketType.PUBACK, msgId)
  }

  /** The client will never take this message: it counts as delivered, and that is told. */
  #giveUp(now: Instant, held: Held, reason: string): void {
    const client = this.#client
    client.host.traffic.publishDropped++
    client.host.notice({ code: 'message-dropped', level: 'warn', client: client.key, peer: client.route, reason })
    if (held.qos === 1) this.#done(now, PacketType.PUBACK, held.packetId)
    else if (held.qos === 2) {
      this.#transaction = undefined
      this.#disarm()
      client.toBroker(now, responsePacket(PacketType.PUBREC, held.packetId, 0x83))
      this.#close(now)
    } else this.#close(now)
  }

  #done(now: Instant, type: typeof PacketType.PUBACK | typeof PacketType.PUBCOMP, packetId: number): void {
    this.#client.toBroker(now, responsePacket(type, packetId))
    this.#close(now)
  }

  /** The client is congested: it is left alone for T_WAIT, or until its next awake period, and its message waits [1.2 section 6.5]. */
  #rest(now: Instant, transaction: Transaction): void {
    const { host, state } = this.#client
    transaction.retries = 0
    transaction.rests = true
    if (state === 'active') host.timers.arm(this.#timer(), now + host.options.tWaitMs)
    else this.#client.settle(now, true)
  }

  /** The topic id of this message cannot be recorded: it is tried again, for as long as it takes. */
  #awaitStore(now: Instant, held: Held): void {
    const client = this.#client
    const { topic: topicName } = held.message
    const reason = `no topic id for ${topicName}`
    client.host.notice({ code: 'store-full', level: 'error', client: client.key, peer: client.route, reason })
    const message: Message = { type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName }
    this.#open(now, { awaiting: 'REGACK', msgId: 0, message, held, retries: 0, rests: true })
    client.settle(now, true)
  }

  /** The client does not know a topic id that it was sent [1.2 section 6.10]. */
  #unknownTopicId(topicId: number, refused: Message | undefined): void {
    const { registry, host, clientId } = this.#client
    const isPredefined = refused?.type === MsgType.PUBLISH && refused.topicIdType !== 'normal'
    // QoS 0 has no message id that would say which space is meant.
    if (isPredefined || (refused === undefined && host.predefined.nameOf(clientId, topicId) !== undefined))
      registry.markNotPredefined(topicId)
    if (!isPredefined) registry.markUnknown(topicId)
  }

  #registerNext(now: Instant): void {
    const { registry } = this.#client
    const topicId = registry.nextUnknown()
    if (topicId === undefined) {
      this.#transaction = this.#interrupted
      this.#interrupted = undefined
      if (this.#transaction !== undefined) this.resume(now)
      else this.#close(now)
      return
    }
    const msgId = this.#registerId(this.#interrupted?.msgId ?? 0)
    const message: Message = { type: MsgType.REGISTER, topicId, msgId, topicName: registry.nameOf(topicId)! }
    this.#open(now, { awaiting: 'REGACK', msgId, message, held: undefined, retries: 0, rests: false })
    this.#send(message)
  }

  #send(message: Message, lsn = 0): void {
    this.#octets += messageLength(message)
    this.#client.send(message, lsn)
  }

  #open(now: Instant, transaction: Transaction): void {
    this.#transaction = transaction
    this.#armRetry(now, 0)
    this.#client.updateListening(now)
  }

  #close(now: Instant): void {
    this.#transaction = undefined
    this.#disarm()
    this.#client.updateListening(now)
    this.#client.settle(now, false)
  }

  #armRetry(now: Instant, retries: number): void {
    const { host, retryProfile } = this.#client
    host.timers.arm(this.#timer(), now + retryDelayMs(retryProfile, retries, host.chance()))
  }

  #timer(): Timer<ClientTimer> {
    this.#retryTimer ??= new Timer<ClientTimer>({ client: this.#client, about: 'retry' })
    return this.#retryTimer
  }

  #disarm(): void {
    if (this.#retryTimer !== undefined) this.#client.host.timers.disarm(this.#retryTimer)
  }

  /** Message ids of our REGISTERs: their own count, and never that of the PUBLISH which follows (ruling A14). */
  #registerId(packetId: number): number {
    do this.#lastRegisterId = this.#lastRegisterId === 0xffff ? 1 : this.#lastRegisterId + 1
    while (this.#lastRegisterId === packetId)
    return this.#lastRegisterId
  }
}

/** A REGISTER that no message waits for. */
const isOwnRegister = ({ awaiting, held }: Transaction): boolean => awaiting === 'REGACK' && held === undefined
