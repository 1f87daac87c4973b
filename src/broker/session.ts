import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import { COST, stringBytes, WAITING_BYTES } from '../base/memory-costs.ts'
import type { Holder, Tally } from '../base/shares.ts'
import type { SmallMap } from '../base/small-map.ts'
import { Timer } from '../base/timers.ts'
import { Author } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import { willBytes } from '../mqtt/wills.ts'
import type { Lsn, SessionKey, StoredOwner, WallTime } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { ClientLink } from './client-link.ts'
import type { SessionShapes } from './filter-shapes.ts'
import type { Holdings } from './holdings.ts'
import { PATIENCE_MS } from './limits.ts'
import { NO_SHARES, type Share } from './session-shares.ts'

export interface Subscription {
  /** As the client wrote it, `$share/<group>/` included: what UNSUBSCRIBE has to repeat. */
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier: number | undefined
}

/** A message that waits for one client. */
export class Queued {
  readonly message: Publish
  readonly qos: QoS
  readonly retain: boolean
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /** The shared subscription it came by: another member gets it if this one's session ends first. */
  readonly share: string | undefined

  constructor(
    message: Publish,
    qos: QoS,
    retain: boolean,
    subscriptionIdentifiers: readonly number[] | undefined,
    share: string | undefined,
  ) {
    this.message = message
    this.qos = qos
    this.retain = retain
    this.subscriptionIdentifiers = subscriptionIdentifiers
    this.share = share
  }
}

/** A QoS 1 or 2 delivery that was handed out and is not fully acknowledged. */
export class Inflight {
  readonly queued: Queued
  readonly packetId: number
  /** QoS 2: the last record of this exchange (packet id, then PUBREC), which must be durable before PUBLISH or PUBREL leaves. */
  lsn: Lsn
  /** PUBREC came: PUBREL is what is repeated from here on (MQTT-4.3.3-6). */
  released = false
  /** Its PUBLISH has left, perhaps in an earlier conversation: another one is a repetition. */
  departed = false
  /** Its PUBLISH takes a place in the window of this conversation; PUBREL alone takes none [5.0 section 4.9]. */
  counts = false

  constructor(queued: Queued, packetId: number, lsn: Lsn) {
    this.queued = queued
    this.packetId = packetId
    this.lsn = lsn
  }
}

/** Links that are not read, and since when the first of them is not. */
export interface Held {
  readonly since: Instant
  readonly links: ClientLink[]
}

/** What a broker timer is about. */
export interface SessionTimer {
  readonly session: Session
  readonly about: SessionClock | 'grant' | 'held'
}

/**
 * Clocks of a session that nobody is connected to; what they lead to is recorded, and waits for room in the store. `detached`: the store does not
 * know yet that the conversation is over. Besides these, `grant`: what authentication granted runs out; `held`: publishers wait for the queue.
 */
export type SessionClock = 'detached' | 'will' | 'expiry'

/**
 * Everything that outlives a connection [5.0 section 4.1]. One object per client whose parts come into being when they are needed,
 * because a million sessions that merely exist must fit in memory.
 */
