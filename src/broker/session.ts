import { NO_FIGURES } from '../base/client-figures.ts'
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
import type { Lsn, SessionKey, StoredOwner, StoredReceipt, WallTime } from '../store/store.ts'
import type { Identity } from './access.ts'
import type { ClientLink } from './client-link.ts'
import type { SessionShapes } from './filter-shapes.ts'
import type { Holdings } from './holdings.ts'
import { PATIENCE_MS } from './limits.ts'
import { PacketIdMap } from './packet-id-map.ts'
import { PacketIds } from './packet-ids.ts'
import { Receipts } from './receipts.ts'
import type { SessionTimer } from './session-clocks.ts'
import { NO_SHARES, type Share } from './session-shares.ts'
import type { Subscription } from './subscription.ts'

/** A message queued for one client. */
export class Queued {
  readonly message: Publish
  readonly qos: QoS
  readonly retain: boolean
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /** The shared subscription it was delivered through: another member gets it if this session ends first. */
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
  /** PUBREC has arrived: from here on PUBREL is repeated (MQTT-4.3.3-6). */
  released = false
  /** Its PUBLISH has been sent, perhaps on an earlier connection: the next one is a duplicate. */
  departed = false
  /** Its PUBLISH counts against the window of this connection; PUBREL alone does not [5.0 section 4.9]. */
  counts = false

  constructor(queued: Queued, packetId: number, lsn: Lsn) {
    this.queued = queued
    this.packetId = packetId
    this.lsn = lsn
  }
}

/** Paused publishers, and since when the first of them is paused. */
export interface PausedPublishers {
  readonly since: Instant
  readonly links: ClientLink[]
}

/**
 * Everything that outlives a connection [5.0 section 4.1]. Its parts are created when needed, because a million idle sessions
 * must fit in memory.
 */
export class Session implements Identity, Holder {
  readonly key: SessionKey
  readonly kind: ClientKind
  readonly clientId: string
  username: string | undefined = undefined
  listener = ''
  grant: object | undefined = undefined
  certified = false
  /** Prefix of all topics of the connection; '' while unknown, as after a restart. */
  mountPoint = ''
  /** Key, user and listener, as they are kept with messages that outlive the connection. */
  author: Author
  /** The link of the connected client. */
  link: ClientLink | undefined = undefined
  /** Seconds that the session outlives its connection; 0 ends with it, Infinity never ends. */
  expirySeconds = 0
  /** Has records in the store: the session, its queue and its packet ids survive the process. */
  persistent = false
  /** Due, but the store had no room for it: retried, before anything that the client asks for. */
  refused: 'will' | 'end' | undefined = undefined
  /**
   * After a restart, what the store says of its last connection: it is still open, with this will, expiry and owner, or when it
   * ended.
   */
  recordedAs: 'connected' | WallTime | undefined = undefined
  subscriptions: SmallMap<string, Subscription> | undefined = undefined
  /** Their shapes, which limit how many may match one topic; created when there are enough to matter. */
  shapes: SessionShapes | undefined = undefined
  inflight: PacketIdMap<Inflight> | undefined = undefined
  receipts: Receipts | undefined = undefined
  /** Queued bytes, for max_queued_bytes. */
  queuedBytes = 0
  /** The number of queued QoS 0 messages, which are dropped first. */
  queuedQos0 = 0
  /** Payload bytes in flight, for `max_inflight_bytes`. */
  inflightBytes = 0
  /** Weight of the messages in flight. */
  inflightWeight = 0
  /** Messages in flight that count against the window of this connection. */
  outstanding = 0
  /** When a message last left the queue: tells a full queue that drains from one that does not. */
  drainedAt: Instant | undefined = undefined
  ended = false
  /** Its place in the list of all sessions. */
  seat = -1
  /** When it began, in whole seconds of this process; -1 if that was an earlier one. */
  createdAt = -1
  /** Its place among the figures of MQTT clients. */
  figuresAt = NO_FIGURES
  /** Its subscriptions and messages have not been checked against the current rules: each message is, before it is sent. */
  unchecked = false
  /** A client has resumed it, in this process. */
  resumed = false
  /** The shares in which it counts (`SessionShares`). */
  shares: readonly Share[] = NO_SHARES
  /** No queued message expires earlier; one that did may be gone. (Undefined, because Infinity would take memory of its own.) */
  firstExpiry: Instant | undefined = undefined
  /** Made for the first queued message that expires. */
  expiryTimer: Timer<Session> | undefined = undefined
  /** Publishers that are paused until this queue is shorter. */
  pausedPublishers: PausedPublishers | undefined = undefined
  /** Estimated bytes of its filters, for the shares: each counts in full, even if other sessions have it too. */
  filterBytes = 0
  /** Bytes that the gateway keeps for a sensor: its topic ids. */
  keptBytes = 0
  tallied = 0
  /** A message was queued while the client did not read, or had much in flight. */
  waited = false
  user: Tally | undefined = undefined
  address: Tally | undefined = undefined
  /** What is left of `PATIENCE_MS`. */
  patienceMs = PATIENCE_MS
  /** QoS 0 messages without options of their own are queued as they are, so that fan-out allocates nothing. */
  #queue: Fifo<Publish | Queued> | undefined = undefined
  /** While retained messages are searched for: messages that arrived since, which follow them. */
  #behind: Fifo<Publish | Queued> | undefined = undefined
  /** QoS 0 messages at the head of the queue of a client that reads: they leave by the end of the turn, and are not counted. */
  #passing = 0
  /** Places of the queue at which `sweepQueue` and `dropQos0` continue. */
  #sweptTo = 0
  #qos0From = 0
  #timers: Timer<SessionTimer>[] | undefined = undefined
  #will: Will | undefined = undefined
  readonly #holdings: Holdings
  #packetIds: PacketIds | undefined = undefined
  /** A sensor of a previous process, none of whose packet ids was recorded. */
  #mayHaveUsedIds = false

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

