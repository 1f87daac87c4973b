import type { Instant } from '../../base/machine.ts'
import type { Delivery } from '../../mqtt/link.ts'
import { PacketType } from '../../mqtt/packets.ts'
import { typeName } from '../../mqttsn/describe.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { type Message, type MsgIdOnly, MsgType, type Register, ReturnCode, type TopicAck } from '../../mqttsn/messages.ts'
import { markUnknownTopicId, type TopicReference, topicReference } from '../topics/reference.ts'
import { OWN_REQUEST, responsePacket, unsubscribePacket } from '../translate.ts'
import type { GatewayClient } from './client.ts'
import { reportDropped, reportIgnored } from './client-notices.ts'
import { type Exchange, isOfProof, isOwnRegister, OpenExchanges } from './exchange.ts'
import { publishId, registerId } from './message-ids.ts'
import { canRegister, needsRegack, type OutboundMessage, outboundMessage, publishOf } from './outbound-message.ts'
import { PoisonMessage } from './poison-message.ts'
import { Retries } from './retries.ts'

/**
 * Messages in flight to one client, one exchange each: REGISTER if the client does not know the topic id, then PUBLISH, until it
 * is fully acknowledged. While the in-flight window (one message by default) is full, the link does not listen, and everything
 * else waits in order in the session's queue. Unanswered messages are retransmitted together; progress resets the retry count.
 */
export class Outbound {
  readonly #client: GatewayClient
  readonly exchanges = new OpenExchanges()
  readonly poison = new PoisonMessage()
  /** A message that the client itself published and that waits until its PUBACK has been sent. */
  #own: OutboundMessage | undefined = undefined
  /** Why nothing starts. 'rests': a pause for the client or a full store; 'lacks id': one topic id has no record, others go on. */
  halted: 'rests' | 'lacks id' | undefined = undefined
  /** A queued frame was retracted for the rest, which then lasts for T_WAIT: later messages would leave before that frame. */
  #keepsBack = false
  readonly retries: Retries

  constructor(client: GatewayClient) {
    this.#client = client
    this.retries = new Retries(client, this)
  }

  /** True while an exchange is open or waits to be restarted. */
  get busy(): boolean {
    return this.exchanges.busy || this.#own !== undefined
  }

  /** True if nothing is in flight or held back. What is left is `poison`, `retries.isIgnored` and `exchanges.lastRegisterId`. */
  get isIdle(): boolean {
    return !this.busy && this.halted === undefined && !this.#keepsBack && !this.retries.isArmed
  }

