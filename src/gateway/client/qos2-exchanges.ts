import type { Instant } from '../../base/machine.ts'
import { Timer } from '../../base/timers.ts'
import { type GatewayRecord, wallTime } from '../../store/store.ts'
import type { GatewayClient } from './client.ts'
import type { ClientTimer } from './client-host.ts'
import { Qos2Ids } from './qos2-ids.ts'

/** Maximum number of ids removed per turn. */
const FORGOTTEN_PER_TURN = 64
/** Minimum time between two searches for expired ids, in milliseconds. */
const LOOK_AGAIN_MS = 1000

/** What a QoS 2 PUBLISH is, judged by its message id, topic and payload. */
export type Repetition =
  | 'new'
  /** A copy of the message that waits for PUBREL. */
  | 'copy'
  /** A copy of a message that was released a short while ago. */
  | 'late copy'
  /** Another message than the one that waits for PUBREL under this id, which the client has abandoned. */
  | 'instead'

/**
 * The QoS 2 messages of one client. Their ids are recorded so that each message is published once in spite of retransmission and
 * restarts (ruling A17).
 */
export class Qos2Exchanges {
  readonly #client: GatewayClient
  #ids: Qos2Ids | undefined = undefined
  #timer: Timer<ClientTimer> | undefined = undefined
  /**
   * Ids whose release the broker has not confirmed yet. Until then it may take a new message with that id for a copy of the old
   * one.
   */
  #unconfirmed: Set<number> | undefined = undefined
  /** Bytes that are included in `host.topicIdTotals`. */
  #counted = 0

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Number of ids that are remembered. They belong to the session; a clean session discards them. */
  get size(): number {
    return this.#ids?.size ?? 0
  }

  /** Bytes of memory taken by the ids. */
  get bytes(): number {
    return this.#ids?.bytes ?? 0
  }

  /** True if no id is remembered. */
  get isIdle(): boolean {
    return this.#ids === undefined && (this.#unconfirmed?.size ?? 0) === 0 && this.#timer?.armed !== true
  }

  /** Ids that wait for PUBREL. */
  get opened(): Iterable<number> {
    return this.#ids?.opened ?? []
  }

