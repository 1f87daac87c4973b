import { type Message, type MsgIdOnly, MsgType, type Register, ReturnCode, type TopicAck } from '../../mqttsn/messages.ts'
import type { OutboundMessage } from './outbound-message.ts'

/** What the gateway waits for from a client. */
export type Awaiting = 'REGACK' | 'PUBACK' | 'PUBREC' | 'PUBCOMP'

/** One message that was sent and not yet answered [1.2 section 6.13]. */
export interface Exchange {
  readonly awaiting: Awaiting
  readonly msgId: number
  /** What is sent again. */
  readonly message: Message
  /** The delivery that this is part of, if there is one. */
  readonly held: OutboundMessage | undefined
  /** A REGISTER of a topic that the client knows, for the proof of its address alone. */
  readonly forAddress?: true
  /** PUBREC has come, and the broker has still to record it. */
  readonly answered?: true
}

/** The exchanges of one client. */
export class Exchanges {
  /** Sent and not fully answered, in order. */
  open: Exchange[] = []
  /** To be begun again, before anything new. */
  again: Exchange[] = []
  #lastRegisterId: number | undefined = undefined

  get busy(): boolean {
    return this.open.length > 0 || this.again.length > 0
  }

  /** The messages that they are about; `undefined` for those that are about none. */
  get held(): (OutboundMessage | undefined)[] {
    return [...this.open, ...this.again].map(({ held }) => held)
  }

  /** The REGISTER that is open: there is one at a time. */
  get register(): Exchange | undefined {
    return this.open.find(isRegister)
  }

  /** What this REGACK, PUBACK, PUBREC or PUBCOMP answers. A REGACK from before a restart may have the message id of another REGISTER. */
  answeredBy(message: TopicAck | MsgIdOnly): Exchange | undefined {
    const { type, msgId } = message
    if (type === MsgType.REGACK)
      return this.open.find((each) => each.msgId === msgId && isRegister(each) && isAbout(each, message.topicId))
    return this.open.find((each) => each.msgId === msgId && !isRegister(each))
  }

  /** The open REGISTER of a message that this PUBACK or PUBREC acknowledges, because it was sent before with another id, or in another connection. */
  acknowledgedAhead(message: TopicAck | MsgIdOnly): Exchange | undefined {
    const { type, msgId } = message
    const isPuback = type === MsgType.PUBACK && message.returnCode === ReturnCode.ACCEPTED
    if (!isPuback && type !== MsgType.PUBREC) return undefined
    return this.open.find(({ awaiting, held }) => {
      const wasSent = held !== undefined && (held.dup || held.registeredAgain)
      return awaiting === 'REGACK' && wasSent && held.qos === (isPuback ? 1 : 2) && held.msgId === msgId
    })
  }

  /** The exchange of a QoS 2 message with this id. */
  ofQos2(msgId: number): Exchange | undefined {
    return this.open.find(({ awaiting, msgId: id }) => (awaiting === 'PUBREC' || awaiting === 'PUBCOMP') && id === msgId)
  }

  /** A message is on its way with another id than its packet id, which might be the packet id of the next one: until it is over, there is no next one. */
  get renumbered(): boolean {
    return this.open.some(({ held }) => held !== undefined && held.msgId !== held.packetId)
  }

  /** Something that is open, or to be begun again, has this message id. */
  isTaken(msgId: number): boolean {
    return [...this.open, ...this.again].some((each) => each.msgId === msgId)
  }

  /** Those in REGISTER, or also in PUBLISH. */
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
    const at = this.open.indexOf(exchange)
    if (at >= 0) this.open.splice(at, 1)
  }

  /** What is open is to be begun again; a REGISTER that no message waits for is sent again in any case. */
  interrupt(): void {
    this.again = [...this.open.filter((exchange) => !isOwnRegister(exchange)), ...this.again]
    this.open = []
  }

  /** A delivery of which nothing was sent is to be begun before anything new. */
  postpone(held: OutboundMessage, place: 'first' | 'last'): void {
    const message: Message = { type: MsgType.REGISTER, topicId: 0, msgId: 0, topicName: held.message.topic }
    const exchange: Exchange = { awaiting: 'REGACK', msgId: 0, message, held }
    if (place === 'first') this.again.unshift(exchange)
    else this.again.push(exchange)
  }

  clear(): void {
    this.open = []
    this.again = []
  }

  /**
   * Message ids of our REGISTERs: their own count, and never that of a message on its way (ruling A14). It begins by chance, in [0, 1): answers to the
   * REGISTERs of a process before this one may still be on their way.
   */
  nextRegisterId(packetId: number, chance: () => number): number {
    let id = this.#lastRegisterId ?? Math.floor(chance() * 0xffff)
    do id = id === 0xffff ? 1 : id + 1
    while (id === packetId || this.isTaken(id))
    this.#lastRegisterId = id
    return id
  }
}

const isRegister = ({ awaiting }: Exchange): boolean => awaiting === 'REGACK'

/** Some clients leave the topic id out. */
const isAbout = ({ message }: Exchange, topicId: number): boolean => topicId === 0 || (message as Register).topicId === topicId

/** A REGISTER that no message waits for. */
export const isOwnRegister = ({ awaiting, held }: Exchange): boolean => awaiting === 'REGACK' && held === undefined

/** What may prove an address by its message id, which is 0 where the client refuses a message with QoS 0. */
export const isOfProof = ({ type, msgId }: TopicAck | MsgIdOnly): boolean =>
  (type === MsgType.REGACK || type === MsgType.PUBACK) && msgId !== 0
