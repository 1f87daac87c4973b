import type { ClientFigures } from '../base/client-figures.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import type { Author } from '../mqtt/author.ts'
import type { Will } from '../mqtt/packets.ts'
import { MessageMemory, type Publish, propertyMemory } from '../mqtt/publish.ts'
import { willBytes } from '../mqtt/wills.ts'
import type { BrokerContext } from './context.ts'

/**
 * What sessions and messages take in memory, in sums that the account asks for. A message counts once, with its topic, payload
 * and properties, wherever it waits and whether it is retained besides; each place where it waits counts for itself.
 */
export class Holdings {
  /** Bytes of the sessions themselves. */
  sessions = 0
  /** Bytes of the names of clients that have a session, or whose messages are still held. */
  authors = 0
  /** Bytes. */
  wills = 0
  /** Bytes of messages that wait, are in flight or retained. */
  messages = 0
  /** Queues of sessions, empty ones included. */
  queues = 0
  /** Places in queues that hold the message itself, where it has to wait. */
  plain = 0
  /** Places in queues that hold a `Queued`. */
  queued = 0
  /** Places in flight. */
  inflight = 0
  /** Bytes of all messages in these places; a message counts once for each place. */
  waitingBytes = 0
  /** QoS 2 packet ids that are taken in and not released. */
  receipts = 0
  /** Counters of each MQTT client; undefined if the HTTP service, which shows them, is off. */
  readonly figures: ClientFigures | undefined

  constructor(figures?: ClientFigures) {
    this.figures = figures
  }

  /** Messages that are queued or in flight in all sessions; each receiver's copy counts. */
  get waiting(): { messages: number; bytes: number } {
    return { messages: this.plain + this.queued + this.inflight, bytes: this.waitingBytes }
  }

  /** Bytes of the queues, and of the places in which messages wait. */
  get places(): number {
    const inQueues = this.queues * COST.queue + this.plain * COST.place + this.queued * COST.queued
    return inQueues + this.inflight * COST.inflight + this.receipts * COST.receipt
  }

  /** One more place of a queue, or in flight, holds this message. */
  holdWaiting(message: Publish): void {
    this.waitingBytes += message.weight
    this.hold(message)
  }

  releaseWaiting(message: Publish): void {
    this.waitingBytes -= message.weight
    this.release(message)
  }

  /** One more place holds this message. */
  hold(message: Publish): void {
    message.held ??= new MessageMemory()
    const { held } = message
    if (held.places++ > 0) return
    held.author = message.author
    this.keep(held.author)
    // Once it is in a buffer of its own it stays as it is.
    if (held.bytes === 0 || !message.owned) held.bytes = messageBytes(message)
    this.messages += held.bytes
  }

  /** One place fewer. */
  release({ held }: Publish): void {
    if (--held!.places > 0) return
    this.messages -= held!.bytes
    this.drop(held!.author)
  }

  /** One more session or message has this author. */
  keep(author: Author): void {
    if (author.places++ === 0) this.authors += author.bytes
  }

  /** One fewer. */
  drop(author: Author): void {
    if (--author.places === 0) this.authors -= author.bytes
  }

  /** It was taken out of a buffer that it shared. */
  recount(message: Publish): void {
    const { held } = message
    if (held === undefined || held.places === 0) return
    this.messages -= held.bytes
    held.bytes = messageBytes(message)
    this.messages += held.bytes
  }
}

/** What a message takes, without the places where it waits. */
export function messageBytes(message: Publish): number {
  const { topic, owned, contentBytes, properties, payloadLength } = message
  return COST.message + stringBytes(topic) + (owned ? contentBytes : COST.buffer + payloadLength) + propertyMemory(properties)
}

/** What a will takes with the levels that its topic would take if it were retained now. */
export const willGrowth = (will: Will | undefined, retained: BrokerContext['retained']): number =>
  willBytes(will) + (will?.retain === true && will.payload.length > 0 ? retained.levelGrowth(will.topic) : 0)

/** Part of the memory that the routes which are kept may take. */
export const ROUTES_MAX = 0.125
/** The same for what access rules remember. */
const ANSWERS_MAX = 0.0625

/** What the broker holds, for the account. */
export function countMemory(
  { memory, holdings, router, retained, conditions, access: { remembered } }: BrokerContext,
  sessions: { readonly connected: number },
  handshakes: { readonly bytes: number },
): void {
  const figures = (): number => holdings.figures?.bytes ?? 0
  memory.count('sessions', () => holdings.sessions + holdings.authors + sessions.connected * COST.link + figures())
  memory.count('handshakes', () => handshakes.bytes)
  memory.count('wills', () => holdings.wills)
  memory.count('subscriptions', () => router.bytes)
  memory.count('conditions', () => conditions.bytes)
  memory.count('routes', () => router.routeBytes)
  memory.count('messages', () => holdings.messages)
  memory.count('queues', () => holdings.places)
  memory.count('retained', () => retained.levelBytes)
  memory.cache(() => router.invalidate())
  if (remembered === undefined) return
  remembered.most = memory.limits.memoryLimit * ANSWERS_MAX
  memory.count('access_answers', () => remembered.bytes)
  memory.cache(() => remembered.clear())
}
