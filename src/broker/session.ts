import { NO_FIGURES } from '../base/client-figures.ts'
import type { Instant } from '../base/machine.ts'
import { COST, stringBytes, WAITING_BYTES } from '../base/memory-costs.ts'
import type { Holder, Tally } from '../base/shares.ts'
import type { SmallMap } from '../base/small-map.ts'
import { Timer } from '../base/timers.ts'
import { Author } from '../mqtt/author.ts'
import type { ClientKind } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
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
import { type Queued, SessionQueue } from './session-queue.ts'
import { NO_SHARES, type Share } from './session-shares.ts'
import type { Subscription } from './subscription.ts'

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
  /** Messages that wait for the client; `undefined` until there is one, or retained messages are looked for. */
  queue: SessionQueue | undefined = undefined
  inflight: PacketIdMap<Inflight> | undefined = undefined
  receipts: Receipts | undefined = undefined
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
  /** Estimated bytes of its filters, for the shares: each counts in full, even if other sessions have it too. */
  filterBytes = 0
  /** Bytes that the gateway keeps for a sensor: its topic ids. */
  keptBytes = 0
  tallied = 0
  user: Tally | undefined = undefined
  address: Tally | undefined = undefined
  /** What is left of `PATIENCE_MS`. */
  patienceMs = PATIENCE_MS
  /** `expirySeconds`, or -1 for Infinity, which would make this field 16 bytes larger in all sessions. */
  #expirySeconds = 0
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

  /** Seconds that the session outlives its connection; 0 ends with it, Infinity never ends. */
  get expirySeconds(): number {
    return this.#expirySeconds < 0 ? Number.POSITIVE_INFINITY : this.#expirySeconds
  }

  set expirySeconds(seconds: number) {
    this.#expirySeconds = seconds === Number.POSITIVE_INFINITY ? -1 : seconds
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
    return this.queue === undefined ? 0 : this.queue.length
  }

  get queuedBytes(): number {
    return this.queue === undefined ? 0 : this.queue.bytes
  }

  get queuedQos0(): number {
    return this.queue === undefined ? 0 : this.queue.qos0
  }

  /** The queue, which is made if it is not there. */
  openQueue(): SessionQueue {
    if (this.queue === undefined) {
      this.queue = new SessionQueue(this.#holdings)
      this.#holdings.queues++
    }
    return this.queue
  }

  /** Gives up the queue if nothing needs it. */
  tidyQueue(): void {
    if (this.queue?.isUnused === true) this.closeQueue()
  }

  /** Gives up the queue, which is empty, and whose timer is not armed. */
  closeQueue(): void {
    if (this.queue !== undefined) this.#holdings.queues--
    this.queue = undefined
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
