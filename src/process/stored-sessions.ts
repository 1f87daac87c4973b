import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { StartError } from '../base/start-error.ts'
import { Broker } from '../broker/broker.ts'
import type { Session } from '../broker/session.ts'
import { sessionKey } from '../broker/session-key.ts'
import { isGatewayRecord } from '../server.ts'
import { StoreClock } from '../store/clock.ts'
import { SqliteStore, startHere } from '../store/io/sqlite-store.ts'
import type { ClockRecord, SessionKey, StoreRecord } from '../store/store.ts'
import { readClocks } from './loop.ts'

/** A stored session. The field names are those of `roost sessions list --json`. */
export interface SessionInfo {
  /** `mqtt:CLIENT_ID` or `sn:CLIENT_ID`. */
  readonly id: SessionKey
  readonly username: string | null
  /** Whether the user was authenticated. */
  readonly verified: boolean
  /**
   * Network from which the client last connected; null if the client had no IP address, or the network was not stored
   * yet.
   */
  readonly address: string | null
  /** `connected`: the process that used the store ended while the client was connected. */
  readonly state: 'connected' | 'disconnected'
  /** Time at which its connection ended; null while it is connected. */
  readonly since: string | null
  /** Time at which the session expires; null if never, or while it is connected. */
  readonly expires: string | null
  readonly subscriptions: number
  /** Number of queued messages, and of those sent but not acknowledged. */
  readonly messages: number
  readonly message_bytes: number
  readonly will_topic: string | null
  /** Number of topic ids; 0 unless it is a sensor's session. */
  readonly topic_ids: number
}

/** Stored data of a sensor in addition to its session. */
interface StoredSensor {
  topicIds: number
}

/** Failures are reported when the store is closed. */
const NO_LISTENER = { onDurable: () => {}, onFailed: () => {}, onRecovered: () => {} }

/** Interval between two attempts while the store has no room (ms), and maximum number of attempts. */
const RETRY_MS = 20
const RETRIES_MAX = 3000

/** The sessions in the data directory of a stopped Roost. */
export class StoredSessions {
  readonly #store: SqliteStore
  readonly #clock: StoreClock
  readonly #broker: Broker
  readonly #sensors = new Map<string, StoredSensor>()
  #mark: ClockRecord | undefined
  #isRunning = false

