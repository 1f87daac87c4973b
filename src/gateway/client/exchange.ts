import { type Message, type MsgIdOnly, MsgType, type Register, ReturnCode, type TopicAck } from '../../mqttsn/messages.ts'
import type { OutboundMessage } from './outbound-message.ts'

/** The reply that the gateway waits for from a client. */
export type Awaiting = 'REGACK' | 'PUBACK' | 'PUBREC' | 'PUBCOMP'

/** A message that was sent and has not been answered yet [1.2 section 6.13]. */
export interface Exchange {
  readonly awaiting: Awaiting
  readonly msgId: number
  /** The message to retransmit. */
  readonly message: Message
  /** The delivery that this exchange is part of, if any. */
  readonly delivery: OutboundMessage | undefined
  /** A REGISTER of a topic id that the client knows already, sent only to validate its address. */
  readonly forAddress?: true
  /** PUBREC was received; the broker has not recorded it yet. */
  readonly answered?: true
}

/** The open exchanges of one client. */
export class OpenExchanges {
  /** Sent and not fully answered, in the order in which they were sent. */
  open: Exchange[] = []
  /** To be restarted before anything new is sent. */
  again: Exchange[] = []
  /** The last message id of a REGISTER that was not chosen to validate an address. */
  lastRegisterId: number | undefined = undefined

  get busy(): boolean {
    return this.open.length > 0 || this.again.length > 0
  }

  /** The deliveries of all exchanges; `undefined` for an exchange that belongs to none. */
  get deliveries(): (OutboundMessage | undefined)[] {
    return [...this.open, ...this.again].map(({ delivery }) => delivery)
  }

  /** The open REGISTER. There is at most one. */
  get register(): Exchange | undefined {
    return this.open.find(isRegister)
  }

  /**
   * Returns the exchange that this REGACK, PUBACK, PUBREC or PUBCOMP answers. The topic id of a REGACK is compared too, because
   * a REGACK delayed across a restart may carry the message id of another REGISTER.
   */
  answeredBy(message: TopicAck | MsgIdOnly): Exchange | undefined {
    const { type, msgId } = message
    if (type === MsgType.REGACK)
      return this.open.find((each) => each.msgId === msgId && isRegister(each) && isAbout(each, message.topicId))
    const open = this.open.find((each) => each.msgId === msgId && !isRegister(each))
    return (
      open ??
      (type === MsgType.PUBCOMP ? this.again.find((each) => each.msgId === msgId && each.awaiting === 'PUBCOMP') : undefined)
    )
  }

  /**
   * Returns the open REGISTER whose message this PUBACK or PUBREC acknowledges: the message had been sent before, on an earlier
   * connection or under another topic id.
   */
  acknowledgedAhead(message: TopicAck | MsgIdOnly): Exchange | undefined {
    const { type, msgId } = message
    const isPuback = type === MsgType.PUBACK && message.returnCode === ReturnCode.ACCEPTED
    if (!isPuback && type !== MsgType.PUBREC) return undefined
    return this.open.find(({ awaiting, delivery }) => {
      const wasSent = delivery !== undefined && (delivery.dup || delivery.registeredAgain)
      return awaiting === 'REGACK' && wasSent && delivery.qos === (isPuback ? 1 : 2) && delivery.msgId === msgId
    })
  }

  /** Returns the exchange of the QoS 2 message with this id. */
  ofQos2(msgId: number): Exchange | undefined {
    return this.open.find(({ awaiting, msgId: id }) => (awaiting === 'PUBREC' || awaiting === 'PUBCOMP') && id === msgId)
  }

  /**
   * A message was sent under a message id other than its packet id. The next delivery could have that id as its packet id, so
   * none may start until this one is finished.
   */
  get renumbered(): boolean {
    return this.open.some(({ delivery }) => delivery !== undefined && delivery.msgId !== delivery.packetId)
  }

  /** True if an open exchange, or one to be restarted, uses this message id. */
  isTaken(msgId: number): boolean {
    return [...this.open, ...this.again].some((each) => each.msgId === msgId)
  }

  /** Returns the topic ids in open REGISTERs, with `inPublishes` also those in open PUBLISHes. */
  topicIds(inPublishes: boolean): ReadonlySet<number> {
    const ids = new Set<number>()
    for (const { message } of this.open) {
      const inUse = message.type === MsgType.PUBLISH && inPublishes && message.topicIdType === 'normal'
      if (inUse || message.type === MsgType.REGISTER) ids.add(message.topicId)
    }
    return ids
  }

  replace(exchange: Exchange, by: Exchange): void {
    this.open[this.open.indexOf(exchange)] = by
  }

  remove(exchange: Exchange): void {
    for (const list of [this.open, this.again]) {
      const at = list.indexOf(exchange)
      if (at >= 0) list.splice(at, 1)
    }
  }

  /**
   * Marks open exchanges for a restart. One that waits for the broker's PUBREL goes on: a PUBLISH is not resent after its PUBREC
   * (MQTT-4.3.3-6). A REGISTER without a delivery is dropped; it is sent again in any case.
   */
  interrupt(): void {
    const restarted = this.open.filter((exchange) => exchange.answered !== true && !isOwnRegister(exchange))
    this.again = [...restarted, ...this.again]
    this.open = this.open.filter(({ answered }) => answered === true)
  }

  /** Queues a delivery of which nothing has been sent yet, to start before anything new. */
  postpone(delivery: OutboundMessage, place: 'first' | 'last'): void {
    const message: Message = { type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName: delivery.message.topic }
    const exchange: Exchange = { awaiting: 'REGACK', msgId: 0, message, delivery }
    if (place === 'last') this.again.push(exchange)
    else {
      // Behind those that were refused before it.
      const at = this.again.findIndex((other) => other.delivery?.registeredAgain !== true)
      this.again.splice(at < 0 ? this.again.length : at, 0, exchange)
    }
  }

  clear(): void {
    this.open = []
    this.again = []
  }

  /**
   * Returns the next message id for a REGISTER, from a counter of its own; never that of an open exchange (ruling A14). The
   * counter starts at a random value (`chance` in [0, 1)), because answers to REGISTERs of a previous process may still arrive.
   */
  nextRegisterId(packetId: number, chance: () => number): number {
    let id = this.lastRegisterId ?? Math.floor(chance() * 0xffff)
    do id = id === 0xffff ? 1 : id + 1
    while (id === packetId || this.isTaken(id))
    this.lastRegisterId = id
    return id
  }
}

const isRegister = ({ awaiting }: Exchange): boolean => awaiting === 'REGACK'

/** Some clients omit the topic id. */
const isAbout = ({ message }: Exchange, topicId: number): boolean => topicId === 0 || (message as Register).topicId === topicId

/** True for a REGISTER that belongs to no delivery. */
export const isOwnRegister = ({ awaiting, delivery }: Exchange): boolean => awaiting === 'REGACK' && delivery === undefined

/**
 * True for an acknowledgement whose message id may validate the address. The id is 0 where the client refuses a QoS 0 message.
 */
export const isOfProof = ({ type, msgId }: TopicAck | MsgIdOnly): boolean =>
  (type === MsgType.REGACK || type === MsgType.PUBACK) && msgId !== 0
