import { MsgType } from '../mqttsn/messages.ts'
import type { Transaction } from './transaction.ts'

/**
 * What a client that is there leaves unanswered in one conversation after the other, or in one awake period after the other: all that it is sent on one
 * topic, or its REGISTER. A conversation counts if the client was lost over it, and was heard afterwards without having connected anew: so it has heard
 * CONNACK before.
 */
export class Fruitless {
  #subject = ''
  #count = 0
  /** Over what the client was lost, until it is known whether it was there. */
  #lostOver = ''

  /** So many conversations or awake periods have ended over this. */
  count(transaction: Transaction): number {
    return subjectOf(transaction) === this.#subject ? this.#count : 0
  }

  /** An awake period has ended over this. */
  add(transaction: Transaction): void {
    this.#add(subjectOf(transaction))
  }

  /** The client is lost over this. */
  lost(transaction: Transaction): void {
    this.#lostOver = subjectOf(transaction)
  }

  /** The client speaks: as one that was never lost, or with CONNECT, which says nothing about what it has heard before. */
  heard(connects: boolean): void {
    if (this.#lostOver !== '' && !connects) this.#add(this.#lostOver)
    this.#lostOver = ''
  }

  answered(transaction: Transaction): void {
    if (subjectOf(transaction) === this.#subject) this.#count = 0
  }

  #add(subject: string): void {
    this.#count = subject === this.#subject ? this.#count + 1 : 1
    this.#subject = subject
  }
}

function subjectOf({ message, held }: Transaction): string {
  if (message.type === MsgType.REGISTER) return `REGISTER ${message.topicName}`
  return held === undefined ? 'PUBREL' : `PUBLISH ${held.message.topic}`
}
