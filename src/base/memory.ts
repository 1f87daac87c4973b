import { type Holder, Shares } from './shares.ts'

/** Limits in bytes, named after their options. */
export interface MemoryLimits {
  /** For everything that peers make the process hold. */
  readonly memoryLimit: number
  /** For what one client makes it hold: its subscriptions, topic ids, will, queued messages and retained messages. */
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
  | 'conditions'
  | 'routes'
  | 'access_answers'
  | 'topic_ids'
  | 'messages'
  | 'queues'
  | 'retained'
  | 'wire_forms'
  | 'store'
  | 'notices'

/** Why no more memory is granted. */
export interface OverMemory {
  /** The option whose limit is reached. */
  readonly limit: 'memory_limit' | 'max_memory_per_client' | 'max_memory_per_user' | 'max_memory_per_address'
  /** With figures, for the log only. */
  readonly reason: string
}

/**
 * The text that the client receives: without the figures, because they concern others too, and anyone who reaches the
 * port can read it.
 */
export const memoryWords = ({ limit }: OverMemory): string => `no memory is left (${limit})`

/** Share of the limit that one category of data may take, so that something is left for the others. */
const KIND_MAX = 0.5
/** Share of the limit that pending logins may take. Unauthenticated peers fill it, whatever they send and wherever they are. */
export const LOGINS_PART = 0.125
/** Factor by which clients that are connected may exceed the limit to finish what they have in progress. */
const EMERGENCY = 1.1

/** Share of the limit below which up to `ASKED_MAX` consecutive requests are answered without measuring again. */
const FAR_BELOW = 0.75
const ASKED_MAX = 64

/**
 * Accounting of the memory that peers make the process hold, by category. Structures maintain their own sums, which are
 * read when more memory is requested; releasing memory needs no call. Caches are emptied first.
 */
export class Memory {
  readonly limits: MemoryLimits
  readonly shares = new Shares()
  readonly #gauges: { readonly category: MemoryCategory; readonly bytes: () => number }[] = []
  readonly #caches: (() => void)[] = []
  /** Memory in use at the last measurement, memory granted since, and the number of requests since. */
  #measured = 0
  #granted = 0
  #asked = ASKED_MAX

  constructor(limits: Partial<MemoryLimits> = {}) {
    this.limits = { ...NO_MEMORY_LIMITS, ...limits }
  }

  /** Adds a gauge to the accounting. It must be very cheap to read. */
  count(category: MemoryCategory, bytes: () => number): void {
    this.#gauges.push({ category, bytes })
  }

  /** Registers a cache. `give` empties it; its contents can be built again. */
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

  /** True if `more` bytes fit. Far below the limit the gauges are not read each time. */
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

  /** True if usage exceeds the limit so far that connected clients are restricted, too. */
  get isEmergency(): boolean {
    return this.used > this.limits.memoryLimit * EMERGENCY
  }

  /**
   * Returns why this client may not hold `more` bytes, or `undefined` if it may. `kind`: bytes that all data of this kind
   * take now. `besides`: bytes that the client holds outside its session.
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
    this.shares.recount(holder)
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
