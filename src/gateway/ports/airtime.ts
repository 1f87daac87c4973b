import type { Instant } from '../../base/machine.ts'

/** Limits on the use of a medium. */
export interface AirtimeLimits {
  /** Data rate of the medium: a frame of n octets occupies it for n / bytesPerSecond seconds. */
  readonly bytesPerSecond: number
  /** Share of any hour, 0 to 1, in which we may transmit; 1 for no limit. */
  readonly dutyCycle: number
}

const HOUR_MS = 3_600_000
const BIN_MS = 60_000
/** Number of bins that an hour can overlap. */
const BINS = HOUR_MS / BIN_MS + 1

/**
 * The airtime that a port has used and may still use. The last hour is kept in bins of one minute. A bin counts in full
 * while any part of it lies within the last hour, so no hour, wherever it starts, exceeds the duty cycle.
 */
export class Airtime {
  readonly #limits: AirtimeLimits
  readonly #budgetMs: number
  /** Milliseconds used per minute; a ring. */
  readonly #used = new Float64Array(BINS)
  #newestBin = 0
  #freeAt: Instant = 0

  constructor(limits: AirtimeLimits) {
    this.#limits = limits
    this.#budgetMs = limits.dutyCycle < 1 ? limits.dutyCycle * HOUR_MS : Number.POSITIVE_INFINITY
  }

  /** Returns the airtime of a frame in milliseconds. */
  of(octets: number): number {
    return (octets * 1000) / this.#limits.bytesPerSecond
  }

  /** Returns false for a frame that exceeds this share of an hour's airtime, and so can never be sent. */
  fits(octets: number, share = 1): boolean {
    return this.of(octets) <= this.#budgetMs * share
  }

  /**
   * Returns when a frame of this size, for which `fits` holds, may be sent if nothing is sent before it; may lie in the
   * past. `share`: the share of the hour's airtime that it may use.
   */
  earliest(octets: number, share = 1): Instant {
    const budgetMs = this.#budgetMs * share
    let used = this.of(octets)
    for (const bin of this.#used) used += bin
    let at = this.#freeAt
    for (let bin = this.#newestBin - BINS + 1; used > budgetMs && bin <= this.#newestBin; bin++) {
      const released = this.#used[index(bin)]!
      if (released === 0) continue
      used -= released
      at = Math.max(at, (bin + 1) * BIN_MS + HOUR_MS)
    }
    return at
  }

  /** The last hour's airtime in milliseconds; `left` is Infinity where any may be used. */
  usage(now: Instant): { readonly used: number; readonly left: number } {
    const first = Math.floor(now / BIN_MS) - BINS + 1
    let used = 0
    for (let bin = Math.max(first, this.#newestBin - BINS + 1); bin <= this.#newestBin; bin++) used += this.#used[index(bin)]!
    return { used, left: Math.max(0, this.#budgetMs - used) }
  }

  /** Counts a frame that is sent. */
  spend(now: Instant, octets: number): void {
    const bin = Math.floor(now / BIN_MS)
    for (let next = Math.max(this.#newestBin + 1, bin - BINS + 1); next <= bin; next++) this.#used[index(next)] = 0
    this.#newestBin = Math.max(this.#newestBin, bin)
    const duration = this.of(octets)
    this.#used[index(this.#newestBin)]! += duration
    this.#freeAt = Math.max(this.#freeAt, now) + duration
  }
}

const index = (bin: number): number => ((bin % BINS) + BINS) % BINS
