import type { Instant } from '../base/machine.ts'
import { NameMap } from '../base/name-map.ts'
import { Author, isSameOwner } from '../mqtt/author.ts'
import { MessageMemory, type Publish } from '../mqtt/publish.ts'
import {
  type BrokerRecord,
  type SessionKey,
  type StoredDelivery,
  type StoredMessage,
  type StoredOwner,
  wallTime,
} from '../store/store.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { Inflight, type Session, sessionOf } from './session.ts'
import { startClocks } from './session-clocks.ts'
import { Queued } from './session-queue.ts'
import type { Sessions } from './sessions.ts'
import { restoredMessage, restoredSubscription, restoredWill, restoreExpiry } from './stored.ts'

/** The state of a message in one session. */
interface Waiting {
  readonly queued: Queued
  /** 0 until it was sent. */
  packetId: number
  released: boolean
}

/** The messages of a session, collected during the replay. Few sessions have any. */
class Restored {
  readonly session: Session
  /** By message id, in the order of arrival. */
  readonly waiting = new Map<number, Waiting>()
  /** Message ids by packet id, in the order of sending. */
  sent: Map<number, number> | undefined = undefined

  constructor(session: Session) {
    this.session = session
  }
}

/** Rebuilds sessions, queues and retained messages from the records of the store. */
export class Recovery {
  readonly #context: BrokerContext
  readonly #sessions: Sessions
  readonly #restored = new NameMap<Restored>()
  /** The session of the previous record. */
  #last: Session | undefined = undefined
  readonly #keys = new KeyOrder()
  /** Messages that came without deliveries, for the `delivery` records that follow. */
  readonly #payloads = new Map<number, Publish>()
  /** The last message of each topic and length. */
  readonly #twins = new NameMap<Publish>()
  /** Authors of messages whose sessions no longer exist. */
  readonly #authors = new NameMap<Author>()
  /** All messages that expire, wherever they are. */
  #expiring: Publish[] = []
  #highestMessageId = 0

  constructor(context: BrokerContext, sessions: Sessions) {
    this.#context = context
    this.#sessions = sessions
  }

