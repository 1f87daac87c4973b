import { Fifo } from '../base/fifo.ts'
import { didYouMean } from '../base/nearest.ts'
import type { ClientLink } from '../broker/client-link.ts'
import type { Published } from '../broker/operator-actions.ts'
import { LOCAL_LISTENER } from '../mqtt/link.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import type { Inside } from '../process/roost.ts'
import { short } from './arguments.ts'
import { RoostError } from './error.ts'
import { LOCAL_PEER } from './local-client.ts'
import type { Publishing } from './publish.ts'

/** Messages that the program may publish in one turn of the event loop, so that their receivers and all others have theirs. */
const TURN_MESSAGES = 16

interface Pending {
  readonly publishing: Publishing
  resolve(published: Published): void
  reject(error: RoostError): void
}

/**
 * Publishes for the program. Its link never connects: like a client, it is paused while the queue of a receiver is nearly full. What
 * is published meanwhile waits, in order.
 */
export class LocalPublisher {
  readonly #inside: Inside
  #link: ClientLink | undefined
  readonly #pending = new Fifo<Pending>()
  /** Messages that are left of this turn. */
  #left = TURN_MESSAGES
  #turn: NodeJS.Immediate | undefined

  constructor(inside: Inside) {
    this.#inside = inside
  }

  /** @throws RoostError, or TypeError for a listener that does not exist */
  async publish(publishing: Publishing): Promise<void> {
    const { message, as } = publishing
    const topic = short(message.topic)
    // The rules of the whole configuration would apply, which may allow more.
    if (as !== undefined && as.listener !== '' && !this.#inside.listeners.includes(as.listener))
      throw new TypeError(
        `publish ${topic}: as.listener: there is none named ${short(as.listener)}${didYouMean(as.listener, this.#inside.listeners)}`,
      )
    const link = this.#open()
    const isFree = this.#pending.length === 0 && this.#mayGo(link)
    const published = isFree
      ? this.#publish(publishing, link)
      : await new Promise<Published>((resolve, reject) => this.#pending.push({ publishing, resolve, reject }))
    if (published.kind === 'refused') {
      const { reasonCode, reason, limit } = published
      throw new RoostError(`publish ${topic}: ${limit === undefined ? reason : `${reason} (${limit})`}`, reasonCode, limit)
    }
    if (!(await this.#inside.durable(published.lsn))) throw stopped(topic)
  }

  #publish({ message, as }: Publishing, link: ClientLink): Published {
    const { server, loop } = this.#inside
    const { operator, sessions } = server.broker
    this.#left--
    this.#turn ??= setImmediate(this.#nextTurn)
    return loop.run((now) => {
      const result = as === undefined ? operator.publishLocally(now, message) : operator.publishAs(now, as, message, sessions)
      if (result.kind === 'accepted' && message.qos > 0) operator.pace(now, link)
      return result
    })
  }

  /** Nothing more can be published. */
  stop(): void {
    if (this.#link !== undefined) this.#inside.server.local.disown(this.#link.id)
    for (let next = this.#pending.shift(); next !== undefined; next = this.#pending.shift())
      next.reject(stopped(next.publishing.message.topic))
  }

  #mayGo({ state }: ClientLink): boolean {
    return state === 'open' && this.#left > 0
  }

  readonly #nextTurn = (): void => {
    this.#turn = undefined
    this.#left = TURN_MESSAGES
    this.#goOn()
  }

  #goOn(): void {
    while (this.#link !== undefined && this.#pending.length > 0 && this.#mayGo(this.#link)) {
      const { publishing, resolve } = this.#pending.shift()!
      resolve(this.#publish(publishing, this.#link))
    }
  }

  #open(): ClientLink {
    if (this.#link !== undefined) return this.#link
    const { server, loop } = this.#inside
    const link = loop.run((now) => server.broker.open(now, { kind: 'mqtt', peer: LOCAL_PEER, listener: LOCAL_LISTENER }))
    server.local.own(link.id, () => queueMicrotask(() => this.#goOn()))
    this.#link = link
    return link
  }
}

const stopped = (topic: string): RoostError =>
  new RoostError(
    `publish ${short(topic)}: the broker has stopped before the message was durable`,
    ReasonCode.SERVER_SHUTTING_DOWN,
  )
