import type { Instant } from '../../base/machine.ts'

/** What a medium may carry. */
export interface AirtimeLimits {
  /** Of the medium: a frame of n octets keeps it busy for n divided by this. */
  readonly bytesPerSecond: number
  /** Share of any hour, 0 to 1, for which we may keep it busy; 1 is always. */
  readonly dutyCycle: number
}

const HOUR_MS = 3_600_000
const BIN_MS = 60_000
/** Bins that an hour touches. */
const BINS = HOUR_MS / BIN_MS + 1

/**
 * The airtime that a port has used and may use. The last hour is kept in bins of a minute, each counted whole as long as any part of it is
 * within the hour: in no hour, wherever it begins, is the duty cycle exceeded.
 */
export class Airtime {
  readonly #limits: AirtimeLimits
  readonly #budgetMs: number
  /** Milliseconds used, by minute; a ring. */
  readonly #used = new Float64Array(BINS)
  #newestBin = 0
  #freeAt: Instant = 0

  constructor(limits: AirtimeLimits) {
    this.#limits = limits
    this.#budgetMs = limits.dutyCycle < 1 ? limits.dutyCycle * HOUR_MS : Number.POSITIVE_INFINITY
  }

  /** Milliseconds that a frame takes. */
  of(octets: number): number {
    return (octets * 1000) / this.#limits.bytesPerSecond
  }

  /** A frame that no hour has room for, or that share of it, will never be sent. */
  fits(octets: number, share = 1): boolean {
    return this.of(octets) <= this.#budgetMs * share
  }

  /**
   * When a frame of this size may be sent, if none is sent before; may have passed. Only for what `fits`. `share`: how much of the hour's
   * airtime it may use up.
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

  /** A frame is sent. */
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