  /** True while nothing more may be started: the window is full, a REGISTER is open, or the client must not be sent anything. */
  get full(): boolean {
    const { exchanges, halted } = this
    if (halted !== undefined || this.#own !== undefined) return true
    if (!exchanges.busy) return false
    const { route, host } = this.#client
    // A frame that the port refused is sent again before anything that follows it.
    if (exchanges.open.length > 0 && host.ports.hasRefused(route)) return true
    return this.windowFull || exchanges.register !== undefined || exchanges.renumbered
  }

  get windowFull(): boolean {
    return this.exchanges.open.length >= this.#client.host.options.inflightMessages
  }

  /** Returns the topic ids of unanswered REGISTERs, with `inPublishes` also those of unanswered PUBLISHes. */
  topicIdsInUse(inPublishes: boolean): ReadonlySet<number> {
    return this.exchanges.topicIds(inPublishes)
  }

  begin(now: Instant, from: Delivery): void {
    this.#client.awakePeriod.delivered()
    const delivery = outboundMessage(from)
    if (this.#client.inbound.isUnanswered(delivery.message)) {
      this.#own = delivery
      this.retries.watch(now)
    } else this.#start(now, delivery)
  }

  /** Starts whatever may start by now. Called only by `GatewayClient`, at the end of each of its entry points. */
  advance(now: Instant): void {
    if (!this.busy) return
    const { inbound, isReachable } = this.#client
    const own = this.#own
    if (own !== undefined && !inbound.isUnanswered(own.message)) {
      this.#own = undefined
      this.exchanges.postpone(own, 'last')
    }
    if (!isReachable) return
    this.#endNeedlessRegister(now)
    // A resend past a frame still queued at the port could be dropped, and later messages would then arrive first (ruling A15).
    const { again } = this.exchanges
    while (again.length > 0 && !this.full && !this.waitsForPort && !this.#client.awaitsStore) {
      const { awaiting, delivery, msgId } = again.shift()!
      if (awaiting === 'PUBCOMP') this.release(now, msgId)
      else if (delivery !== undefined)
        this.#start(now, { ...delivery, dup: delivery.dup || awaiting !== 'REGACK', registeredAgain: false })
    }
  }

  /** Registers all topic ids that the client may have lost, then continues (`register: eager`, ruling A10). */
  registerAll(now: Instant): void {
    this.#interrupt()
    this.#registerNext(now)
  }

  /** The client sleeps: open exchanges wait for it to wake. */
  suspend(): void {
    this.retries.disarm()
  }

  /** The client is reachable again: restarts every open exchange, re-registering topic ids that it may have lost. */
  resume(now: Instant): void {
    const { register } = this.exchanges
    if (register !== undefined && isOwnRegister(register)) this.registerAll(now)
    else if (this.busy) this.#interrupt()
  }

  /** Marks open exchanges for a restart. A REGISTER without a delivery is sent again in any case. */
  #interrupt(): void {
    this.exchanges.interrupt()
    this.halted = undefined
    this.#keepsBack = false
    this.retries.reset()
  }

