import { MsgType } from '../../mqttsn/messages.ts'
import type { Exchange } from './exchange.ts'

/**
 * Finds the message that a client never answers although it is there: everything on one topic, or its REGISTER, in one conversation or awake period
 * after another. Without this, the client would be lost over it for ever. A conversation counts if the client was lost over the message and then
 * spoke without connecting anew, which shows that it had received CONNACK.
 */
export class PoisonMessage {
  #subject = ''
  #count = 0
  /** What the client was lost over, until it turns out whether it was there. */
  #lostOver = ''

  /** How many conversations or awake periods in a row have ended over this. */
  count(exchange: Exchange): number {
    return subjectOf(exchange) === this.#subject ? this.#count : 0
  }

  /** An awake period has ended over this. */
  add(exchange: Exchange): void {
    this.#add(subjectOf(exchange))
  }

  /** The client is lost over this. */
  lost(exchange: Exchange): void {
    this.#lostOver = subjectOf(exchange)
  }

  /** The client was heard. A CONNECT says nothing about whether it received anything before. */
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

function subjectOf({ message, held }: Exchange): string {
  if (message.type === MsgType.REGISTER) return `REGISTER ${message.topicName}`
  return held === undefined ? 'PUBREL' : `PUBLISH ${held.message.topic}`
}
