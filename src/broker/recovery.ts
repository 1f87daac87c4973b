import type { Instant } from '../base/machine.ts'
import { type BrokerRecord, type SessionKey, type StoredOwner, type WallTime, wallTime } from '../base/store.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import { Inflight, Queued, Session, type Subscription } from './session.ts'
import type { Sessions } from './sessions.ts'
import { restoredMessage, restoredSubscription, restoredWill } from './stored.ts'

/** A session as the log tells it, before it becomes one. */
interface Restored {
  expirySeconds: number
  will: Will | undefined
  owner: StoredOwner | undefined
  /** When its conversation ended; `undefined` if the process took it along. */
  detachedAt: WallTime | undefined
  readonly subscriptions: Map<string, Subscription>
  /** By message id, in the order of arrival. */
  readonly waiting: Map<number, Queued>
  /** By packet id, in the order of sending. */
  readonly sent: Map<number, { id: number; queued: Queued; released: boolean }>
  readonly received: Set<number>
  /** Of the message sent last; 0 if none was. */
  lastPacketId: number
}

/** Instant at which the log is read: the process has only just begun. */
const REPLAY: Instant = 0

/** Rebuilds sessions, queues and retained messages from the records of the store. */
export class Recovery {
  readonly #context: BrokerContext
  readonly #restored = new Map<SessionKey, Restored>()
  #highestMessageId = 0

  constructor(context: BrokerContext) {
    this.#context = context
  }

  apply(record: BrokerRecord): void {
    if (record.type === 'message') {
      this.#message(record)
      return
    }
    if (record.type === 'session-end') {
      this.#restored.delete(record.key)
      return
    }
    const session = this.#session(record.key)
    switch (record.type) {
      case 'session':
        session.expirySeconds = record.expirySeconds
        session.will = record.will === null ? undefined : restoredWill(record.will)
        session.owner = record.owner
        session.detachedAt = undefined
        break
      case 'will':
        session.will = record.will === null ? undefined : restoredWill(record.will)
        break
      case 'detached':
        session.expirySeconds = record.expirySeconds
        session.detachedAt = record.at
        if (!record.will) session.will = undefined
        break
      case 'subscribe':
        session.subscriptions.set(record.filter, restoredSubscription(record.filter, record.options))
        break
      case 'unsubscribe':
        session.subscriptions.delete(record.filter)
        break
      case 'sent': {
        session.lastPacketId = record.packetId
        const queued = session.waiting.get(record.id)
        if (queued === undefined) break
        session.waiting.delete(record.id)
        session.sent.set(record.packetId, { id: record.id, queued, released: false })
        break
      }
      case 'received': {
        const sent = session.sent.get(record.packetId)
        if (sent !== undefined) sent.released = true
        break
      }
      case 'done':
        session.waiting.delete(record.id)
        for (const [packetId, { id }] of session.sent) if (id === record.id) session.sent.delete(packetId)
        break
      case 'released':
        session.received.delete(record.packetId)
        break
    }
  }

  /** Makes the sessions; nobody is connected to any of them yet. */
  finish(now: Instant, sessions: Sessions, publisher: Publisher): void {
    publisher.skipMessageIds(this.#highestMessageId)
    for (const [key, restored] of this.#restored) {
      const colon = key.indexOf(':')
      const session = new Session(key.slice(0, colon) as ClientKind, key.slice(colon + 1))
      session.persistent = true
      session.expirySeconds = restored.expirySeconds
      session.will = restored.will
      if (restored.owner !== undefined) {
        session.owner = restored.owner
        session.username = restored.owner.username
        session.listener = restored.owner.listener
        if (restored.owner.rights !== undefined) session.grant = this.#context.access.restored(restored.owner.rights)
      }
      session.resumePacketIds(restored.lastPacketId)
      if (restored.received.size > 0) session.received = new Map(Array.from(restored.received, (packetId) => [packetId, 0]))
      for (const [packetId, { queued, released }] of restored.sent) {
        const inflight = new Inflight(queued, packetId, 0)
        inflight.released = released
        session.depart(inflight)
      }
      for (const queued of restored.waiting.values()) session.enqueue(queued)
      for (const subscription of restored.subscriptions.values()) this.#context.router.subscribe(session, subscription)
      sessions.restore(session)
    }
    const { retained } = this.#context
    for (const message of retained) {
      if (message.expiresAt !== undefined && message.expiresAt <= now) retained.delete(message.topic)
    }
  }

  /** Starts the clocks of everybody who has not come back by now. */
  runDown(now: Instant, sessions: Sessions): void {
    const { clock, store, notice } = this.#context
    const wall = wallTime(clock, now)
    let backwards = 0
    for (const [key, { detachedAt }] of this.#restored) {
      const session = sessions.byKey(key)
      if (session === undefined || session.link !== undefined) continue
      if (detachedAt === undefined) {
        store.append({ type: 'detached', key, at: wall, expirySeconds: session.expirySeconds, will: session.will !== undefined })
      } else if (detachedAt > wall) backwards++
      sessions.runDown(now, session, detachedAt === undefined ? 0 : Math.max(0, wall - detachedAt))
    }
    if (backwards > 0) {
      const reason = 'the wall clock is behind the stored times: the time since counts as none'
      notice({ code: 'clock-backwards', level: 'warn', reason, count: backwards })
    }
  }

  #message(record: Extract<BrokerRecord, { type: 'message' }>): void {
    this.#highestMessageId = Math.max(this.#highestMessageId, record.id)
    const message = restoredMessage(this.#context.clock, REPLAY, record.message)
    message.id = record.id
    for (const { key, qos, retain, subscriptionIdentifiers, share } of record.deliveries) {
      this.#session(key).waiting.set(record.id, new Queued(message, qos, retain, subscriptionIdentifiers, share))
    }
    if (record.receipt !== undefined) this.#session(record.receipt.key).received.add(record.receipt.packetId)
    if (record.retains !== true) return
    if (message.payloadLength === 0) this.#context.retained.delete(message.topic)
    else this.#context.retained.set(message.topic, message)
  }

  #session(key: SessionKey): Restored {
    let restored = this.#restored.get(key)
    if (restored === undefined) {
      restored = {
        expirySeconds: 0,
        will: undefined,
        owner: undefined,
        detachedAt: undefined,
        subscriptions: new Map(),
        waiting: new Map(),
        sent: new Map(),
        received: new Set(),
        lastPacketId: 0,
      }
      this.#restored.set(key, restored)
    }
    return restored
  }
}