export class Session implements Identity, Holder {
  readonly key: SessionKey
  readonly kind: ClientKind
  readonly clientId: string
  username: string | undefined = undefined
  listener = ''
  grant: object | undefined = undefined
  certified = false
  /** Its key, and its user and listener, for what outlives the conversation. */
  author: Author
  /** The open conversation, if there is one. */
  link: ClientLink | undefined = undefined
  /** Seconds that the session outlives its connection; 0 ends with it, Infinity never ends. */
  expirySeconds = 0
  /** Has records in the store: the session, its queue and its packet ids survive the process. */
  persistent = false
  /** What was due and the store had no room for: it is tried again, and comes before whatever its client wants. */
  refused: 'will' | 'end' | undefined = undefined
  /** After a restart: what the store has of its last conversation, with this will, expiry and owner. A time: when it ended. */
  recordedAs: 'connected' | WallTime | undefined = undefined
  subscriptions: SmallMap<string, Subscription> | undefined = undefined
  /** What of them may match the same topic; made when there are so many that it matters. */
  shapes: SessionShapes | undefined = undefined
  inflight: Map<number, Inflight> | undefined = undefined
  /** QoS 2 packet ids taken in and not yet released by PUBREL, with the Lsn of each receipt. */
  received: Map<number, Lsn> | undefined = undefined
  /** Queued bytes, for the bound. */
  queuedBytes = 0
  /** Of the queued messages, those with QoS 0: what goes first when room is needed. */
  queuedQos0 = 0
  /** Payloads that were sent and are not acknowledged, bytes, for `max_inflight_bytes`. */
  inflightBytes = 0
  /** Of what is in flight, what takes a place in the window of this conversation. */
  outstanding = 0
  /** When a message last left the queue: says whether a full queue is one that moves. */
  drainedAt: Instant | undefined = undefined
  ended = false
  /** Its filters and messages have not been held against the rules that are in force. */
  unchecked = false
  /** Somebody has come back to it, in this process. */
  resumed = false
  /** Whose it is: `SessionShares`. */
  shares: readonly Share[] = NO_SHARES
  /** No queued message expires before; perhaps none at all by then. (Numbers that are no small integers take memory of their own.) */
  firstExpiry: Instant | undefined = undefined
  /** Made for the first queued message that expires. */
  expiryTimer: Timer<Session> | undefined = undefined
  /** Publishers that wait until this queue is shorter. */
  held: Held | undefined = undefined
  /** Bytes of its filters, by the estimate for shares: each counts in full, whoever else subscribes to it. */
  filterBytes = 0
  /** Bytes that whoever speaks for its client keeps for it: the topic ids of a sensor. */
  keptBytes = 0
  tallied = 0
  /** Something was queued while its client took nothing. */
  waited = false
  user: Tally | undefined = undefined
  address: Tally | undefined = undefined
  /** What is left of `PATIENCE_MS`. */
  patienceMs = PATIENCE_MS
  /** QoS 0 messages that need nothing else wait as themselves, so that fan-out allocates nothing. */
  #queue: Fifo<Publish | Queued> | undefined = undefined
  /** While retained messages are looked for: what came meanwhile, and follows them. */
  #behind: Fifo<Publish | Queued> | undefined = undefined
  /** How many at the head of the queue leave with the turn, and are not counted: QoS 0, as long as the client takes what comes. */
  #passing = 0
  #timers: Timer<SessionTimer>[] | undefined = undefined
  #will: Will | undefined = undefined
  readonly #holdings: Holdings
  #nextPacketId = 1
  /** From a record with this packet id a new process knows where ids go on. */
  #recordedId = 0
  /** Such a record that may not be durable yet. */
  #recording: { readonly packetId: number; readonly lsn: Lsn } | undefined = undefined

  constructor(kind: ClientKind, clientId: string, holdings: Holdings, owner = NO_OWNER, key = sessionKey(kind, clientId)) {
    this.kind = kind
    this.clientId = clientId
    this.key = key
    this.#holdings = holdings
    this.author = new Author(key, owner)
  }

  get owner(): StoredOwner {
    return this.author.owner ?? NO_OWNER
  }

  /** Bytes of the session alone, without its author and what is in it. */
  get ownBytes(): number {
    return COST.session + stringBytes(this.clientId)
  }

  get verified(): boolean {
    return this.owner.verified
  }

  get will(): Will | undefined {
    return this.#will
  }

  set will(will: Will | undefined) {
    this.#holdings.wills += willBytes(will) - willBytes(this.#will)
    this.#will = will
  }

