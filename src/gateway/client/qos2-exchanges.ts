import type { Instant } from '../../base/machine.ts'
import { COST } from '../../base/memory-costs.ts'
import { Timer } from '../../base/timers.ts'
import { type GatewayRecord, wallTime } from '../../store/store.ts'
import type { GatewayClient } from './client.ts'
import type { ClientTimer } from './client-host.ts'
import { Qos2Ids } from './qos2-ids.ts'

/** Ids that are forgotten in one turn. */
const FORGOTTEN_PER_TURN = 64
/** Milliseconds, at least, between two looks for ids that are over. */
const LOOK_AGAIN_MS = 1000

/** What a QoS 2 PUBLISH is, by its message id, topic and payload. */
export type Repetition =
  | 'new'
  /** Of the message that waits for PUBREL. */
  | 'copy'
  /** Of a message that was released a short while ago. */
  | 'late copy'
  /** Another message than the one that waits for PUBREL under this id: the client has left that one. */
  | 'instead'

/** The QoS 2 messages of one client: their ids, recorded so that each is published once, whatever the network and the process do (ruling A17). */
export class Qos2Exchanges {
  readonly #client: GatewayClient
  #ids: Qos2Ids | undefined = undefined
  #timer: Timer<ClientTimer> | undefined = undefined
  /** Ids whose end the broker has still to confirm: it may take what comes under one for a copy of what came before. */
  #unconfirmed: Set<number> | undefined = undefined
  /** Bytes that the account of the memory has for the ids. */
  #counted = 0

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Ids that are remembered: they belong to a conversation that a clean session ends. */
  get size(): number {
    return this.#ids?.size ?? 0
  }

  /** What they take in memory. */
  get bytes(): number {
    return this.size * COST.qos2Id
  }

  /** Ids that wait for PUBREL. */
  get opened(): Iterable<number> {
    return this.#ids?.opened ?? []
  }

  /** Ids whose PUBREL the broker has still to answer. */
  get unconfirmed(): Iterable<number> {
    return [...(this.#unconfirmed ?? [])]
  }

  /** The client has used this id, and may still repeat what it said with it. */
  knows(msgId: number): boolean {
    return this.#ids?.knows(msgId) === true
  }

  /** A clean session: message ids begin anew, and what was said before may be said again. */
  clear(): void {
    this.#ids = undefined
    this.#unconfirmed = undefined
    this.#count()
    this.stop()
  }

  /** The client is forgotten, with its ids. */
  stop(): void {
    if (this.#timer !== undefined) this.#client.host.timers.disarm(this.#timer)
  }

  repetitionOf(now: Instant, msgId: number, fingerprint: number): Repetition {
    const openAs = this.#ids?.openAs(msgId)
    if (openAs !== undefined && openAs === fingerprint) return 'copy'
    if (this.#ids?.isLateCopy(this.#arrived(now), msgId, fingerprint) === true) return 'late copy'
    return openAs !== undefined || this.#unconfirmed?.has(msgId) === true ? 'instead' : 'new'
  }

  /** Notes the id of a message, before the broker's receipt, so that PUBREC waits for both. Gives why it cannot be, or '' if it is noted. */
  open(now: Instant, msgId: number, fingerprint: number): string {
    const { host, link, key, route: peer } = this.#client
    const arrived = this.#arrived(now)
    this.#ids ??= new Qos2Ids()
    const over = this.#ids.isFull(arrived) ? host.memory.refusal(link?.holder, COST.qos2Id) : undefined
    if (over !== undefined) {
      host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, ...over })
      return `for which there is no memory (${over.limit})`
    }
    const slot = this.#ids.open(arrived, msgId, fingerprint)
    this.#count()
    if (slot === undefined || this.#record({ slot, msgId, fingerprint, until: 0 })) return ''
    this.#ids.refused(msgId)
    this.#arm(now)
    return 'the store is full'
  }

  /** A copy of the PUBLISH is recognised for a while. Recorded before the broker's own record, so that PUBCOMP waits for both. */
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

  /** The broker has released it, too. */
  confirmed(msgId: number): void {
    this.#unconfirmed?.delete(msgId)
  }

  /** The message was refused, and its id stands for nothing. */
  refused(now: Instant, msgId: number): void {
    if (this.#ids === undefined) return
    this.#ids.refused(msgId)
    this.#arm(now)
  }

  /** Forgets the ids that are over. */
  timedOut(now: Instant): void {
    const { host, clientId } = this.#client
    const arrived = this.#arrived(now)
    let left = FORGOTTEN_PER_TURN
    for (; left > 0; left--) {
      const slot = this.#ids?.over(arrived)
      if (slot === undefined || host.store.append({ type: 'sn-qos2-end', clientId, slot }) === 'full') break
      this.#ids!.remove(slot)
    }
    this.#count()
    if (left === 0) this.#armAt(now)
    else this.#arm(now)
  }

  /** For the replay. */
  restore({ slot, msgId, fingerprint, until }: Extract<GatewayRecord, { type: 'sn-qos2' }>): void {
    this.#ids ??= new Qos2Ids()
    this.#ids.restore(slot, { msgId, fingerprint, until: until === 0 ? undefined : until })
  }

  /** For the replay. */
  remove(slot: number): void {
    this.#ids?.remove(slot)
  }

  /** After the replay. */
  recover(now: Instant): void {
    if (this.#ids === undefined) return
    const { clock, options } = this.#client.host
    this.#ids.recover(clock, now + options.qos2HoldDownMs)
    this.#count()
    this.#arm(now)
  }

  /** When what is heard now may have been sent, at the earliest: it may have waited while the process did not run. */
  #arrived(now: Instant): Instant {
    return this.#client.host.pauses.earliestArrival(now)
  }

  /** What the ids take is in the account of the memory. */
  #count(): void {
    const { bytes } = this
    if (bytes === this.#counted) return
    this.#client.host.topicIdBytes.sum += bytes - this.#counted
    this.#counted = bytes
    this.#client.tellKept()
  }

  /** Most places are taken again before it comes to this, so a look now and then is enough. */
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
