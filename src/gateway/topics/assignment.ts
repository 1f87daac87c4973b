import type { Memory } from '../../base/memory.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Holder } from '../../base/shares.ts'
import type { Lsn, SessionKey, Store } from '../../store/store.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import type { RouteKey } from '../ports/route.ts'
import { type Offered, type TopicRegistry, topicIdBytes } from './registry.ts'

/**
 * A topic id with the record that must be durable before it is sent (`isNew`: the topic had no id before), or why there
 * is none.
 */
export type Assignment =
  | { readonly topicId: number; readonly lsn: Lsn; readonly isNew: boolean }
  | 'too many'
  | 'in use'
  | 'store full'
  | 'no memory'

/** An id that another one has replaced. */
interface Removed {
  readonly id: number
  readonly topicName: string
  readonly offered: Offered
}

/** What the assignment of topic ids needs from a client. */
export interface TopicHolder {
  readonly clientId: string
  readonly key: SessionKey
  readonly route: RouteKey
  readonly registry: TopicRegistry
  readonly holder: Holder | undefined
  readonly host: {
    readonly store: Store
    readonly memory: Memory
    readonly options: GatewayOptions
    readonly notice: NoticeSink
  }
  /** Returns the topic ids of open REGISTERs, with `inPublishes` also those of unanswered PUBLISHes. */
  topicIdsInUse(inPublishes: boolean): ReadonlySet<number>
  /** The memory taken by the client's topic ids has changed. */
  reportKept(): void
}

/** Assigns topic ids to the topic names of one client, and records them. */
export class TopicAssignment {
  readonly #client: TopicHolder
  /** Record of the newest topic id. No id may be sent before it is durable. */
  lsn: Lsn = 0
  /** What was removed for the id that the client requested last, `to`. */
  #gaveWay: { readonly to: number; readonly removed: readonly Removed[] } | undefined = undefined

  constructor(client: TopicHolder) {
    this.#client = client
  }

  /**
   * Returns the id of a topic that the client registers or subscribes to, or why there is none. The id is kept while the
   * session lasts.
   */
  asked(topicName: string): Assignment {
    const { registry } = this.#client
    const known = registry.idOf(topicName)
    if (known === undefined || registry.isDoubtful(known)) return this.#assign(topicName, true)
    if (registry.isAsked(known)) return this.#known(known)
    const lsn = this.#record(known, topicName, undefined)
    if (lsn === 'full') return 'store full'
    registry.markAsked(known)
    return { topicId: known, lsn, isNew: false }
  }

  /**
   * Returns the id of a topic of a message to the client. It may replace the least recently used id, because the client
   * will be sent a REGISTER (ruling A27).
   */
  offered(topicName: string): Assignment {
    const known = this.#client.registry.idOf(topicName)
    return known === undefined ? this.#assign(topicName, false) : this.#known(known)
  }

  /** True if no record of an id waits for the store, and no id would be restored by `takeBack`. */
  get isSettled(): boolean {
    const { host, registry } = this.#client
    return this.lsn <= host.store.durable && (this.#gaveWay === undefined || registry.isReceived(this.#gaveWay.to))
  }

  /** Withdraws a requested id that the client never received, because its subscription was refused. */
  takeBack(topicId: number): void {
    const { registry, host, clientId } = this.#client
    if (!registry.undo(topicId)) return
    host.store.append({ type: 'sn-topic-end', clientId, topicId })
    if (this.#gaveWay?.to !== topicId) return
    // Restores the ids that were removed for it; they are registered again before they are used, or their REGISTER is under way.
    // It may have been the highest id, whose row is needed.
    for (const { id, topicName, offered } of this.#gaveWay.removed) {
      const isFree = registry.nameOf(id) === undefined && registry.idOf(topicName) === undefined
      if (isFree && registry.size < host.options.topicsPerClient && this.#record(id, topicName, offered) !== 'full')
        registry.add(id, topicName, offered)
    }
    this.#gaveWay = undefined
  }

  /** The record of the id may not be durable yet, but it is older than any record appended from now on. */
  #known(topicId: number): Assignment {
    return { topicId, lsn: this.lsn, isNew: false }
  }

  #assign(topicName: string, asked: boolean): Assignment {
    const { registry, host, clientId } = this.#client
    const most = host.options.topicsPerClient
    const free = registry.freeNumber(asked, most)
    let oldest: number | undefined
    const over = host.memory.refusal(this.#client.holder, topicIdBytes(topicName))
    if (over !== undefined && asked) {
      this.#notice(`${over.reason}: no topic id for ${topicName}`, over.limit)
      return 'no memory'
    }
    if (over !== undefined) oldest = registry.leastRecentlyUsed(this.#client.topicIdsInUse(false))
    if (registry.size >= most || free === undefined) {
      this.#noticeFull(topicName, registry.size >= most)
      if (asked && free === undefined) return 'too many'
      const inUse = this.#client.topicIdsInUse(free === undefined)
      oldest = registry.leastRecentlyUsed(inUse)
      if (oldest === undefined) return inUse.size > 0 ? 'in use' : 'too many'
    }
    const { id, offered } = free ?? { id: oldest!, offered: 'again' as const }
    const removed = this.#removedFor(id, [oldest, registry.idOf(topicName)])
    const lsn = this.#record(id, topicName, offered)
    if (lsn === 'full') return 'store full'
    registry.add(id, topicName, offered)
    for (const gone of removed) {
      // The row of the highest id tells a restart which ids have been assigned.
      if (gone.id !== registry.highest) host.store.append({ type: 'sn-topic-end', clientId, topicId: gone.id })
      registry.remove(gone.id)
    }
    if (asked && removed.length > 0) this.#gaveWay = { to: id, removed }
    this.#client.reportKept()
    return { topicId: id, lsn, isNew: true }
  }

  /** The session has ended, and all its ids with it. */
  sessionEnded(): void {
    this.#gaveWay = undefined
  }

  #removedFor(id: number, gone: readonly (number | undefined)[]): Removed[] {
    const { registry } = this.#client
    const removed: Removed[] = []
    for (const each of new Set(gone)) {
      const topicName = each === undefined || each === id ? undefined : registry.nameOf(each)
      if (topicName !== undefined) removed.push({ id: each!, topicName, offered: registry.offeredAs(each!) })
    }
    return removed
  }

  #record(topicId: number, topicName: string, offered: 'first' | 'again' | undefined): Lsn | 'full' {
    const { host, clientId } = this.#client
    const lsn = host.store.append({ type: 'sn-topic', clientId, topicId, topicName, ...(offered !== undefined && { offered }) })
    if (lsn !== 'full') this.lsn = lsn
    return lsn
  }

  #noticeFull(topicName: string, tooMany: boolean): void {
    const reason = `no topic id for ${topicName}${tooMany ? '' : ': all numbers are in use'}`
    this.#notice(reason, tooMany ? 'max_sn_topics_per_client' : 'gateway_topic_ids')
  }

  #notice(reason: string, limit: string | undefined): void {
    const { host, key, route: peer } = this.#client
    host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, reason, ...(limit !== undefined && { limit }) })
  }
}
