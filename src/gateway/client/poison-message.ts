import { MsgType } from '../../mqttsn/messages.ts'
import type { Exchange } from './exchange.ts'

/**
 * Detects a message that a client never answers although it is reachable: a PUBLISH on one topic, or its REGISTER, in several
 * connections or awake periods in a row. Without this the client would be lost over that message each time. A connection counts
 * if the client was lost over the message and then sent something without CONNECT, which shows that it had received CONNACK.
 */
export class PoisonMessage {
  #subject = ''
  #count = 0
  /** The message over which the client was lost, until it is known whether the client was connected. */
  #lostOver = ''

  /** What is remembered; `undefined` while it is not known whether the client was connected when it was lost. */
  get memory(): { readonly subject: string; readonly count: number } | undefined {
    return this.#lostOver === '' ? { subject: this.#subject, count: this.#count } : undefined
  }

  /** Continues with what was remembered. */
  restore(subject: string, count: number): void {
    this.#subject = subject
    this.#count = count
  }

  /** Number of consecutive connections or awake periods that ended over this message. */
  count(exchange: Exchange): number {
    return subjectOf(exchange) === this.#subject ? this.#count : 0
  }

  /** An awake period ended over this message. */
  add(exchange: Exchange): void {
    this.#add(subjectOf(exchange))
  }

  /** The client was lost over this message. */
  lost(exchange: Exchange): void {
    this.#lostOver = subjectOf(exchange)
  }

  /** The client has sent something. A CONNECT does not show whether it received anything before. */
  heard(connects: boolean): void {
    if (this.#lostOver !== '' && !connects) this.#add(this.#lostOver)
    this.#lostOver = ''
  }

  answered(exchange: Exchange): void {
    if (subjectOf(exchange) === this.#subject) this.#count = 0
  }

  #add(subject: string): void {
    this.#count = subject === this.#subject ? this.#count + 1 : 1
    this.#subject = subject
  }
}

function subjectOf({ message, delivery }: Exchange): string {
  if (message.type === MsgType.REGISTER) return `REGISTER ${message.topicName}`
  return delivery === undefined ? 'PUBREL' : `PUBLISH ${delivery.message.topic}`
}