  /** The connection has ended. The broker resends what was open, except QoS 0, which it no longer has. */
  abandon(): void {
    for (const delivery of this.busy ? [...this.exchanges.deliveries, this.#own] : [])
      if (delivery?.qos === 0)
        reportDropped(this.#client, `the conversation ended before the client knew the id of ${delivery.message.topic}`)
    this.exchanges.clear()
    this.#own = undefined
    this.halted = undefined
    this.#keepsBack = false
    this.retries.reset()
    this.retries.isIgnored = false
  }

  /** Forwards the broker's PUBREL, which is recorded by now, and retransmits it until PUBCOMP arrives. */
  release(now: Instant, msgId: number): void {
    const message: Message = { type: MsgType.PUBREL, msgId }
    const known = this.exchanges.ofQos2(msgId)
    const exchange: Exchange = { awaiting: 'PUBCOMP', msgId, message, delivery: undefined }
    if (known === undefined && this.full) {
      // It belongs to no exchange: a stray PUBREC is answered, or a cluster repeats it. It is sent again when there is room.
      if (!this.exchanges.isTaken(msgId)) this.exchanges.again.push(exchange)
      this.send(message)
      return
    }
    if (known !== undefined) this.exchanges.replace(known, exchange)
    else this.exchanges.open.push(exchange)
    // If PUBREC crossed our PINGRESP, the sleeping client receives the answer when it wakes.
    if (!this.#client.isReachable) return
    this.retries.restart(now)
    this.send(message)
  }

  /** Handles REGACK, PUBACK, PUBREC or PUBCOMP from the client. An answer that matches no open exchange is ignored. */
  answered(now: Instant, message: TopicAck | MsgIdOnly): void {
    const { type, msgId } = message
    const exchange = this.exchanges.answeredBy(message)
    const ahead = exchange === undefined ? this.exchanges.acknowledgedAhead(message) : undefined
    // Must precede `acknowledged`: validating the address releases frames, and a queued copy of this message must not be among
    // them.
    if (exchange !== undefined) this.#client.replies.retract(msgId, type === MsgType.REGACK ? MsgType.REGISTER : MsgType.PUBLISH)
    if (ahead !== undefined) this.#client.replies.retract(ahead.msgId, MsgType.REGISTER)
    const proves = isOfProof(message) && this.#client.host.acknowledged(this.#client.route, msgId)
    if (type === MsgType.PUBACK && message.returnCode === ReturnCode.INVALID_TOPIC_ID)
      markUnknownTopicId(this.#client, message.topicId, exchange?.message)
    if (exchange === undefined) {
      if (ahead !== undefined) {
        this.#answeredAhead(now, message, ahead)
        return
      }
      if (type === MsgType.REGACK && this.#answeredLate(now, message)) return
      if (isOfProof(message) && !proves) this.#client.host.guessed(this.#client.route)
      reportIgnored(this.#client, `${typeName(type)} with message id ${msgId} answers nothing that is open`)
      // Repeated PUBREC: our PUBREL was lost, and its exchange resends it. Unknown PUBREC: answered with PUBREL all the same.
      if (type === MsgType.PUBREC && !this.busy) this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
      return
    }
    this.retries.isIgnored = false
    this.poison.answered(exchange)
    if (type === MsgType.REGACK) {
      this.#registered(now, exchange, message.returnCode)
      return
    }
    // After PUBREC the client has the message, even if it rejects a delayed copy.
    if (type === MsgType.PUBACK && exchange.answered !== true) this.#acknowledged(now, exchange, message.returnCode)
    else if (type === MsgType.PUBREC && exchange.awaiting === 'PUBREC') {
      this.#received(now, exchange, msgId)
    } else if (type === MsgType.PUBCOMP && exchange.awaiting === 'PUBCOMP') {
      this.#done(now, PacketType.PUBCOMP, exchange)
    }
  }

  /** PUBACK or PUBREC for a message whose topic is being registered again: the REGISTER needs no answer any more. */
  #answeredAhead(now: Instant, { type, msgId }: TopicAck | MsgIdOnly, register: Exchange): void {
    if (type === MsgType.PUBACK) {
      this.#client.toBroker(now, responsePacket(PacketType.PUBACK, register.delivery!.packetId))
      this.#close(now, register)
    } else {
      this.#received(now, register, msgId)
    }
  }

  /** PUBREC. The broker records it, and sends PUBREL when that is durable, for which an awake period waits for T_retry. */
  #received(now: Instant, exchange: Exchange, msgId: number): void {
    this.exchanges.replace(exchange, { ...exchange, awaiting: 'PUBREC', msgId, answered: true })
    if (this.#client.isReachable) this.retries.restart(now)
    this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
  }

  /** Ends the open REGISTER if SUBACK or REGACK has conveyed its topic id, or its only purpose, a valid address, is achieved. */
  #endNeedlessRegister(now: Instant): void {
    const client = this.#client
    const { register } = this.exchanges
    if (register === undefined || this.halted === 'rests') return
    const { delivery } = register
    const { topicId, topicName } = register.message as Register
    if (delivery === undefined) {
      if (!client.registry.knows(topicId) || client.registry.isTrusted(topicId)) return
      this.exchanges.remove(register)
      client.replies.retract(register.msgId, MsgType.REGISTER)
      this.#registerNext(now)
      return
    }
    // A larger sending budget alone does not justify a second message before the first is answered.
    if (register.forAddress === true && !client.host.isProven(client.route)) return
    const reference = topicReference(client, topicName, delivery.registeredAgain)
    if (reference === undefined || needsRegack(now, client, delivery, reference)) return
    this.exchanges.remove(register)
    client.replies.retract(register.msgId, MsgType.REGISTER)
    this.#publish(now, delivery, reference)
  }

  /** The client has sent something. Exchanges that this answered must be closed already. */
  heard(now: Instant): void {
    this.retries.heard(now)
  }

  /** Frames that waited for the port or the store have left: T_retry counts from now. */
  left(now: Instant): void {
    if (this.exchanges.open.length > 0 && this.halted !== 'rests') this.retries.left(now)
  }

  /** Gives up one exchange, because the client is reachable but does not answer it (ruling A28). */
  giveUpExchange(now: Instant, { awaiting, delivery, message, msgId }: Exchange, reason: string): void {
    const client = this.#client
    if (awaiting === 'PUBCOMP') {
      // The client has the message; only the end of its acknowledgement is missing.
      client.toBroker(now, responsePacket(PacketType.PUBCOMP, msgId))
      this.#close(now, undefined)
      return
    }
    if (message.type === MsgType.REGISTER) {
      const { topicId, topicName } = message
      // Otherwise the REGISTER was only to validate the address.
      if (!client.registry.knows(topicId) || client.registry.isTrusted(topicId))
        client.registry.markUnanswered(topicName, topicId, msgId)
    }
    if (delivery === undefined) this.#registerNext(now)
    else this.#giveUp(now, delivery, `${reason}: message on ${delivery.message.topic}`)
  }

  /** Handles REGACK for a REGISTER that was given up. Returns false if it is not that. */
  #answeredLate(now: Instant, { topicId, msgId, returnCode }: TopicAck): boolean {
    const { registry } = this.#client
    const late = registry.answeredLate(topicId, msgId)
    if (late === undefined) {
      registry.answeredStale(topicId)
      return false
    }
    if (returnCode === ReturnCode.ACCEPTED) registry.markKnown(late.topicId, now)
    else if (returnCode !== ReturnCode.CONGESTION) this.#refused(now, late.topicName)
    return true
  }

  /** Section 6.10: this amounts to an unsubscribe from that name. There is no such way to unsubscribe from a wildcard filter. */
  #refused(now: Instant, topicName: string): void {
    this.#client.registry.markRefused(topicName)
    this.#client.toBroker(now, unsubscribePacket(OWN_REQUEST, topicName))
  }

  #start(now: Instant, delivery: OutboundMessage): void {
    const client = this.#client
    const { topic } = delivery.message
    if (this.#dropIfExpired(now, delivery)) return
    if (client.registry.refuses(topic)) {
      this.#giveUp(now, delivery, `the client has refused to register ${topic}`)
      return
    }
    const reference = topicReference(this.#client, topic, delivery.registeredAgain)
    if (reference !== undefined) this.#publish(now, delivery, reference)
    else if (client.registry.ignores(topic)) this.#giveUp(now, delivery, `the client did not answer REGISTER for ${topic}`)
    else this.#register(now, delivery)
  }

  /** Registers the topic id of a message, which follows after REGACK. */
  #register(now: Instant, delivery: OutboundMessage, forAddress = false): void {
    const client = this.#client
    const { topic } = delivery.message
    if (!canRegister(client, topic)) {
      this.#giveUp(now, delivery, `${topic} is too long for REGISTER`)
      return
    }
    const assigned = client.topicIds.offered(topic)
    if (assigned === 'store full') {
      this.#awaitStore(now, delivery)
      return
    }
    if (typeof assigned === 'string') {
      this.#giveUp(now, delivery, `no topic id for ${topic}: ${assigned}`)
      return
    }
    const msgId = registerId(client, this.exchanges, topic, delivery.packetId)
    const message: Message = { type: MsgType.REGISTER, topicId: assigned.topicId, msgId, topicName: topic }
    this.#open(now, { awaiting: 'REGACK', msgId, message, delivery, ...(forAddress && { forAddress }) })
    this.send(message, assigned.lsn)
  }

  /** Drops a message that expired before it was first sent: its delivery must not start now (MQTT-3.3.2-5). */
  #dropIfExpired(now: Instant, delivery: OutboundMessage): boolean {
    const { expiresAt, topic } = delivery.message
    if (expiresAt === undefined || expiresAt > now || delivery.dup) return false
    this.#giveUp(now, delivery, `expired on ${topic}`, undefined, 'debug')
    return true
  }

  #publish(now: Instant, original: OutboundMessage, reference: TopicReference): void {
    const { message, qos } = original
    const client = this.#client
    if (this.#dropIfExpired(now, original)) return
    let delivery = original
    let publish = publishOf(delivery, reference)
    const octets = messageLength(publish)
    if (octets > client.host.ports.roomTo(client.route)) {
      this.#giveUp(
        now,
        delivery,
        `${message.payloadLength} octets on ${message.topic} are too long for a datagram`,
        'sn_max_frame',
      )
      return
    }
    if (needsRegack(now, client, delivery, reference)) {
      this.#register(now, delivery, qos > 0 || !client.registry.isTrusted(reference.topicId))
      return
    }
    const msgId = publishId(client, this.exchanges, delivery, octets)
    if (msgId !== delivery.msgId) {
      delivery = { ...delivery, msgId }
      publish = publishOf(delivery, reference)
    }
    if (qos > 0) this.#open(now, { awaiting: qos === 1 ? 'PUBACK' : 'PUBREC', msgId, message: publish, delivery })
    this.send(publish)
    if (qos === 0) this.#close(now, undefined)
  }

  #registered(now: Instant, exchange: Exchange, returnCode: number): void {
    if (returnCode === ReturnCode.CONGESTION) {
      this.rest(now)
      return
    }
    if (!this.#keepsBack) this.halted = undefined
    const { delivery } = exchange
    const { registry } = this.#client
    const { topicName } = exchange.message as Register
    const topicId = registry.idOf(topicName)
    // The client has forgotten the id that it learned before a restart, or does not want it.
    if (returnCode !== ReturnCode.ACCEPTED && topicId !== undefined && registry.isTrusted(topicId)) registry.markUnknown(topicId)
    const known = delivery === undefined ? undefined : topicReference(this.#client, topicName, delivery.registeredAgain)
    if (delivery !== undefined && known !== undefined && returnCode !== ReturnCode.ACCEPTED) {
      // The REGISTER was only to validate the address, and the client does not need the id.
      if (!this.#client.isReachable || this.#keepsBack) return
      this.exchanges.remove(exchange)
      this.#publish(now, delivery, known)
      return
    }
    if (returnCode !== ReturnCode.ACCEPTED || topicId === undefined) this.#refused(now, topicName)
    else registry.markKnown(topicId, now)
    // Its message follows those that are kept back.
    if (this.#keepsBack) return
    // REGACK crossed our PINGRESP: the message, or the next REGISTER, follows when the client wakes.
    if (!this.#client.isReachable && (delivery === undefined || (topicId !== undefined && !registry.refuses(topicName)))) return
    this.exchanges.remove(exchange)
    if (delivery === undefined) {
      this.#registerNext(now)
      return
    }
    if (topicId === undefined || registry.refuses(topicName)) {
      this.#giveUp(now, delivery, `the client refused to register ${topicName}`)
      return
    }
    this.#publish(now, delivery, { topicIdType: 'normal', topicId })
  }

  #acknowledged(now: Instant, exchange: Exchange, returnCode: number): void {
    const { awaiting, delivery } = exchange
    if (awaiting !== 'PUBACK' && awaiting !== 'PUBREC') return
    if (returnCode === ReturnCode.INVALID_TOPIC_ID && delivery !== undefined && !delivery.registeredAgain) {
      if (!this.#client.isReachable || this.#keepsBack) return
      this.exchanges.remove(exchange)
      // One REGISTER at a time: the REGACK to the one that is open may tell the topic id of this message, too.
      const refused = { ...delivery, registeredAgain: true }
      if (this.exchanges.register === undefined) this.#start(now, refused)
      else this.exchanges.postpone(refused, 'first')
      if (this.exchanges.open.length > 0) this.retries.restart(now)
      return
    }
    if (returnCode === ReturnCode.CONGESTION) {
      this.rest(now)
      return
    }
    if (returnCode !== ReturnCode.ACCEPTED) {
      this.#close(now, exchange)
      this.#giveUp(now, delivery!, `the client answered with return code ${returnCode}`)
    } else if (awaiting === 'PUBACK') this.#done(now, PacketType.PUBACK, exchange)
  }

  /** Drops a message that the client will never accept: reports it, and acknowledges it to the broker. */
  #giveUp(now: Instant, delivery: OutboundMessage, reason: string, limit?: string, level?: 'debug'): void {
    const client = this.#client
    reportDropped(client, reason, limit, level)
    if (delivery.qos === 1) client.toBroker(now, responsePacket(PacketType.PUBACK, delivery.packetId))
    else if (delivery.qos === 2) client.toBroker(now, responsePacket(PacketType.PUBREC, delivery.packetId, 0x83))
    this.#close(now, undefined)
  }

  get waitsForPort(): boolean {
    return this.#client.host.ports.isWaiting(this.#client.route)
  }

  #done(now: Instant, type: typeof PacketType.PUBACK | typeof PacketType.PUBCOMP, exchange: Exchange): void {
    this.#client.toBroker(now, responsePacket(type, exchange.delivery?.packetId ?? exchange.msgId))
    this.#close(now, exchange)
  }

  /** The client is congested: its messages wait for T_WAIT, or until its next awake period [1.2 section 6.5]. */
  rest(now: Instant): void {
    const { host, state, replies, awakePeriod } = this.#client
    this.halted = 'rests'
    for (const { msgId, message } of this.exchanges.open)
      if (message.type !== MsgType.PUBREL && replies.retract(msgId, message.type)) this.#keepsBack = true
    // It has answered: exchanges whose attempts were used up are not given up because of this answer.
    this.retries.reset()
    if (state === 'active') this.retries.armFor(now, host.options.tWaitMs)
    else awakePeriod.close()
  }

  /** The topic id of this message cannot be recorded: retries for as long as the store is full. */
  #awaitStore(now: Instant, delivery: OutboundMessage): void {
    const client = this.#client
    const { topic: topicName } = delivery.message
    const reason = `no topic id for ${topicName}`
    client.host.notice({ code: 'store-full', level: 'error', client: client.key, peer: client.route, reason })
    this.exchanges.postpone(delivery, 'first')
    this.halted = this.exchanges.open.length > 0 ? 'lacks id' : 'rests'
    if (this.halted === 'rests') this.retries.restart(now)
    client.awakePeriod.close()
  }

  #registerNext(now: Instant): void {
    const { registry } = this.#client
    const topicId = registry.nextUnknown((name) => canRegister(this.#client, name))
    if (topicId === undefined) {
      this.#close(now, undefined)
      return
    }
    const topicName = registry.nameOf(topicId)!
    const msgId = registerId(this.#client, this.exchanges, topicName, 0)
    const message: Message = { type: MsgType.REGISTER, topicId, msgId, topicName }
    this.#open(now, { awaiting: 'REGACK', msgId, message, delivery: undefined })
    this.send(message, this.#client.topicIds.lsn)
  }

  send(message: Message, lsn = 0): void {
    this.#client.awakePeriod.spend(messageLength(message))
    this.#client.send(message, lsn)
  }

  #open(now: Instant, exchange: Exchange): void {
    this.exchanges.open.push(exchange)
    this.halted = undefined
    this.retries.restart(now)
  }

  /** Ends an exchange, or a message that needed none. The remaining exchanges get a full set of attempts. */
  #close(now: Instant, exchange: Exchange | undefined): void {
    if (exchange !== undefined) {
      this.exchanges.remove(exchange)
      if (this.exchanges.open.length === 0) this.#keepsBack = false
      if (!this.#keepsBack) this.halted = undefined
    }
    if (this.exchanges.open.length === 0) {
      if (this.halted !== 'rests') this.retries.disarm()
    } else if (exchange !== undefined && this.#client.isReachable && !this.#keepsBack) this.retries.restart(now)
  }
}
