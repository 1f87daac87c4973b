import type { Lsn } from '../store/store.ts'
import type { SnClient } from './sn-client.ts'

export type Assignment = { readonly topicId: number; readonly lsn: Lsn } | 'too many' | 'store full'

/** Gives topic names of one client their ids, and records them. */
export class TopicAssignment {
  readonly #client: SnClient
  /** Record of the newest topic id: no id may be told before it is durable. */
  lsn: Lsn = 0

  constructor(client: SnClient) {
    this.#client = client
  }

  /**
   * The id for a topic name, a new one if it has none; or why there is none. `evict`: what was used least recently gives way, because the
   * client will be told (ruling A27).
   */
  idFor(topicName: string, evict: boolean): Assignment {
    const { registry, host, clientId } = this.#client
    const known = registry.idOf(topicName)
    // Its record may still be on the way; it is older than anything that could be appended now.
    if (known !== undefined) return { topicId: known, lsn: this.lsn }
    const { store, options } = host
    let topicId = registry.assign(topicName, options.topicsPerClient)
    if (topicId === undefined) {
      this.#noticeFull(topicName)
      const oldest = evict ? registry.leastRecentlyUsed() : undefined
      if (oldest === undefined) return 'too many'
      if (store.append({ type: 'sn-topic-end', clientId, topicId: oldest }) === 'full') return 'store full'
      registry.remove(oldest)
      topicId = registry.assign(topicName, options.topicsPerClient)!
    }
    const lsn = store.append({ type: 'sn-topic', clientId, topicId, topicName })
    if (lsn === 'full') {
      registry.undo(topicId)
      return 'store full'
    }
    this.lsn = lsn
    return { topicId, lsn }
  }

  #noticeFull(topicName: string): void {
    const { host, key, route: peer } = this.#client
    const reason = `no topic id for ${topicName}`
    host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, reason, limit: 'max_sn_topics_per_client' })
  }
}