  /** Bytes of the session itself, without its author and its contents. */
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

  /**
   * Bytes that count in the shares of its client, user and address. Queued messages count in full, even if others have them
   * queued too.
   */
  get heldBytes(): number {
    if (this.ended) return 0
    const waiting = this.queuedBytes + this.inflightWeight + (this.queueLength + (this.inflight?.size ?? 0)) * WAITING_BYTES
    const receipts = this.receipts === undefined ? 0 : this.receipts.size * COST.receipt
    return this.ownBytes + this.author.bytes + this.filterBytes + this.keptBytes + willBytes(this.#will) + waiting + receipts
  }

  /** Whether the topic has a name below the mount point. `prefix/#`, which is `#` there, matches `prefix` too. */
  reaches(topic: string): boolean {
    return topic.length > this.mountPoint.length && topic.startsWith(this.mountPoint)
  }

  get queueLength(): number {
    return (this.#queue === undefined ? 0 : this.#queue.length) + (this.#behind === undefined ? 0 : this.#behind.length)
  }

  /** `waits`: the client does not read for now. Messages that leave by the end of the turn are not counted. */
  enqueue(entry: Publish | Queued, waits: boolean): void {
    if (this.#behind === undefined) this.#push(entry, waits)
    else {
      this.#behind.push(entry)
      this.#entered(entry)
    }
  }

  /** From now on new messages are held back until all retained messages are queued, because those are older. */
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
    this.#queue ??= new Fifo()
    for (const entry of behind) this.#queue.push(entry)
  }

  #push(entry: Publish | Queued, waits: boolean): void {
    this.#queue ??= new Fifo()
    const queue = this.#queue
    // Messages queue behind those that are held back.
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
      this.#holdings.holdWaiting(entry.message)
    } else {
      this.queuedBytes += entry.weight
      this.queuedQos0++
      this.#hold(entry)
    }
  }

  /** The client stops reading: messages that would have left with the turn stay, and count. */
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
    this.#holdings.holdWaiting(message)
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

  /** Everything that is queued, in order. */
  *queued(): Generator<Publish | Queued, void> {
    if (this.#queue !== undefined) yield* this.#queue
    if (this.#behind !== undefined) yield* this.#behind
  }

  /** The next `sweepQueue` begins with the first entry. */
  restartSweep(): void {
    this.#sweptTo = 0
  }

  /**
   * Continues to examine the queue, up to `most` places, and removes the entries that do not pass. Returns the number of places;
   * less than `most` at the end of the queue. Messages that are held back follow when they have joined it.
   */
  sweepQueue(most: number, keep: (entry: Publish | Queued) => boolean): number {
    const begin = Math.max(this.#sweptTo, this.#queue?.first ?? 0)
    this.#sweptTo = this.#sweep(begin, most, keep)
    return this.#sweptTo - begin
  }

  /** Removes the entries that do not pass, except those that are held back. */
  filterQueue(keep: (entry: Publish | Queued) => boolean): void {
    this.#sweep(0, Number.POSITIVE_INFINITY, keep)
  }

  /** Whether `sweepQueue` has examined everything. */
  get isSwept(): boolean {
    return this.#behind === undefined && (this.#queue === undefined || this.#sweptTo >= this.#queue.end)
  }

  /**
   * Removes QoS 0, the oldest first, until there is enough room, from up to `most` places; returns the number of places. It
   * continues where the last call found enough: no QoS 0 is left before that place.
   */
  dropQos0(most: number, isEnough: () => boolean): number {
    const begin = Math.max(this.#qos0From, this.#queue?.first ?? 0)
    this.#qos0From = this.#sweep(begin, most, (entry) => {
      if (this.queuedQos0 === 0 || isEnough()) return undefined
      return qosOf(entry) > 0
    })
    return this.#qos0From - begin
  }

  #sweep(from: number, most: number, keep: (entry: Publish | Queued) => boolean | undefined): number {
    this.stops()
    if (this.#queue === undefined) return from
    return this.#queue.sweep(from, most, (entry) => {
      const passes = keep(entry)
      if (passes === false) this.#left(entry)
      return passes
    })
  }

  /** A message is sent under a packet id. */
  depart(inflight: Inflight): void {
    this.join(inflight)
    this.takePlace(inflight)
  }