  /** What it counts for in the shares of its client, its user and its address. What waits counts in full, whoever else it waits for. */
  get heldBytes(): number {
    if (this.ended) return 0
    const waiting = this.queuedBytes + this.inflightBytes + (this.queueLength + (this.inflight?.size ?? 0)) * WAITING_BYTES
    return this.ownBytes + this.author.bytes + this.filterBytes + this.keptBytes + willBytes(this.#will) + waiting
  }

  get queueLength(): number {
    return (this.#queue === undefined ? 0 : this.#queue.length) + (this.#behind === undefined ? 0 : this.#behind.length)
  }

  /** `waits`: its client takes nothing for now. A message that will have left at the end of the turn is not worth counting. */
  enqueue(entry: Publish | Queued, waits: boolean): void {
    if (this.#behind === undefined) this.#push(entry, waits)
    else {
      this.#behind.push(entry)
      this.#entered(entry)
    }
  }

  /** From now on everything but retained messages waits until all of those are there: they are older. */
  beginRetained(): void {
    this.#behind ??= new Fifo()
  }

  enqueueRetained(entry: Queued): void {
    this.#push(entry, true)
  }

  endRetained(): void {
    const behind = this.#behind
    this.#behind = undefined
    if (behind === undefined || behind.length === 0) return
    if (this.#queue === undefined || this.#queue.length === 0) this.#queue = behind
    else for (const entry of behind) this.#queue.push(entry)
  }

  #push(entry: Publish | Queued, waits: boolean): void {
    this.#queue ??= new Fifo()
    const queue = this.#queue
    // Behind what waits it waits too.
    if (entry instanceof Queued || waits || this.#passing < queue.length) this.#entered(entry)
    else {
      this.#passing++
      this.queuedBytes += entry.weight
      this.queuedQos0++
    }
    queue.push(entry)
  }

  #entered(entry: Publish | Queued): void {
    if (entry instanceof Queued) {
      this.queuedBytes += entry.message.weight
      if (entry.qos === 0) this.queuedQos0++
      this.#holdings.queued++
      this.#holdings.hold(entry.message)
    } else {
      this.queuedBytes += entry.weight
      this.queuedQos0++
      this.#hold(entry)
    }
  }

  /** Its client takes nothing from now on: what would have left with the turn stays. */
  stops(): void {
    if (this.#passing === 0) return
    let left = this.#passing
    this.#passing = 0
    for (const entry of this.#queue!) {
      if (left-- === 0) return
      this.#hold(messageOf(entry))
    }
  }

  #hold(message: Publish): void {
    this.#holdings.hold(message)
    this.#holdings.plain++
  }

  peekQueue(): Publish | Queued | undefined {
    return this.#queue === undefined ? undefined : this.#queue.peek()
  }

  dequeue(): Publish | Queued | undefined {
    const entry = this.#queue?.shift() ?? this.#behind?.shift()
    if (entry !== undefined) this.#left(entry)
    return entry
  }

  /** Takes out what does not pass; gives how many went. */
  filterQueue(keep: (entry: Publish | Queued) => boolean): number {
    this.stops()
    const passes = (entry: Publish | Queued): boolean => {
      if (keep(entry)) return true
      this.#left(entry)
      return false
    }
    const gone = (this.#queue?.filter(passes) ?? 0) + (this.#behind?.filter(passes) ?? 0)
    if (this.#queue?.length === 0) this.#queue = undefined
    return gone
  }

  /** A message goes out under a packet id. */
  depart(inflight: Inflight): void {
    this.inflight ??= new Map()
    this.inflight.set(inflight.packetId, inflight)
    this.inflightBytes += inflight.queued.message.payloadLength
    this.#holdings.hold(inflight.queued.message)
    this.#holdings.inflight++
    this.takePlace(inflight)
  }

  /** Its PUBLISH goes out, or goes out again in another conversation. */
  takePlace(inflight: Inflight): void {
    inflight.counts = true
    this.outstanding++
  }

  /** PUBREC came. PUBRELs are repeated in the order of the PUBRECs (3.1.1 MQTT-4.6.0-4, -6). */
  release(inflight: Inflight, lsn: Lsn): void {
    inflight.released = true
    inflight.lsn = lsn
    this.inflight!.delete(inflight.packetId)
    this.inflight!.set(inflight.packetId, inflight)
  }

  /** The exchange under this packet id is over; its id and its place in the window are free again. */
  settle(packetId: number): Inflight | undefined {
    const inflight = this.inflight?.get(packetId)
    if (inflight === undefined) return undefined
    this.inflight!.delete(packetId)
    this.inflightBytes -= inflight.queued.message.payloadLength
    this.#holdings.release(inflight.queued.message)
    this.#holdings.inflight--
    if (inflight.counts) this.outstanding--
    return inflight
  }

  /** A packet id that is not in flight, counting up and around (MQTT-2.2.1-4); the window is smaller than the id space. */
  freePacketId(): number {
    let id = this.#nextPacketId
    while (this.inflight?.has(id)) id = id === 0xffff ? 1 : id + 1
    this.#nextPacketId = id === 0xffff ? 1 : id + 1
    return id
  }

  /**
   * After a restart ids go on behind the last one that was recorded: a receiver remembers the QoS 2 ids that it finished a short while
   * ago, and would take a new message under one of them for a late copy of the old. Of the ids that QoS 1 takes most have no record; where a late
   * PUBACK may still come, they go on behind all that can have been used.
   */
  resumePacketIds(last: number): void {
    const next = last + (this.kind === 'sn' ? UNRECORDED_MAX : 1)
    this.#nextPacketId = next > 0xffff ? next - 0xffff : next
    this.#recordedId = last
  }

  /**
   * Whether a QoS 1 message for a sensor may take the next packet id: not where a new process would use it again. A sensor does not notice that the
   * process is another one, and its PUBACK from before must not be taken for that of another message. `record` notes an id, and gives its Lsn.
   */
  mayTakePacketId(durable: Lsn, record: (packetId: number) => Lsn | 'full'): boolean {
    if (this.#recording !== undefined && this.#recording.lsn <= durable) {
      this.#recordedId = this.#recording.packetId
      this.#recording = undefined
    }
    const ahead = (this.#nextPacketId - this.#recordedId + 0xffff) % 0xffff
    if (ahead < UNRECORDED_MAX / 2) return true
    if (this.#recording === undefined) {
      const lsn = record(this.#nextPacketId)
      if (lsn !== 'full') this.#recording = { packetId: this.#nextPacketId, lsn }
    }
    return ahead < UNRECORDED_MAX - WINDOW_MAX || (this.#recording !== undefined && this.#recording.lsn <= durable)
  }

  #left(entry: Publish | Queued): void {
    if (entry instanceof Queued) {
      this.queuedBytes -= entry.message.weight
      if (entry.qos === 0) this.queuedQos0--
      this.#holdings.queued--
      this.#holdings.release(entry.message)
      return
    }
    this.queuedBytes -= entry.weight
    this.queuedQos0--
    if (this.#passing > 0) this.#passing--
    else {
      this.#holdings.plain--
      this.#holdings.release(entry)
    }
  }

  /** A QoS 2 message of its client is taken in, with the Lsn of its receipt. */
  receive(packetId: number, lsn: Lsn): void {
    this.received ??= new Map()
    if (!this.received.has(packetId)) this.#holdings.receipts++
    this.received.set(packetId, lsn)
  }

  /** Its packet id is free again. */
  unreceive(packetId: number): void {
    if (this.received?.delete(packetId) === true) this.#holdings.receipts--
  }

  /** The session is over, with everything in it but what waits, which is passed on first. */
  clear(): void {
    this.will = undefined
    this.#holdings.receipts -= this.received?.size ?? 0
    this.received = undefined
  }

  timer(about: SessionTimer['about']): Timer<SessionTimer> {
    const known = this.#timers?.find(({ owner }) => owner.about === about)
    if (known !== undefined) return known
    const timer = new Timer<SessionTimer>({ session: this, about })
    // An empty array that grows makes room for 17.
    if (this.#timers === undefined) this.#timers = [timer]
    else this.#timers.push(timer)
    return timer
  }

  /** Those that were ever needed. */
  get timers(): readonly Timer<SessionTimer>[] {
    return this.#timers ?? NO_TIMERS
  }
}

/** Packet ids of a sensor that may be used beyond the last one that is in a record. */
const UNRECORDED_MAX = 64
/** Ids that are passed over because they are in flight: as many as a sensor's window may be (sn_inflight_messages). */
const WINDOW_MAX = 16
const NO_TIMERS: readonly Timer<SessionTimer>[] = []
const NO_OWNER: StoredOwner = { username: undefined, listener: '', verified: false }

export const sessionKey = (kind: ClientKind, clientId: string): SessionKey => `${kind}:${clientId}`

/** The session that a stored key names. */
export function sessionOf(key: SessionKey, holdings: Holdings): Session {
  const kind: ClientKind = key.startsWith('sn:') ? 'sn' : 'mqtt'
  return new Session(kind, key.slice(kind.length + 1), holdings, NO_OWNER, key)
}

export const messageOf = (entry: Publish | Queued): Publish => (entry instanceof Queued ? entry.message : entry)
export const qosOf = (entry: Publish | Queued): QoS => (entry instanceof Queued ? entry.qos : 0)
