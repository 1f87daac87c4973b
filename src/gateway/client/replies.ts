import { Fifo } from '../../base/fifo.ts'
import { type Message, MsgType } from '../../mqttsn/messages.ts'
import type { Lsn } from '../../store/store.ts'
import { idToldBy } from '../ports/ports.ts'
import type { GatewayClient } from './client.ts'
import { tellDropped } from './client-notices.ts'

/** Replies that may wait for the store for one client. A client that asks more is not answered, and asks again. */
const WAITING_MAX = 64

interface Waiting {
  readonly message: Message
  readonly lsn: Lsn
}

/** The release gate of one client: what it is told leaves in order, each message when the record that it depends on is durable. */
export class Replies {
  readonly #client: GatewayClient
  #waiting: Fifo<Waiting> | undefined = undefined
  #reliedOn = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Something waits: what is sent now would wait behind it. */
  get blocked(): boolean {
    return this.#waiting !== undefined && this.#waiting.length > 0
  }

  send(message: Message, lsn: Lsn): void {
    const { host, route, key } = this.#client
    if (lsn <= host.store.durable && !this.blocked) {
      this.#transmit(message)
      return
    }
    this.#waiting ??= new Fifo()
    if (this.#waiting.length >= WAITING_MAX) {
      const reason = `${WAITING_MAX} replies wait for the store`
      host.notice({ code: 'limit-reached', level: 'warn', client: key, peer: route, reason })
      this.#unsaid(message)
      return
    }
    this.#waiting.push({ message, lsn })
    host.awaitDurable(this.#client)
  }

  /** More is durable: what waited for it leaves. Returns whether that was a message which the client has to answer. */
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

  /** The client sleeps, or is gone: answers go on waiting, messages do not, because what has a exchange is begun again by it. */
  withdraw(): void {
    this.#drop(isMessage, 'the client went to sleep, or away, before QoS 0 could be sent')
  }

  /** An answer of this type still waits, here or at its port. */
  owes(type: MsgType): boolean {
    for (const { message } of this.#waiting ?? []) if (message.type === type) return true
    const { host, route } = this.#client
    return host.ports.owes(route, type)
  }

  /** Takes back answers of this type. */
  unsay(type: MsgType): void {
    this.#waiting?.filter(({ message }) => message.type !== type)
    const { host, route } = this.#client
    host.ports.unsay(route, type)
  }

  /** The client has answered this message, or need not: what still waits of it, here or at its port, must not follow the answer to that (MQTT-4.3.3-6). */
  retract(msgId: number, type: MsgType): void {
    this.#waiting?.filter(({ message }) => message.type !== type || !('msgId' in message) || message.msgId !== msgId)
    const { host, route } = this.#client
    host.ports.retract(route, msgId, type)
  }

  /** A new connection: what was owed to the old one is not what the client asks for now. */
  clear(): void {
    this.#drop(() => true, 'the client connected anew before QoS 0 could be sent')
  }

  #drop(gone: (message: Message) => boolean, reason: string): void {
    this.#waiting?.filter(({ message }) => {
      if (!gone(message)) return true
      this.#unsaid(message)
      if (message.type === MsgType.PUBLISH && message.qos <= 0) tellDropped(this.#client, reason)
      return false
    })
  }

  #transmit(message: Message): void {
    const { host, route } = this.#client
    if (host.transmit(route, message)) return
    this.#unsaid(message)
    const id = idToldBy(message)
    if (id !== 0) this.#takeBack(id)
  }

  /** An answer that will never leave tells no topic id. (That of a predefined or short name may be another's number, which is then registered once more than it need be.) */
  #unsaid(message: Message): void {
    const id = idToldBy(message)
    if (id !== 0) this.#client.registry.markUnknown(id)
  }

  /** Messages under this id were to follow what tells it. */
  #takeBack(id: number): void {
    this.#waiting?.filter(({ message }) => {
      if (message.type !== MsgType.PUBLISH || message.topicIdType !== 'normal' || message.topicId !== id) return true
      this.#reliedOn = true
      if (message.qos <= 0) tellDropped(this.#client, 'what tells the id of its topic found no room')
      return false
    })
  }

  /** Whether messages waited behind such an answer: they are to be begun again. Asked once. */
  takeReliedOn(): boolean {
    const before = this.#reliedOn
    this.#reliedOn = false
    return before
  }
}

const isMessage = ({ type }: Message): boolean => type === MsgType.PUBLISH || type === MsgType.REGISTER
