import { SmallFifo } from '../../base/small-fifo.ts'
import { type Message, MsgType } from '../../mqttsn/messages.ts'
import type { Lsn } from '../../store/store.ts'
import { conveyedTopicId } from '../ports/ports.ts'
import type { GatewayClient } from './client.ts'
import { reportDropped } from './client-notices.ts'

/**
 * Maximum number of replies that wait for the store per client. Further requests are not answered; the client retransmits them.
 */
const WAITING_MAX = 64

interface Waiting {
  readonly message: Message
  readonly lsn: Lsn
}

/** The release gate of one client: messages to it leave in order, each when the record that it depends on is durable. */
export class Replies {
  readonly #client: GatewayClient
  #waiting: SmallFifo<Waiting> | undefined = undefined
  #orphaned = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** True while replies are queued; a message sent now would queue behind them. */
  get blocked(): boolean {
    return this.#waiting !== undefined && this.#waiting.length > 0
  }

  /** True if nothing is queued, and no message has to be restarted. */
  get isIdle(): boolean {
    return !this.blocked && !this.#orphaned
  }

  send(message: Message, lsn: Lsn): void {
    const { host, route, key } = this.#client
    if (lsn <= host.store.durable && !this.blocked) {
      this.#transmit(message)
      return
    }
    this.#waiting ??= new SmallFifo()
    if (this.#waiting.length >= WAITING_MAX) {
      const reason = `${WAITING_MAX} replies wait for the store`
      host.notice({ code: 'limit-reached', level: 'warn', client: key, peer: route, reason })
      this.#markUnsent(message)
      return
    }
    this.#waiting.push({ message, lsn })
    host.awaitDurable(this.#client)
  }

  /**
   * More records are durable: sends what waited for them. Returns true if that includes a message that the client has to answer.
   */
  release(): boolean {
    const { host } = this.#client
    const waiting = this.#waiting
    let left = false
    for (let head = waiting?.peek(); head !== undefined; head = waiting?.peek()) {
      if (head.lsn > host.store.durable) {
        host.awaitDurable(this.#client)
        return left
      }
      waiting!.shift()
      this.#transmit(head.message)
      left ||= isMessage(head.message) || head.message.type === MsgType.PUBREL
    }
    return left
  }

  /** The client sleeps or is gone: drops queued PUBLISHes and REGISTERs, which their exchanges restart. Answers stay queued. */
  withdraw(): void {
    this.#drop(isMessage, 'the client went to sleep, or away, before QoS 0 could be sent')
  }

  /** True if an answer of this type is still queued, here or at the port. */
  hasQueued(type: MsgType): boolean {
    for (const { message } of this.#waiting ?? []) if (message.type === type) return true
    const { host, route } = this.#client
    return host.ports.hasQueued(route, type)
  }

  /** Removes queued answers of this type. */
  cancel(type: MsgType): void {
    this.#waiting?.filter(({ message }) => message.type !== type)
    const { host, route } = this.#client
    host.ports.cancel(route, type)
  }

  /**
   * The client has answered this message, or need not: copies still queued, here or at the port, must not follow that answer
   * (MQTT-4.3.3-6). True if there was one.
   */
  retract(msgId: number, type: MsgType): boolean {
    const gone = this.#waiting?.filter(({ message }) => message.type !== type || !('msgId' in message) || message.msgId !== msgId)
    const { host, route } = this.#client
    return host.ports.retract(route, msgId, type) || (gone ?? 0) > 0
  }

  /** The client has a new connection: drops the replies to requests of the old one. */
  clear(): void {
    this.#drop(() => true, 'the client connected again before QoS 0 could be sent')
  }

  #drop(gone: (message: Message) => boolean, reason: string): void {
    this.#waiting?.filter(({ message }) => {
      if (!gone(message)) return true
      this.#markUnsent(message)
      if (message.type === MsgType.PUBLISH && message.qos <= 0) reportDropped(this.#client, reason)
      return false
    })
  }

  #transmit(message: Message): void {
    const { host, route } = this.#client
    if (host.transmit(route, message)) {
      host.sensorStates.figures?.sent(this.#client.seat, message)
      return
    }
    this.#markUnsent(message)
    const id = conveyedTopicId(message)
    if (id !== 0) this.#takeBack(id)
  }

  /**
   * An answer that will never leave conveys no topic id, so the client does not know it. (For a predefined or short id this may
   * hit an equal normal id, which is then registered once more than necessary.)
   */
  #markUnsent(message: Message): void {
    const id = conveyedTopicId(message)
    if (id !== 0) this.#client.registry.markUnknown(id)
  }

  /** Drops queued messages under this id: the message that conveys it will not precede them. */
  #takeBack(id: number): void {
    this.#waiting?.filter(({ message }) => {
      if (message.type !== MsgType.PUBLISH || message.topicIdType !== 'normal' || message.topicId !== id) return true
      this.#orphaned = true
      if (message.qos <= 0) reportDropped(this.#client, 'what tells the id of its topic found no room')
      return false
    })
  }

  /** Returns true if messages depended on such an answer and have to be restarted. Resets the flag. */
  takeOrphaned(): boolean {
    const before = this.#orphaned
    this.#orphaned = false
    return before
  }
}

const isMessage = ({ type }: Message): boolean => type === MsgType.PUBLISH || type === MsgType.REGISTER