  /** Ids whose PUBREL the broker has not answered yet. */
  get unconfirmed(): Iterable<number> {
    return [...(this.#unconfirmed ?? [])]
  }

  /** True if the client has used this id and may still retransmit what it sent under it. */
  knows(msgId: number): boolean {
    return this.#ids?.knows(msgId) === true
  }

  /** A clean session: message ids start over, and an earlier message may be sent again as a new one. */
  clear(): void {
    this.#ids = undefined
    this.#unconfirmed = undefined
    this.#count()
    this.stop()
  }

  /** Stops the timer: the client is forgotten, with its ids. */
  stop(): void {
    if (this.#timer !== undefined) this.#client.host.timers.disarm(this.#timer)
  }

  repetitionOf(now: Instant, msgId: number, fingerprint: number): Repetition {
    const openAs = this.#ids?.openAs(msgId)
    if (openAs !== undefined && openAs === fingerprint) return 'copy'
    if (this.#ids?.isLateCopy(this.#arrived(now), msgId, fingerprint) === true) return 'late copy'
    return openAs !== undefined || this.#unconfirmed?.has(msgId) === true ? 'instead' : 'new'
  }

  /**
   * Records the id of a message before the broker records its receipt, so that PUBREC waits for both. Returns why that is
   * impossible, or ''.
   */
  open(now: Instant, msgId: number, fingerprint: number): string {
    const { host, link, key, route: peer } = this.#client
    const arrived = this.#arrived(now)
    const growth = this.#ids === undefined ? Qos2Ids.leastBytes : this.#ids.growth(arrived)
    const over = growth > 0 ? host.memory.refusal(link?.holder, growth) : undefined
    if (over !== undefined) {
      host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, ...over })
      return `for which there is no memory (${over.limit})`
    }
    this.#ids ??= new Qos2Ids()
    const slot = this.#ids.open(arrived, msgId, fingerprint)
    this.#count()
    if (slot === undefined || this.#record({ slot, msgId, fingerprint, until: 0 })) return ''
    this.#ids.refused(msgId)
    this.#freeIfEmpty()
    this.#arm(now)
    return 'the store is full'
  }

  /**
   * Handles PUBREL: copies of the PUBLISH are recognised for `qos2HoldDownMs` more. Recorded before the broker's own record, so
   * that PUBCOMP waits for both.
   */
  release(now: Instant, msgId: number): void {
    const { host } = this.#client
    const until = now + host.options.qos2HoldDownMs
    if (this.knows(msgId)) {
      this.#unconfirmed ??= new Set()
      this.#unconfirmed.add(msgId)
    }
    const released = this.#ids?.release(msgId, until)
    if (released === undefined) return
    this.#record({ ...released, msgId, until: wallTime(host.clock, until) })
    this.#arm(now)
  }

  /** The broker has released the message, too. */
  confirmed(msgId: number): void {
    this.#unconfirmed?.delete(msgId)
  }

  /** The message was refused: its id is free. */
  refused(now: Instant, msgId: number): void {
    if (this.#ids === undefined) return
    this.#ids.refused(msgId)
    this.#freeIfEmpty()
    this.#arm(now)
  }

  /** Removes expired ids. */
  timedOut(now: Instant): void {
    const { host, clientId } = this.#client
    const arrived = this.#arrived(now)
    let left = FORGOTTEN_PER_TURN
    for (; left > 0; left--) {
      const slot = this.#ids?.over(arrived)
      if (slot === undefined || host.store.append({ type: 'sn-qos2-end', clientId, slot }) === 'full') break
      this.#ids!.remove(slot)
    }
    this.#freeIfEmpty()
    if (left === 0) this.#armAt(now)
    else this.#arm(now)
  }

  /** Used by the replay of the store. */
  restore({ slot, msgId, fingerprint, until }: Extract<GatewayRecord, { type: 'sn-qos2' }>): void {
    this.#ids ??= new Qos2Ids()
    this.#ids.restore(slot, { msgId, fingerprint, until: until === 0 ? undefined : until })
  }

  /** Used by the replay of the store. */
  remove(slot: number): void {
    this.#ids?.remove(slot)
    this.#freeIfEmpty()
  }

  /** Called after the replay of the store. */
  recover(now: Instant): void {
    if (this.#ids === undefined) return
    const { clock, options } = this.#client.host
    this.#ids.recover(clock, now + options.qos2HoldDownMs)
    this.#count()
    this.#arm(now)
  }

  /** The earliest time at which what is received now may have arrived: it may have waited while the process was paused. */
  #arrived(now: Instant): Instant {
    return this.#client.host.pauses.earliestArrival(now)
  }

  /** A table without ids has bytes, and would be lost with them when its client rests. */
  #freeIfEmpty(): void {
    if (this.#ids?.size === 0) this.#ids = undefined
    this.#count()
  }

  /** Updates the gateway's memory accounting. */
  #count(): void {
    const { bytes } = this
    if (bytes === this.#counted) return
    this.#client.host.topicIdTotals.bytes += bytes - this.#counted
    this.#counted = bytes
    this.#client.reportKept()
  }

  /** Most slots are reused before this is necessary, so an occasional search is enough. */
  #arm(now: Instant): void {
    if (this.#timer?.armed === true) return
    const next = this.#ids?.nextOver()
    if (next === undefined) return
    this.#armAt(Math.max(next, now) + Math.max(this.#client.host.options.qos2HoldDownMs, LOOK_AGAIN_MS))
  }

  #armAt(at: Instant): void {
    this.#timer ??= new Timer<ClientTimer>({ client: this.#client, about: 'ids' })
    this.#client.host.timers.arm(this.#timer, at)
  }

  #record(id: { slot: number; msgId: number; fingerprint: number; until: number }): boolean {
    const { host, clientId } = this.#client
    return host.store.append({ type: 'sn-qos2', clientId, ...id }) !== 'full'
  }
}
