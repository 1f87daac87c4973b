import type { Instant } from '../base/machine.ts'
import type { Memory } from '../base/memory.ts'
import { addressOf, networkOf } from '../base/networks.ts'
import type { NoticeSink } from '../base/notice.ts'
import { type ConnectionLimits, STREAMS_PART } from './connection-limits.ts'

/**
 * Decides whether a connection is accepted: bans, limits on connections, in all and per address, and on their memory, and the
 * load of the process. A stream counts from the start of its TLS handshake until its socket is closed.
 */
export class ConnectionAdmission {
  /** The process cannot keep up: no new connections for now. */
  overloaded = false
  /** Connections, and streams that are arriving or lingering. */
  #count = 0
  /** Bytes of memory for those streams when idle. */
  #bytes = 0
  readonly #perAddress = new AddressCounts()
  readonly #limits: ConnectionLimits
  readonly #memory: Memory
  readonly #notice: NoticeSink

  constructor(limits: ConnectionLimits, memory: Memory, notice: NoticeSink) {
    this.#limits = limits
    this.#memory = memory
    this.#notice = notice
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Adds or removes a stream of this peer; `bytes` is the memory of one. */
  count(peer: string, bytes: number, more: 1 | -1): void {
    this.#count += more
    this.#bytes += more * bytes
    this.#perAddress.add(peer, more)
  }

  /** The ban or the limit that forbids one more connection from this peer, by its configuration key. */
  refusal(now: Instant, peer: string): string | undefined {
    const ban = this.#limits.bans?.banOf(now, peer)
    if (ban !== undefined) {
      this.#notice({ code: 'client-refused', level: 'info', peer, reason: 'the address is banned', limit: ban })
      return ban
    }
    const limit = this.#reachedLimit(peer)
    if (limit !== undefined) this.#notice({ code: 'limit-reached', level: 'warn', peer, reason: 'connection refused', limit })
    return limit
  }

  #reachedLimit(peer: string): string | undefined {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits
    if (this.overloaded) return 'max_event_loop_lag_ms'
    if (this.#count >= maxConnections) return 'max_connections'
    if (this.#bytes > this.#memory.limits.memoryLimit * STREAMS_PART) return 'memory_limit'
    // All clients of a Unix socket have the same address.
    if (peer.startsWith('unix:')) return undefined
    return this.#perAddress.of(peer) >= maxConnectionsPerAddress ? 'max_connections_per_address' : undefined
  }
}

/** The number of streams of each address: an IPv4 address, or one /64 of IPv6 (`networkOf`). */
class AddressCounts {
  readonly #counts = new Map<string, number>()

  of(peer: string): number {
    return this.#counts.get(countedAs(peer)) ?? 0
  }

  add(peer: string, more: 1 | -1): void {
    const address = countedAs(peer)
    const count = (this.#counts.get(address) ?? 0) + more
    if (count === 0) this.#counts.delete(address)
    else this.#counts.set(address, count)
  }
}

const countedAs = (peer: string): string => networkOf(peer) ?? addressOf(peer)