  /** It is in flight, and does not count against the window yet. */
  join(inflight: Inflight): void {
    this.inflight ??= new PacketIdMap()
    // [MQTT-4.6.0-5]
    this.inflight.add(inflight)
    this.inflightBytes += inflight.queued.message.payloadLength
    this.inflightWeight += inflight.queued.message.weight
    this.#holdings.holdWaiting(inflight.queued.message)
    this.#holdings.inflight++
  }

  /** Its PUBLISH is sent, or sent again on another connection. */
  takePlace(inflight: Inflight): void {
    inflight.counts = true
    this.outstanding++
  }

  /** PUBREC has arrived. PUBRELs are repeated in the order of the PUBRECs (3.1.1 MQTT-4.6.0-4, -6). */
  release(inflight: Inflight, lsn: Lsn): void {
    // [MQTT-4.3.3-6]
    inflight.released = true
    inflight.lsn = lsn
    // [3.1.1 MQTT-4.6.0-6]
    this.inflight!.moveToEnd(inflight)
  }

  /** The exchange is complete; its packet id and its place in the window are free again. */
  complete(inflight: Inflight): void {
    this.inflight!.delete(inflight.packetId)
    this.inflightBytes -= inflight.queued.message.payloadLength
    this.inflightWeight -= inflight.queued.message.weight
    this.#holdings.releaseWaiting(inflight.queued.message)
    this.#holdings.inflight--
    if (inflight.counts) this.outstanding--
  }

  /** Its client rests: gives up the empty queue and the empty set in flight, 390 bytes of one that was ever sent a message. */
  rest(): void {
    if (this.inflight?.size === 0) this.inflight = undefined
    if (this.#queue?.length !== 0) return
    this.#queue = undefined
    this.#sweptTo = 0
    this.#qos0From = 0
  }

  /** A packet id that is not in flight. */
  freePacketId(): number {
    return this.#ids().free(this.inflight)
  }

  /** After a restart packet ids continue behind the last recorded one, if there is one. */
  resumePacketIds(last: number): void {
    if (last > 0) this.#ids().resume(last, this.kind)
    else this.#mayHaveUsedIds = this.kind === 'sn'
  }

  /** Whether a QoS 1 message for a sensor may use the next packet id (`PacketIds`). */
  mayTakePacketId(durable: Lsn, record: (packetId: number) => Lsn | 'full'): boolean {
    return this.#ids().mayTake(durable, record)
  }

  #ids(): PacketIds {
    if (this.#packetIds === undefined) {
      this.#packetIds = new PacketIds()
      if (this.#mayHaveUsedIds) this.#packetIds.resume(0, this.kind)
    }
    return this.#packetIds
  }

  #left(entry: Publish | Queued): void {
    if (entry instanceof Queued) {
      this.queuedBytes -= entry.message.weight
      if (entry.qos === 0) this.queuedQos0--
      this.#holdings.queued--
      this.#holdings.releaseWaiting(entry.message)
      return
    }
    this.queuedBytes -= entry.weight
    this.queuedQos0--
    if (this.#passing > 0) this.#passing--
    else {
      this.#holdings.plain--
      this.#holdings.releaseWaiting(entry)
    }
  }

  /** A QoS 2 message of the client has been accepted; `lsn` is that of its receipt. */
  receive(packetId: number, lsn: Lsn): void {
    this.#receiptsFor(packetId).add(packetId, lsn)
  }

  restoreReceipt(receipt: StoredReceipt): void {
    this.#receiptsFor(receipt.packetId).restore(receipt)
  }

  #receiptsFor(packetId: number): Receipts {
    this.receipts ??= new Receipts()
    if (this.receipts.get(packetId) === undefined) this.#holdings.receipts++
    return this.receipts
  }

  /** PUBREL has arrived: the packet id is free again. */
  unreceive(packetId: number): void {
    if (this.receipts?.release(packetId) === true) this.#holdings.receipts--
  }

  /** The session has ended: clears everything, except queued messages, which were handed over before. */
  clear(): void {
    this.will = undefined
    this.#holdings.receipts -= this.receipts?.size ?? 0
    this.receipts = undefined
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

  /** The timers that were ever needed. */
  get timers(): readonly Timer<SessionTimer>[] {
    return this.#timers ?? NO_TIMERS
  }
}

const NO_TIMERS: readonly Timer<SessionTimer>[] = []
const NO_OWNER: StoredOwner = { username: undefined, listener: '', verified: false }

export const sessionKey = (kind: ClientKind, clientId: string): SessionKey => `${kind}:${clientId}`

/** The session that a stored key names. */
export function sessionOf(key: SessionKey, holdings: Holdings, owner = NO_OWNER): Session {
  const kind: ClientKind = key.startsWith('sn:') ? 'sn' : 'mqtt'
  return new Session(kind, key.slice(kind.length + 1), holdings, owner, key)
}

export const messageOf = (entry: Publish | Queued): Publish => (entry instanceof Queued ? entry.message : entry)
export const qosOf = (entry: Publish | Queued): QoS => (entry instanceof Queued ? entry.qos : 0)
