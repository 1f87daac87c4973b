import type { Instant } from '../base/machine.ts'
import type { Publish } from '../mqtt/publish.ts'
import { type BrokerRecord, type SessionKey, type StoredDelivery, type WallTime, wallTime } from '../store/store.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { Inflight, Queued, type Session, sessionOf } from './session.ts'
import type { Sessions } from './sessions.ts'
import { restoredMessage, restoredSubscription, restoredWill, restoreExpiry } from './stored.ts'

/** What a message has come to in one session. */
interface Waiting {
  readonly queued: Queued
  /** 0 until it was sent. */
  packetId: number
  released: boolean
}

/** A session as the store tells it: the session itself, and what it will have once everything is known. Parts come when they are needed. */
class Restored {
  readonly session: Session
  /** When its conversation ended; `undefined` if the process took it along. */
  detachedAt: WallTime | undefined = undefined
  /** By message id, in the order of arrival. */
  waiting: Map<number, Waiting> | undefined = undefined
  /** Message ids by packet id, in the order of sending. */
  sent: Map<number, number> | undefined = undefined

  constructor(session: Session) {
    this.session = session
  }
}

/** Rebuilds sessions, queues and retained messages from the records of the store. */
export class Recovery {
  readonly #context: BrokerContext
  readonly #restored = new Map<SessionKey, Restored>()
  /** The session of the record before. */
  #last: Restored | undefined = undefined
  /** Messages that came without deliveries, for the `delivery` records that follow. */
  readonly #payloads = new Map<number, Publish>()
  /** Messages that expire, in whichever places they are. */
  #expiring: Publish[] = []
  #highestMessageId = 0

  constructor(context: BrokerContext) {
    this.#context = context
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
        const ended = this.#restored.get(record.key)
        if (ended !== undefined) this.#context.router.unsubscribeAll(ended.session)
        this.#restored.delete(record.key)
        this.#last = undefined
        return
      }
    }
    const restored = this.#session(record.key)
    const { session } = restored
    switch (record.type) {
      case 'session':
        session.expirySeconds = record.expirySeconds
        session.will = record.will === null ? undefined : restoredWill(record.will)
        session.owner = record.owner
        session.username = record.owner.username
        session.listener = record.owner.listener
        session.grant = record.owner.rights === undefined ? undefined : this.#context.access.restored(record.owner.rights)
        restored.detachedAt = undefined
        break
      case 'will':
        session.will = record.will === null ? undefined : restoredWill(record.will)
        break
      case 'detached':
        session.expirySeconds = record.expirySeconds
        restored.detachedAt = record.at
        if (!record.will) session.will = undefined
        break
      case 'subscribe':
        this.#context.router.subscribe(session, restoredSubscription(record.filter, record.options))
        break
      case 'unsubscribe':
        this.#context.router.unsubscribe(session, record.filter)
        break
      case 'receipt':
        receive(session, record.packetId)
        break
      case 'released':
        session.received?.delete(record.packetId)
        break
      default:
        track(restored, record)
    }
  }

  /** Makes the sessions; nobody is connected to any of them yet. */
  finish(now: Instant, sessions: Sessions, publisher: Publisher): void {
    const { expiry, retained, clock } = this.#context
    for (const message of this.#expiring) restoreExpiry(clock, now, message)
    this.#expiring = []
    publisher.skipMessageIds(this.#highestMessageId)
    this.#payloads.clear()
    for (const { session, detachedAt, waiting, sent } of this.#restored.values()) {
      session.recordedAsConnected = detachedAt === undefined
      for (const id of sent?.values() ?? []) {
        const { queued, packetId, released } = waiting!.get(id)!
        const inflight = new Inflight(queued, packetId, 0)
        inflight.released = released
        inflight.departed = true
        session.depart(inflight)
      }
      for (const { queued, packetId } of waiting?.values() ?? []) {
        if (packetId !== 0) continue
        session.enqueue(queued)
        expiry.queued(session, queued.message.expiresAt)
      }
      sessions.restore(session)
    }
    for (const message of retained) if (message.expiresAt !== undefined) retained.set(message.topic, message)
  }

  /** Starts the clocks of everybody who has not come back by now. `isLost`: the gateway knows this sensor, and has not taken up its conversation. */
  runDown(now: Instant, sessions: Sessions, isLost: (clientId: string) => boolean): void {
    const wall = wallTime(this.#context.clock, now)
    for (const { session, detachedAt } of this.#restored.values()) {
      if (session.ended || session.link !== undefined) continue
      // A sensor that the gateway does not know was still connecting: nobody has told it that its will is kept.
      if (session.kind === 'sn' && detachedAt === undefined && !isLost(session.clientId)) session.will = undefined
      if (detachedAt === undefined) sessions.abandoned(now, session)
      else sessions.runDown(now, session, Math.max(0, wall - detachedAt))
    }
  }

  #message(record: Extract<BrokerRecord, { type: 'message' }>): void {
    const { id, deliveries, receipt, retains } = record
    this.#highestMessageId = Math.max(this.#highestMessageId, id)
    const message = restoredMessage(record.message)
    if (message.expiresAt !== undefined) this.#expiring.push(message)
    message.id = id
    for (const delivery of deliveries) this.#queue(delivery, message)
    if (receipt !== undefined) receive(this.#session(receipt.key).session, receipt.packetId)
    if (retains !== true) {
      if (deliveries.length === 0 && receipt === undefined) this.#payloads.set(id, message)
      return
    }
    if (message.payloadLength === 0) this.#context.retained.delete(message.topic)
    else this.#context.retained.set(message.topic, message)
  }

  #queue({ key, qos, retain, subscriptionIdentifiers, share }: StoredDelivery, message: Publish): void {
    const restored = this.#session(key)
    restored.waiting ??= new Map()
    const queued = new Queued(message, qos, retain, subscriptionIdentifiers, share)
    restored.waiting.set(message.id, { queued, packetId: 0, released: false })
  }

  #session(key: SessionKey): Restored {
    if (this.#last?.session.key === key) return this.#last
    let restored = this.#restored.get(key)
    if (restored === undefined) {
      const session = sessionOf(key)
      session.persistent = true
      session.resumePacketIds(0)
      restored = new Restored(session)
      this.#restored.set(key, restored)
    }
    this.#last = restored
    return restored
  }
}

/** How far a message has come on its way to the client. */
function track(restored: Restored, record: Extract<BrokerRecord, { type: 'sent' | 'received' | 'done' }>): void {
  const { session, waiting } = restored
  if (record.type === 'sent') {
    session.resumePacketIds(record.packetId)
    const message = waiting?.get(record.id)
    if (message === undefined) return
    message.packetId = record.packetId
    restored.sent ??= new Map()
    restored.sent.set(record.packetId, record.id)
  } else if (record.type === 'received') {
    const message = waiting?.get(restored.sent?.get(record.packetId) ?? 0)
    if (message !== undefined) message.released = true
  } else {
    const message = waiting?.get(record.id)
    waiting?.delete(record.id)
    if (message !== undefined && restored.sent?.get(message.packetId) === record.id) restored.sent.delete(message.packetId)
  }
}

function receive(session: Session, packetId: number): void {
  session.received ??= new Map()
  session.received.set(packetId, 0)
}
