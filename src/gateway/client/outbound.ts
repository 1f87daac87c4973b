import type { Instant } from '../../base/machine.ts'
import type { Delivery } from '../../mqtt/link.ts'
import { PacketType } from '../../mqtt/packets.ts'
import { typeName } from '../../mqttsn/describe.ts'
import { messageLength } from '../../mqttsn/encode.ts'
import { type Message, type MsgIdOnly, MsgType, type Register, ReturnCode, type TopicAck } from '../../mqttsn/messages.ts'
import { markUnknownTopicId, type TopicReference, topicReference } from '../topics/reference.ts'
import { OWN_REQUEST, responsePacket, unsubscribePacket } from '../translate.ts'
import type { GatewayClient } from './client.ts'
import { tellDropped, tellIgnored } from './client-notices.ts'
import { type Awaiting, type Exchange, Exchanges, isOfProof, isOwnRegister } from './exchange.ts'
import { publishId, registerId } from './message-ids.ts'
import { canRegister, hold, needsRegack, type OutboundMessage, publishOf } from './outbound-message.ts'
import { PoisonMessage } from './poison-message.ts'
import { Retries } from './retries.ts'

/**
 * Messages on their way to one client, one exchange each: REGISTER where the client does not know the topic's id, then PUBLISH, to the end of its
 * acknowledgement. While as many are open as may be, by default one, the link does not listen, so everything else waits in the session's
 * queue, in order. What is not answered is sent again together, and any progress begins the retries anew.
 */
export class Outbound {
  readonly #client: GatewayClient
  readonly exchanges = new Exchanges()
  readonly poison = new PoisonMessage()
  /** The client's own message, which waits for its PUBACK to leave first. */
  #own: OutboundMessage | undefined = undefined
  /** Nothing is begun: the client, or the store, is left alone; or one message lacks an id that a full store refuses, and those that are open go on. */
  halted: 'rests' | 'lacks id' | undefined = undefined
  readonly #retries: Retries

  constructor(client: GatewayClient) {
    this.#client = client
    this.#retries = new Retries(client, this)
  }

  /** What the client has not answered yet. */
  get awaiting(): Awaiting | undefined {
    return this.exchanges.open[0]?.awaiting
  }

  /** Something is on its way, or waits to be begun again. */
  get busy(): boolean {
    return this.exchanges.busy || this.#own !== undefined
  }

  /** Nothing more may be begun: the window is full, an id has to be known first, or the client is left alone. */
  get full(): boolean {
    const { exchanges, halted } = this
    if (halted !== undefined || this.#own !== undefined) return true
    if (!exchanges.busy) return false
    const { route, host } = this.#client
    // What found no place at its port is sent again before anything that comes behind it.
    const waits = exchanges.open.length > 0 && host.ports.hasRefused(route)
    return waits || this.windowFull || exchanges.register !== undefined || exchanges.renumbered
  }

  get windowFull(): boolean {
    const { length } = this.exchanges.open
    return length > 0 && length >= this.#client.host.options.inflightMessages
  }

  /** Topic ids of which the client was sent a REGISTER, or also a PUBLISH, that it has not answered. */
  topicIdsInUse(inPublishes: boolean): ReadonlySet<number> {
    return this.exchanges.topicIds(inPublishes)
  }

  /** A delivery from the broker. */
  begin(now: Instant, delivery: Delivery): void {
    this.#client.awakePeriod.delivered()
    const held = hold(delivery)
    if (this.#client.inbound.isUnanswered(held.message)) {
      this.#own = held
      this.#retries.watch(now)
    } else this.#start(now, held)
  }

  /** Begins whatever may begin by now. Only `GatewayClient` calls it, at the end of each of its entry points. */
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
    // What overtakes a frame that waits may find no room behind it, and would leave behind what comes later (ruling A15).
    const { again } = this.exchanges
    while (again.length > 0 && !this.full && !this.waitsForPort && !this.#client.awaitsStore) {
      const { awaiting, held, msgId } = again.shift()!
      if (awaiting === 'PUBCOMP') this.release(now, msgId)
      else if (held !== undefined) this.#start(now, { ...held, dup: held.dup || awaiting !== 'REGACK', registeredAgain: false })
    }
  }