  private constructor(store: SqliteStore) {
    this.#store = store
    this.#clock = new StoreClock(Date.now() - performance.now(), store, () => {})
    const unbounded = { maxQueuedMessages: Number.POSITIVE_INFINITY, maxQueuedBytes: Number.POSITIVE_INFINITY }
    this.#broker = new Broker({
      store,
      clock: this.#clock,
      notice: () => {},
      random: Math.random,
      // No limit of this process may drop messages that pass to another member of a shared subscription.
      limits: { ...unbounded, queueLimit: Number.POSITIVE_INFINITY },
    })
    for (const record of store.replay()) this.#apply(record)
    this.#broker.recover(performance.now())
  }

  /** Opens the store. @throws StartError with one line; it names the process that uses the store, if there is one */
  static async open(dir: string, writtenBy: string): Promise<StoredSessions> {
    let store: SqliteStore
    try {
      store = await SqliteStore.open(dir, { writtenBy, ...NO_LISTENER }, startHere)
    } catch (error) {
      const { message } = error as Error
      throw new StartError(/ uses it$/.test(message) ? `${message}: stop Roost first` : message)
    }
    try {
      return new StoredSessions(store)
    } catch (error) {
      await store.close()
      throw error
    }
  }

  *list(): Iterable<SessionInfo> {
    for (const session of this.#broker.sessions) yield this.#infoOf(session)
    // Topic ids can outlive the session of a sensor.
    for (const clientId of this.#sensors.keys()) {
      if (this.#broker.sessions.get('sn', clientId) === undefined) yield this.#infoOfSensor(clientId)
    }
  }

  /** Returns the session with this id, or with this client id if it is unique. @throws StartError */
  find(id: string): SessionInfo {
    const known = (key: SessionKey): boolean =>
      this.#broker.sessions.byKey(key) !== undefined || (key.startsWith('sn:') && this.#sensors.has(key.slice('sn:'.length)))
    const exact = known(id) ? [id] : [sessionKey('mqtt', id), sessionKey('sn', id)].filter(known)
    const [key, other] = exact
    if (key === undefined) throw new StartError(`${id}: no such session; see roost sessions list`)
    if (other !== undefined) throw new StartError(`${id}: there is ${key} and ${other}; give one of these`)
    const session = this.#broker.sessions.byKey(key)
    return session === undefined ? this.#infoOfSensor(key.slice('sn:'.length)) : this.#infoOf(session)
  }

  /**
   * Removes a session with its subscriptions, its queue, its will, which is not published, and the topic ids of a
   * sensor. Messages queued for a shared subscription pass to another member.
   * @throws StartError if the store has no room for the removal
   */
  async remove(id: SessionKey): Promise<void> {
    const now = performance.now()
    if (!this.#isRunning) this.#clock.recover(now, readClocks())
    this.#isRunning = true
    const session = this.#broker.sessions.byKey(id)
    if (session !== undefined) {
      session.will = undefined
      await this.#retried(id, () => this.#end(session))
    }
    const clientId = id.startsWith('sn:') ? id.slice('sn:'.length) : undefined
    if (clientId === undefined || !this.#sensors.has(clientId)) return
    await this.#retried(id, () => this.#store.append({ type: 'sn-end', clientId }) !== 'full')
    this.#sensors.delete(clientId)
  }

  /** Closes the store. Rejects with a StartError if something could not be stored. */
  async close(): Promise<void> {
    await this.#store.close().catch((error: Error) => {
      throw new StartError(error.message)
    })
  }

  /** Ends the session in one go: there are no other clients to serve. Returns false if the store is full. */
  #end(session: Session): boolean {
    for (;;) {
      this.#broker.endTurn()
      const ended = this.#broker.sessions.end(performance.now(), session)
      if (ended !== 'more') return ended === 'done'
    }
  }

  async #retried(id: SessionKey, isDone: () => boolean): Promise<void> {
    for (let tries = 0; !isDone(); tries++) {
      if (tries === RETRIES_MAX) throw new StartError(`${id}: the store has no room to remove it`)
      await sleep(RETRY_MS)
    }
  }

  #apply(record: StoreRecord): void {
    this.#clock.apply(record)
    if (record.type === 'clock') this.#mark = record
    else if (isGatewayRecord(record)) {
      const sensor = this.#sensors.get(record.clientId) ?? { topicIds: 0 }
      this.#sensors.set(record.clientId, sensor)
      if (record.type === 'sn-topic') sensor.topicIds++
      else if (record.type === 'sn-topic-end') sensor.topicIds--
      else if (record.type === 'sn-end') this.#sensors.delete(record.clientId)
    } else this.#broker.apply(record)
  }

  #infoOf(session: Session): SessionInfo {
    const { kind, clientId, key, username, owner, will, expirySeconds, recordedAs } = session
    const at = recordedAs === 'connected' ? undefined : recordedAs
    const sent = [...(session.inflight?.values() ?? [])]
    return {
      id: key,
      username: username ?? null,
      verified: owner.verified,
      address: owner.address ?? null,
      state: at === undefined ? 'connected' : 'disconnected',
      since: this.#date(at),
      expires: this.#date(at === undefined ? undefined : at + expirySeconds * 1000),
      subscriptions: session.subscriptions?.size ?? 0,
      messages: session.queueLength + sent.length,
      message_bytes: sent.reduce((sum, { queued }) => sum + queued.message.weight, session.queuedBytes),
      will_topic: will?.topic ?? null,
      topic_ids: kind === 'sn' ? (this.#sensors.get(clientId)?.topicIds ?? 0) : 0,
    }
  }

  #infoOfSensor(clientId: string): SessionInfo {
    const nothing = { subscriptions: 0, messages: 0, message_bytes: 0, will_topic: null, since: null, expires: null }
    const who = { username: null, verified: false, address: null, state: 'disconnected' as const }
    return { id: sessionKey('sn', clientId), ...who, ...nothing, topic_ids: this.#sensors.get(clientId)!.topicIds }
  }

  /** Returns the wall-clock time of a time in the store. */
  #date(at: number | undefined): string | null {
    const ahead = this.#mark === undefined ? 0 : this.#mark.wall - this.#mark.at
    const ms = at === undefined ? Number.POSITIVE_INFINITY : at + ahead
    return ms <= LAST_DATE ? new Date(Math.round(ms / 1000) * 1000).toISOString().replace('.000', '') : null
  }
}

/** The latest time that a JavaScript date can represent, in milliseconds since 1970. */
const LAST_DATE = 8.64e15