  apply(record: BrokerRecord): void {
    switch (record.type) {
      case 'message':
        this.#message(record)
        return
      case 'delivery': {
        const message = this.#payloads.get(record.id)
        if (message !== undefined) this.#queue(record.delivery, message)
        return
      }
      case 'session-end': {
        const ended = this.#sessions.byKey(record.key)
        if (ended === undefined) return
        this.#context.router.unsubscribeAll(ended)
        ended.clear()
        this.#sessions.unrestore(ended)
        this.#restored.delete(record.key)
        this.#last = undefined
        return
      }
    }
    const session = this.#session(record.key, record.type === 'session' ? record.owner : undefined)
    switch (record.type) {
      case 'session':
        session.expirySeconds = record.expirySeconds
        session.will = record.will === null ? undefined : restoredWill(record.will)
        if (!isSameOwner(session.owner, record.owner)) this.#sessions.own(session, new Author(session.key, record.owner))
        session.username = record.owner.username
        session.listener = record.owner.listener
        session.grant = record.owner.rights === undefined ? undefined : this.#context.access.restored(record.owner.rights)
        session.recordedAs = 'connected'
        break
      case 'will':
        session.will = record.will === null ? undefined : restoredWill(record.will)
        break
      case 'detached':
        session.expirySeconds = record.expirySeconds
        session.recordedAs = record.at
        if (!record.will) session.will = undefined
        break
      case 'subscribe':
        this.#subscribe(session, record)
        break
      case 'unsubscribe':
        this.#context.router.unsubscribe(session, record.filter)
        break
      case 'receipt':
        session.restoreReceipt(record)
        break
      case 'released':
        session.unreceive(record.packetId)
        break
      default:
        track(session, this.#restored.get(record.key), record)
    }
  }

  /** Fills the queues of the sessions, before any client connects. */
  finish(now: Instant, publisher: Publisher): void {
    const { expiry, retained, clock } = this.#context
    for (const message of this.#expiring) restoreExpiry(clock, now, message)
    this.#expiring = []
    publisher.skipMessageIds(this.#highestMessageId)
    this.#payloads.clear()
    this.#twins.clear()
    this.#authors.clear()
    for (const { session, waiting, sent } of this.#restored.values()) {
      for (const id of sent?.values() ?? []) {
        const { queued, packetId, released } = waiting.get(id)!
        const inflight = new Inflight(queued, packetId, 0)
        inflight.released = released
        inflight.departed = true
        session.depart(inflight)
      }
      for (const { queued, packetId } of waiting.values()) {
        if (packetId !== 0) continue
        session.openQueue().push(queued, true)
        expiry.queued(session, queued.message.expiresAt)
      }
      this.#restored.delete(session.key)
    }
    this.#sessions.restored()
    for (const message of retained) if (message.expiresAt !== undefined) retained.set(message.topic, message)
  }

  /**
   * Starts the clocks of all sessions that have not been resumed. `isLost`: the gateway knows this sensor, and has not
   * reconnected it.
   */
  runDown(now: Instant, isLost: (clientId: string) => boolean): void {
    const sessions = this.#sessions
    sessions.resumed()
    const wall = wallTime(this.#context.clock, now)
    for (const session of sessions) {
      const { recordedAs } = session
      if (session.link !== undefined || recordedAs === undefined) continue
      const detachedAt = recordedAs === 'connected' ? undefined : recordedAs
      if (detachedAt !== undefined) session.recordedAs = undefined
      // A sensor that the gateway does not know was still connecting: its will was never acknowledged.
      if (session.kind === 'sn' && detachedAt === undefined && !isLost(session.clientId)) {
        session.will = undefined
        this.#context.memory.shares.recount(session)
      }
      if (detachedAt === undefined) sessions.abandoned(now, session)
      else startClocks(this.#context, now, session, Math.max(0, wall - detachedAt))
    }
  }

  #subscribe(session: Session, { filter, options }: Extract<BrokerRecord, { type: 'subscribe' }>): void {
    const { router, conditions } = this.#context
    const text = options.condition ?? conditions.configuredFor(session, filter)
    const condition = text === undefined ? undefined : conditions.restore(text)
    router.subscribe(session, restoredSubscription(filter, options, condition))
    condition?.release()
  }

  #message(record: Extract<BrokerRecord, { type: 'message' }>): void {
    const { id, deliveries, receipt, retains, willOf } = record
    this.#highestMessageId = Math.max(this.#highestMessageId, id)
    const message = this.#withoutTwin(restoredMessage(record.message, this.#authorOf(record.message)))
    if (message.expiresAt !== undefined) this.#expiring.push(message)
    message.id = id
    for (const delivery of deliveries) this.#queue(delivery, message)
    if (receipt !== undefined) this.#session(receipt.key).restoreReceipt(receipt)
    const lastWill = willOf === undefined ? undefined : this.#sessions.byKey(willOf)
    if (lastWill !== undefined) lastWill.will = undefined
    if (retains !== true) {
      if (deliveries.length === 0 && receipt === undefined) this.#payloads.set(id, message)
      return
    }
    if (message.payloadLength === 0) this.#context.retained.delete(message.topic)
    else this.#context.retained.set(message.topic, message)
  }

  /** One object for all messages of the same author, shared with its session if there is one: each record repeats the names. */
  #authorOf({ from, retain, source }: StoredMessage): Author {
    const known = this.#last?.key === from ? this.#last : this.#sessions.byKey(from)
    if (known !== undefined && (retain ? isSameOwner(known.author.owner, source) : true)) return known.author
    const names = source === undefined ? from : JSON.stringify([from, source])
    let author = this.#authors.get(names)
    if (author === undefined) {
      author = new Author(from, source)
      this.#authors.set(names, author)
    }
    return author
  }

  /**
   * Copies of a message have records of their own, for example those of a retained message for several sessions. They shared a
   * buffer before the restart, and must share one again, or they might not fit in memory.
   */
  #withoutTwin(message: Publish): Publish {
    const key = `${message.payloadLength} ${message.topic}`
    const twin = this.#twins.get(key)
    if (twin?.author !== message.author || !twin.hasContentOf(message)) {
      this.#twins.set(key, message)
      return message
    }
    twin.held ??= new MessageMemory()
    message.held = twin.held
    message.topic = twin.topic
    message.shareContent(twin)
    return message
  }

  #queue({ key, qos, retain, subscriptionIdentifiers, share }: StoredDelivery, message: Publish): void {
    let restored = this.#restored.get(key)
    if (restored === undefined) {
      this.#keys.queued(key)
      restored = new Restored(this.#session(key, undefined, true))
      this.#restored.set(key, restored)
    }
    const queued = new Queued(message, qos, retain, subscriptionIdentifiers, share)
    restored.waiting.set(message.id, { queued, packetId: 0, released: false })
  }

  /** `owner`: that of a new session, if it is known. `isQueued`: it is the session of a row of the queue. */
  #session(key: SessionKey, owner?: StoredOwner, isQueued = false): Session {
    if (this.#last?.key === key) return this.#last
    const isNew = !isQueued && this.#keys.isNew(key)
    let session = isNew ? undefined : this.#sessions.byKey(key)
    if (session === undefined) {
      session = sessionOf(key, this.#context.holdings, owner)
      session.persistent = true
      session.recordedAs = 'connected'
      session.resumePacketIds(0)
      this.#sessions.restore(session)
    }
    this.#last = session
    return session
  }
}

/**
 * The keys of the sessions that were made. The rows of the queue come in the order of these keys, and then those of sessions, so that
 * nearly all of these are known to be new without a look-up among a million, which takes 1 us.
 */
class KeyOrder {
  /** The highest key so far that is not one of `#queued`. */
  #highest = ''
  /** Keys of sessions that rows of the queue have made. */
  readonly #queued: SessionKey[] = []
  /** Of these, the first that is not lower than `#highest`. */
  #at = 0
  #isAscending = true

  queued(key: SessionKey): void {
    this.#isAscending &&= key > (this.#queued.at(-1) ?? '')
    this.#queued.push(key)
  }

  /** True for a key that no session can have. It may be asked once for each key. */
  isNew(key: SessionKey): boolean {
    if (key <= this.#highest || !this.#isAscending) return false
    this.#highest = key
    while (this.#at < this.#queued.length && this.#queued[this.#at]! < key) this.#at++
    return this.#queued[this.#at] !== key
  }
}

/** Tracks the delivery of a message. */
function track(
  session: Session,
  restored: Restored | undefined,
  record: Extract<BrokerRecord, { type: 'sent' | 'received' | 'done' }>,
): void {
  if (record.type === 'sent') session.resumePacketIds(record.packetId)
  if (restored === undefined) return
  const { waiting, sent } = restored
  if (record.type === 'sent') {
    const message = waiting.get(record.id)
    if (message === undefined) return
    message.packetId = record.packetId
    restored.sent ??= new Map()
    restored.sent.set(record.packetId, record.id)
  } else if (record.type === 'received') {
    const message = waiting.get(sent?.get(record.packetId) ?? 0)
    if (message !== undefined) message.released = true
  } else {
    const message = waiting.get(record.id)
    waiting.delete(record.id)
    if (message !== undefined && sent?.get(message.packetId) === record.id) sent.delete(message.packetId)
  }
}