  /** Tells the client all ids of its session that it may have forgotten, then goes on with what is open (`register: eager`, ruling A10). */
  registerAll(now: Instant): void {
    this.#interrupt()
    this.#registerNext(now)
  }

  /** The client sleeps: what is open waits with it. */
  suspend(): void {
    this.#retries.disarm()
  }

  /** The client listens again: what is open goes on from its beginning, with what the client may have forgotten. */
  resume(now: Instant): void {
    const first = this.exchanges.open[0]
    if (first !== undefined && isOwnRegister(first)) this.registerAll(now)
    else if (this.busy) this.#interrupt()
  }

  /** What is open is to be begun again; an id that was only told is told again in any case. */
  #interrupt(): void {
    this.exchanges.interrupt()
    this.halted = undefined
    this.#retries.reset()
  }

  /** The connection is over: what was open is the broker's to send again, but for QoS 0, which it has handed out. */
  abandon(): void {
    for (const held of this.busy ? [...this.exchanges.held, this.#own] : [])
      if (held?.qos === 0)
        tellDropped(this.#client, `the conversation ended before the client knew the id of ${held.message.topic}`)
    this.exchanges.clear()
    this.#own = undefined
    this.halted = undefined
    this.#retries.reset()
    this.#retries.isIgnored = false
  }

  /** The broker's PUBREL, recorded by now: it goes to the client until PUBCOMP comes. */
  release(now: Instant, msgId: number): void {
    const message: Message = { type: MsgType.PUBREL, msgId }
    const known = this.exchanges.ofQos2(msgId)
    if (known === undefined && this.full) {
      // An answer to a PUBREC that nobody waits for, in the middle of something else: said once, the client asks again if it is lost.
      this.send(message)
      return
    }
    const exchange: Exchange = { awaiting: 'PUBCOMP', msgId, message, held: undefined }
    if (known !== undefined) this.exchanges.replace(known, exchange)
    else this.exchanges.open.push(exchange)
    // If PUBREC crossed our PINGRESP, the sleeper hears the answer when it wakes.
    if (!this.#client.isReachable) return
    this.#retries.restart(now)
    this.send(message)
  }

  /** REGACK, PUBACK, PUBREC or PUBCOMP from the client. What answers nothing that is open is ignored. */
  answered(now: Instant, message: TopicAck | MsgIdOnly): void {
    const { type, msgId } = message
    const exchange = this.exchanges.answeredBy(message)
    const ahead = exchange === undefined ? this.exchanges.acknowledgedAhead(message) : undefined
    // What still waits of it must not leave because of the answer, which may prove the address.
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
      tellIgnored(this.#client, `${typeName(type)} with message id ${msgId} answers nothing that is open`)
      // PUBREC again: our PUBREL was lost, and its exchange repeats it; PUBREC for nothing we know ends with PUBREL all the same.
      if (type === MsgType.PUBREC && !this.busy) this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
      return
    }
    this.#retries.isIgnored = false
    this.poison.answered(exchange)
    if (type === MsgType.REGACK) {
      this.#registered(now, exchange, message.returnCode)
      return
    }
    // After PUBREC the client has the message, even if it refuses a late copy.
    if (type === MsgType.PUBACK && exchange.answered !== true) this.#acknowledged(now, exchange, message.returnCode)
    else if (type === MsgType.PUBREC && exchange.awaiting === 'PUBREC') {
      // The broker records it, and its PUBREL comes back when that is durable.
      this.exchanges.replace(exchange, { ...exchange, answered: true })
      this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
    } else if (type === MsgType.PUBCOMP && exchange.awaiting === 'PUBCOMP') {
      this.#done(now, PacketType.PUBCOMP, exchange)
    }
  }

  /** PUBACK or PUBREC for a message whose topic is being registered again: the REGISTER needs no answer any more. */
  #answeredAhead(now: Instant, { type, msgId }: TopicAck | MsgIdOnly, register: Exchange): void {
    if (type === MsgType.PUBACK) {
      this.#client.toBroker(now, responsePacket(PacketType.PUBACK, register.held!.packetId))
      this.#close(now, register)
    } else {
      // Its PUBREL comes back from the broker, as for any PUBREC.
      this.exchanges.replace(register, { ...register, awaiting: 'PUBREC', msgId, answered: true })
      this.#client.toBroker(now, responsePacket(PacketType.PUBREC, msgId))
    }
  }

  /** Ends the REGISTER that is open if SUBACK or REGACK has told its id meanwhile, or if it was for the proof of an address that has proved itself. */
  #endNeedlessRegister(now: Instant): void {
    const client = this.#client
    const { register } = this.exchanges
    if (register === undefined || this.halted === 'rests') return
    const { held } = register
    const { topicId, topicName } = register.message as Register
    if (held === undefined) {
      if (!client.registry.knows(topicId) || client.registry.isTrusted(topicId)) return
      this.exchanges.remove(register)
      client.replies.retract(register.msgId, MsgType.REGISTER)
      this.#registerNext(now)
      return
    }
    // That more was earned meanwhile is no reason to send a second message before the first is answered.
    if (register.forAddress === true && !client.host.isProven(client.route)) return
    const reference = topicReference(client, topicName, held.registeredAgain)
    if (reference === undefined || needsRegack(now, client, held, reference)) return
    this.exchanges.remove(register)
    client.replies.retract(register.msgId, MsgType.REGISTER)
    this.#publish(now, held, reference)
  }

  /** T_retry has passed. */
  timedOut(now: Instant): void {
    this.#retries.timedOut(now)
  }

  /** The client has sent something; what it answers is no longer open. */
  heard(now: Instant): void {
    this.#retries.heard(now)
  }

  /** Looks again after T_retry, although nothing is open: an awake period that waits for the store must end too. */
  watch(now: Instant): void {
    this.#retries.watch(now)
  }

  /** What waited for its port, or for the store, is on its way: only now its answer can be waited for. */
  left(now: Instant): void {
    if (this.exchanges.open.length > 0 && this.halted !== 'rests') this.#retries.left(now)
  }

  /** The client is there and does not answer this: it is given up (ruling A28). */
  giveUpExchange(now: Instant, { awaiting, held, message, msgId }: Exchange, reason: string): void {
    const client = this.#client
    if (awaiting === 'PUBCOMP') {
      // The client has the message: only the end of its acknowledgement is missing.
      client.toBroker(now, responsePacket(PacketType.PUBCOMP, msgId))
      this.#close(now, undefined)
      return
    }
    if (message.type === MsgType.REGISTER) {
      const { topicId, topicName } = message
      // Otherwise it was for the sake of the address.
      if (!client.registry.knows(topicId) || client.registry.isTrusted(topicId))
        client.registry.markUnanswered(topicName, topicId, msgId)
    }
    if (held === undefined) this.#registerNext(now)
    else this.#giveUp(now, held, `${reason}: message on ${held.message.topic}`)
  }

  /** REGACK for a REGISTER that was given up. True if it was that. */
  #answeredLate(now: Instant, { topicId, msgId, returnCode }: TopicAck): boolean {
    const { registry } = this.#client
    const late = registry.answeredLate(topicId, msgId)
    if (late === undefined) {
      registry.answeredStale(topicId)
      return false
    }
    if (returnCode === ReturnCode.ACCEPTED) registry.markKnown(late.topicId)
    else if (returnCode !== ReturnCode.CONGESTION) this.#refused(now, late.topicName)
    return true
  }

  /** Section 6.10: this corresponds to an unsubscribe from that name; from a wildcard nobody can unsubscribe like that. */
  #refused(now: Instant, topicName: string): void {
    this.#client.registry.markRefused(topicName)
    this.#client.toBroker(now, unsubscribePacket(OWN_REQUEST, topicName))
  }

  #start(now: Instant, held: OutboundMessage): void {
    const client = this.#client
    const { topic } = held.message
    if (this.#isOutdated(now, held)) return
    if (client.registry.refuses(topic)) {
      this.#giveUp(now, held, `the client has refused to register ${topic}`)
      return
    }
    const reference = topicReference(this.#client, topic, held.registeredAgain)
    if (reference !== undefined) {
      this.#publish(now, held, reference)
      return
    }
    if (client.registry.ignores(topic)) {
      this.#giveUp(now, held, `the client did not answer REGISTER for ${topic}`)
      return
    }
    this.#register(now, held)
  }

  /** Tells the client the id of a topic; its message follows. */
  #register(now: Instant, held: OutboundMessage, forAddress = false): void {
    const client = this.#client
    const { topic } = held.message
    if (!canRegister(client, topic)) {
      this.#giveUp(now, held, `${topic} is too long for REGISTER`)
      return
    }
    const assigned = client.topicIds.offered(topic)
    if (assigned === 'store full') {
      this.#awaitStore(now, held)
      return
    }
    if (typeof assigned === 'string') {
      this.#giveUp(now, held, `no topic id for ${topic}: ${assigned}`)
      return
    }
    const msgId = registerId(client, this.exchanges, topic, held.packetId)
    const message: Message = { type: MsgType.REGISTER, topicId: assigned.topicId, msgId, topicName: topic }
    this.#open(now, { awaiting: 'REGACK', msgId, message, held, ...(forAddress && { forAddress }) })
    this.send(message, assigned.lsn)
  }

  /** Gives up a message that has expired before it was ever sent: it must not begin its way now (MQTT-3.3.2-5). */
  #isOutdated(now: Instant, held: OutboundMessage): boolean {
    const { expiresAt, topic } = held.message
    if (expiresAt === undefined || expiresAt > now || held.dup) return false
    this.#giveUp(now, held, `expired on ${topic}`, undefined, 'debug')
    return true
  }

  #publish(now: Instant, delivery: OutboundMessage, reference: TopicReference): void {
    const { message, qos } = delivery
    const client = this.#client
    if (this.#isOutdated(now, delivery)) return
    let held = delivery
    let publish = publishOf(held, reference)
    const octets = messageLength(publish)
    if (octets > client.host.ports.roomTo(client.route)) {
      this.#giveUp(now, held, `${message.payloadLength} octets on ${message.topic} are too long for a datagram`, 'sn_max_frame')
      return
    }
    if (needsRegack(now, client, held, reference)) {
      this.#register(now, held, qos > 0 || !client.registry.isTrusted(reference.topicId))
      return
    }
    const msgId = publishId(client, this.exchanges, held, octets)
    if (msgId !== held.msgId) {
      held = { ...held, msgId }
      publish = publishOf(held, reference)
    }
    if (qos > 0) this.#open(now, { awaiting: qos === 1 ? 'PUBACK' : 'PUBREC', msgId, message: publish, held })
    this.send(publish)
    if (qos === 0) this.#close(now, undefined)
  }

  #registered(now: Instant, exchange: Exchange, returnCode: number): void {
    if (returnCode === ReturnCode.CONGESTION) {
      this.rest(now)
      return
    }
    this.halted = undefined
    const { held } = exchange
    const { registry } = this.#client
    const { topicName } = exchange.message as Register
    const topicId = registry.idOf(topicName)
    // What it was told before a restart it has forgotten, or does not want.
    if (returnCode !== ReturnCode.ACCEPTED && topicId !== undefined && registry.isTrusted(topicId)) registry.markUnknown(topicId)
    const known = held === undefined ? undefined : topicReference(this.#client, topicName, held.registeredAgain)
    if (held !== undefined && known !== undefined && returnCode !== ReturnCode.ACCEPTED) {
      // It was asked for the sake of its address, and does not need the id.
      if (!this.#client.isReachable) return
      this.exchanges.remove(exchange)
      this.#publish(now, held, known)
      return
    }
    if (returnCode !== ReturnCode.ACCEPTED || topicId === undefined) {
      this.#refused(now, topicName)
    } else registry.markKnown(topicId)
    // REGACK crossed our PINGRESP: its message goes out, or the next id is told, at the next wake.
    if (!this.#client.isReachable && (held === undefined || (topicId !== undefined && !registry.refuses(topicName)))) return
    this.exchanges.remove(exchange)
    if (held === undefined) {
      this.#registerNext(now)
      return
    }
    if (topicId === undefined || registry.refuses(topicName)) {
      this.#giveUp(now, held, `the client refused to register ${topicName}`)
      return
    }
    this.#publish(now, held, { topicIdType: 'normal', topicId })
  }

  #acknowledged(now: Instant, exchange: Exchange, returnCode: number): void {
    const { awaiting, held } = exchange
    if (awaiting !== 'PUBACK' && awaiting !== 'PUBREC') return
    if (returnCode === ReturnCode.INVALID_TOPIC_ID && held !== undefined && !held.registeredAgain) {
      if (!this.#client.isReachable) return
      this.exchanges.remove(exchange)
      this.#start(now, { ...held, registeredAgain: true })
      return
    }
    if (returnCode === ReturnCode.CONGESTION) {
      this.rest(now)
      return
    }
    this.halted = undefined
    if (returnCode !== ReturnCode.ACCEPTED) {
      this.exchanges.remove(exchange)
      this.#giveUp(now, held!, `the client answered with return code ${returnCode}`)
      return
    }
    if (awaiting === 'PUBACK') this.#done(now, PacketType.PUBACK, exchange)
  }

  /** The client will never take this message: it counts as delivered, and that is told. */
  #giveUp(now: Instant, held: OutboundMessage, reason: string, limit?: string, level?: 'debug'): void {
    const client = this.#client
    tellDropped(client, reason, limit, level)
    if (held.qos === 1) client.toBroker(now, responsePacket(PacketType.PUBACK, held.packetId))
    else if (held.qos === 2) client.toBroker(now, responsePacket(PacketType.PUBREC, held.packetId, 0x83))
    this.#close(now, undefined)
  }

  get waitsForPort(): boolean {
    return this.#client.host.ports.isWaiting(this.#client.route)
  }

  #done(now: Instant, type: typeof PacketType.PUBACK | typeof PacketType.PUBCOMP, exchange: Exchange): void {
    this.#client.toBroker(now, responsePacket(type, exchange.held?.packetId ?? exchange.msgId))
    this.#close(now, exchange)
  }

  /** The client is congested: it is left alone for T_WAIT, or until its next awake period, and its messages wait [1.2 section 6.5]. */
  rest(now: Instant): void {
    const { host, state, replies, awakePeriod } = this.#client
    this.halted = 'rests'
    for (const { msgId, message } of this.exchanges.open)
      if (message.type !== MsgType.PUBREL) replies.retract(msgId, message.type)
    if (state === 'active') this.#retries.armFor(now, host.options.tWaitMs)
    else awakePeriod.close()
  }

  /** The topic id of this message cannot be recorded: it is tried again, for as long as it takes. */
  #awaitStore(now: Instant, held: OutboundMessage): void {
    const client = this.#client
    const { topic: topicName } = held.message
    const reason = `no topic id for ${topicName}`
    client.host.notice({ code: 'store-full', level: 'error', client: client.key, peer: client.route, reason })
    this.exchanges.postpone(held, 'first')
    this.halted = this.exchanges.open.length > 0 ? 'lacks id' : 'rests'
    if (this.halted === 'rests') this.#retries.restart(now)
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
    this.#open(now, { awaiting: 'REGACK', msgId, message, held: undefined })
    this.send(message, this.#client.topicIds.lsn)
  }

  send(message: Message, lsn = 0): void {
    this.#client.awakePeriod.spend(messageLength(message))
    this.#client.send(message, lsn)
  }

  #open(now: Instant, exchange: Exchange): void {
    this.exchanges.open.push(exchange)
    this.halted = undefined
    this.#retries.restart(now)
  }

  /** An exchange is over, or a message needed none: what is still open has all its attempts again. */
  #close(now: Instant, exchange: Exchange | undefined): void {
    if (exchange !== undefined) {
      this.exchanges.remove(exchange)
      this.halted = undefined
    }
    if (this.exchanges.open.length === 0) {
      if (this.halted !== 'rests') this.#retries.disarm()
    } else if (exchange !== undefined && this.#client.isReachable) this.#retries.restart(now)
  }
}
