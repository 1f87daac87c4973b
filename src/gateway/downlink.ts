import type { Instant } from '../base/machine.ts'
import { Timer } from '../base/timers.ts'
import type { Delivery } from '../mqtt/link.ts'
import { PacketType } from '../mqtt/packets.ts'
import { messageLength } from '../mqttsn/encode.ts'
import {
  type Message,
  type MsgIdOnly,
  MsgType,
  ReturnCode,
  type SnPublish,
  type TopicAck,
  type TopicIdType,
} from '../mqttsn/messages.ts'
import type { ClientTimer } from './client-host.ts'
import { type Held, hold } from './held.ts'
import { allTriesMs, retryDelayMs } from './retry-profile.ts'
import type { SnClient } from './sn-client.ts'
import type { Transaction } from './transaction.ts'
import { responsePacket } from './translate.ts'

interface TopicReference {
  readonly topicIdType: TopicIdType
  readonly topicId: number
}

/**
 * Messages on their way to one client, one transaction at a time: REGISTER where the client does not know the topic's id, then PUBLISH, to the
 * end of its acknowledgement. While one is open the link does not listen, so everything else waits in the session's queue, in order.
 */
export class Downlink {
  /** Deliveries begun in this awake period. */
  begun = 0
  readonly #client: SnClient
  #transaction: Transaction | undefined = undefined
  #retryTimer: Timer<ClientTimer> | undefined = undefined
  #lastRegisterId = 0

  constructor(client: SnClient) {
    this.#client = client
  }

  get busy(): boolean {
    return this.#transaction !== undefined
  }

  /** A delivery from the broker. */
  begin(now: Instant, delivery: Delivery): void {
    this.begun++
    this.#start(now, hold(delivery))
  }

  /** Sends a message of the will dialogue, until it is answered. */
  prompt(now: Instant, awaiting: 'WILLTOPIC' | 'WILLMSG', message: Message): void {
    this.#open(now, { awaiting, msgId: 0, message, held: undefined, retries: 0 })
    this.#client.send(message)
  }

  /** The will dialogue went on, or ended. */
  prompted(): void {
    if (this.#transaction?.held === undefined) this.#transaction = undefined
    this.#disarm()
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
    if (transaction.awaiting === 'PUBCOMP') this.release(now, transaction.msgId)
    else if (transaction.held !== undefined)
      this.#start(now, { ...transaction.held, dup: transaction.awaiting !== 'REGACK', registeredAgain: false })
  }

  /** The connection is over: what was open is the broker's to send again. */
  abandon(): void {
    this.#transaction = undefined
    this.#disarm()
  }

  /** The broker's PUBREL, recorded by now: it goes to the client until PUBCOMP comes. */
  release(now: Instant, msgId: number): void {
    const message: Message = { type: MsgType.PUBREL, msgId }
    if (this.#transaction !== undefined && this.#transaction.msgId !== msgId) {
      // An answer to a PUBREC that nobody waits for, in the middle of something else: said once, the client asks again if it is lost.
      this.#client.send(message)
      return
    }
    const transaction: Transaction = { awaiting: 'PUBCOMP', msgId, message, held: undefined, retries: 0 }
    if (!this.#client.isReachable) {
      // PUBREC crossed our PINGRESP: the sleeper hears the answer when it wakes.
      this.#transaction = transaction
      this.#disarm()
      return
    }
    this.#open(now, transaction)
    this.#client.send(message)
  }

  /** REGACK, PUBACK, PUBREC or PUBCOMP from the client. What answers nothing that is open is ignored. */
  answered(now: Instant, message: TopicAck | MsgIdOnly): void {
    const transaction = this.#transaction
    const { type, msgId } = message
    if (type === MsgType.PUBACK && message.returnCode === ReturnCode.INVALID_TOPIC_ID) {
      const refused = transaction?.msgId === msgId ? transaction.message : undefined
      if (refused?.type !== MsgType.PUBLISH || refused.topicIdType === 'normal')
        this.#client.registry.markUnknown(message.topicId)
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
    const { host } = this.#client
    if (transaction === undefined) {
      this.#client.settle(now, true)
      return
    }
    if (host.ports.isWaiting(this.#client.route) || this.#client.awaitsStore) {
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
    this.#client.send(message.type === MsgType.PUBLISH ? { ...message, dup: true } : message)
  }

  /** Looks again after T_retry, although nothing is open: an awake period that waits for the store must end too. */
  watch(now: Instant): void {
    const timer = this.#timer()
    const { host, retryProfile } = this.#client
    if (!timer.armed) host.timers.arm(timer, now + allTriesMs(retryProfile))
  }

  /** What waited for its port, or for the store, is on its way: only now its answer can be waited for. */
  left(now: Instant): void {
    if (this.#transaction !== undefined && this.#timer().armed) this.#armRetry(now, this.#transaction.retries)
  }

  #start(now: Instant, held: Held): void {
    const client = this.#client
    const { topic } = held.message
    const reference = this.#reference(topic, held.registeredAgain)
    if (reference !== undefined) {
      this.#publish(now, held, reference)
      return
    }
    const assigned = client.assignTopicId(topic)
    if (typeof assigned === 'string') {
      this.#giveUp(now, held, `no topic id for ${topic}: ${assigned}`)
      return
    }
    const msgId = this.#registerId(held.packetId)
    const message: Message = { type: MsgType.REGISTER, topicId: assigned.topicId, msgId, topicName: topic }
    if (messageLength(message) > client.host.ports.roomTo(client.route)) {
      this.#giveUp(now, held, `${topic} is too long for REGISTER`)
      return
    }
    this.#open(now, { awaiting: 'REGACK', msgId, message, held, retries: 0 })
    client.send(message, assigned.lsn)
  }

  /** How the client knows this topic; `undefined` if it has to be told. `normalOnly`: it refused the id that it should have known. */
  #reference(topic: string, normalOnly: boolean): TopicReference | undefined {
    const { registry, host, clientId } = this.#client
    const normal = registry.idOf(topic)
    if (normal !== undefined && registry.knows(normal)) return { topicIdType: 'normal', topicId: normal }
    if (normalOnly) return undefined
    const predefined = host.predefined.idOf(clientId, topic)
    if (predefined !== undefined) return { topicIdType: 'predefined', topicId: predefined }
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
    if (qos > 0) this.#open(now, { awaiting: qos === 1 ? 'PUBACK' : 'PUBREC', msgId, message: publish, held, retries: 0 })
    this.#client.send(publish)
    if (qos === 0) this.#close(now)
  }

  #registered(now: Instant, transaction: Transaction, returnCode: number): void {
    const held = transaction.held!
    this.#transaction = undefined
    this.#disarm()
    const { registry } = this.#client
    const topicId = registry.idOf(held.message.topic)
    if (returnCode !== ReturnCode.ACCEPTED || topicId === undefined) {
      // Section 6.10: a client may refuse a topic, and then does not want its messages.
      this.#giveUp(now, held, `the client refused to register ${held.message.topic}`)
      return
    }
    registry.markKnown(topicId)
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
