import { type Holder, Shares } from './shares.ts'

/** Bounds in bytes, by their keys in the configuration. */
export interface MemoryLimits {
  /** Of everything that peers make the process hold. */
  readonly memoryLimit: number
  /** Of what one client makes it hold: its subscriptions, topic ids, will, what waits for it and what it retains. */
  readonly maxMemoryPerClient: number
  readonly maxMemoryPerUser: number
  readonly maxMemoryPerAddress: number
}

export const NO_MEMORY_LIMITS: MemoryLimits = {
  memoryLimit: Number.POSITIVE_INFINITY,
  maxMemoryPerClient: Number.POSITIVE_INFINITY,
  maxMemoryPerUser: Number.POSITIVE_INFINITY,
  maxMemoryPerAddress: Number.POSITIVE_INFINITY,
}

export type MemoryCategory =
  | 'connections'
  | 'receive_buffers'
  | 'output_buffers'
  | 'handshakes'
  | 'sessions'
  | 'wills'
  | 'subscriptions'
  | 'routes'
  | 'access_answers'
  | 'topic_ids'
  | 'messages'
  | 'queues'
  | 'retained'
  | 'wire_forms'
  | 'store'

/** Why no more may be held. */
export interface OverMemory {
  /** The bound, by its key in the configuration. */
  readonly limit: 'memory_limit' | 'max_memory_per_client' | 'max_memory_per_user' | 'max_memory_per_address'
  /** With the figures: for the log alone. */
  readonly reason: string
}

/** What the client is told of it: whoever reaches the port can read that, and the figures are about others too. */
export const memoryWords = ({ limit }: OverMemory): string => `no memory is left (${limit})`

/** Part of the bound that one kind of thing may take for itself, so that something is left for every other kind. */
const KIND_MAX = 0.5
/** Part of the bound that logins may take while they wait to be verified: strangers fill it, whatever they say and wherever they come from. */
export const LOGINS_PART = 0.125
/** Part of the bound by which it may be exceeded by what those who are connected have under way. */
const EMERGENCY = 1.1

/** Part of the bound below which so many questions in a row are answered from the sums of the first. */
const FAR_BELOW = 0.75
const ASKED_MAX = 64

/**
 * The account of what peers make the process hold, by what it is. Structures keep sums of their own, and are asked for them when something new wants
 * in; what is taken away needs no permission. Caches give way first.
 */
export class Memory {
  readonly limits: MemoryLimits
  readonly shares = new Shares()
  readonly #gauges: { readonly category: MemoryCategory; readonly bytes: () => number }[] = []
  readonly #caches: (() => void)[] = []
  /** What was in use when the sums were last asked for, what was granted since, and how often. */
  #measured = 0
  #granted = 0
  #asked = ASKED_MAX

  constructor(limits: Partial<MemoryLimits> = {}) {
    this.limits = { ...NO_MEMORY_LIMITS, ...limits }
  }

  /** Takes a sum into the account; it has to cost next to nothing to ask for. */
  count(category: MemoryCategory, bytes: () => number): void {
    this.#gauges.push({ category, bytes })
  }

  /** Something that can be made again, and gives its memory back when asked to. */
  cache(give: () => void): void {
    this.#caches.push(give)
  }

  get used(): number {
    let used = 0
    for (const { bytes } of this.#gauges) used += bytes()
    return used
  }

  byCategory(): Map<MemoryCategory, number> {
    const sums = new Map<MemoryCategory, number>()
    for (const { category, bytes } of this.#gauges) sums.set(category, (sums.get(category) ?? 0) + bytes())
    return sums
  }

  /** Whether so many bytes more fit. Far below the bound the sums are not asked for each time. */
  hasRoom(more: number): boolean {
    const { memoryLimit } = this.limits
    this.#granted += more
    if (++this.#asked < ASKED_MAX && this.#measured + this.#granted <= memoryLimit * FAR_BELOW) return true
    this.#asked = 0
    this.#granted = more
    this.#measured = this.used
    if (this.#measured + more <= memoryLimit) return true
    for (const give of this.#caches) give()
    this.#measured = this.used
    return this.#measured + more <= memoryLimit
  }

  /** So far above the bound that those who are connected have to do with less, too. */
  get isEmergency(): boolean {
    return this.used > this.limits.memoryLimit * EMERGENCY
  }

  /**
   * Why this client may not hold so many bytes more. `kind` is what all of their kind take now, `besides` what the client holds that does not go with its
   * session.
   */
  refusal(holder: Holder | undefined, more: number, kind = 0, besides = 0): OverMemory | undefined {
    return this.#shareRefusal(holder, more, besides) ?? this.#refusal(more, kind)
  }

  #refusal(more: number, kind: number): OverMemory | undefined {
    const { memoryLimit } = this.limits
    if (kind + more > memoryLimit * KIND_MAX) {
      return { limit: 'memory_limit', reason: `${mib(kind)} of this kind, of ${mib(memoryLimit)} for all` }
    }
    if (this.hasRoom(more)) return undefined
    return { limit: 'memory_limit', reason: `${mib(this.used)} of ${mib(memoryLimit)} in use, ${this.#largest()}` }
  }

  #shareRefusal(holder: Holder | undefined, more: number, besides: number): OverMemory | undefined {
    if (holder === undefined) return undefined
    const { maxMemoryPerClient, maxMemoryPerUser, maxMemoryPerAddress } = this.limits
    this.shares.settle(holder)
    const { tallied, user, address } = holder
    if (tallied + besides + more > maxMemoryPerClient)
      return overShare('max_memory_per_client', 'the client', tallied + besides, maxMemoryPerClient)
    if (user !== undefined && user.bytes + more > maxMemoryPerUser)
      return overShare('max_memory_per_user', 'its user', user.bytes, maxMemoryPerUser)
    if (address !== undefined && address.bytes + more > maxMemoryPerAddress)
      return overShare('max_memory_per_address', 'its address', address.bytes, maxMemoryPerAddress)
    return undefined
  }

  #largest(): string {
    const sums = [...this.byCategory()].sort(([, a], [, b]) => b - a).slice(0, 2)
    return sums.map(([category, bytes]) => `${category.replaceAll('_', ' ')} ${mib(bytes)}`).join(', ')
  }
}

const overShare = (limit: OverMemory['limit'], whose: string, held: number, most: number): OverMemory => ({
  limit,
  reason: `${whose} holds ${mib(held)} of ${mib(most)}`,
})

const mib = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MiB`
