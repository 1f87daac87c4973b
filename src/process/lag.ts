import { performance } from 'node:perf_hooks'
import { Histogram } from '../base/histogram.ts'

const SAMPLE_MS = 250
/** While somebody wants to know how late it is: pauses of a tenth of a second must not fall between two samples. */
const CLOSE_SAMPLE_MS = 20
const DELAY_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5] as const

/**
 * Measures the lag of the event loop, and calls `onCross` when it crosses `boundMs` milliseconds in either direction.
 */
export class LagMonitor {
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #over = false
  /** Lag at the last sample, in milliseconds. */
  lag = 0
  /** All samples, in seconds. */
  readonly delays = new Histogram(DELAY_BOUNDS)

  /** `isWatched`: samples often enough for `delays` to show every pause. */
  start(boundMs: number, onCross: (over: boolean) => void, isWatched = false): void {
    const sampleMs = isWatched ? CLOSE_SAMPLE_MS : SAMPLE_MS
    this.#due = performance.now() + sampleMs
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.lag = Math.max(0, now - this.#due)
      this.delays.observe(this.lag / 1000)
      this.#due = now + sampleMs
      const over = this.lag > boundMs
      if (over === this.#over) return
      this.#over = over
      onCross(over)
    }, sampleMs).unref()
  }

  stop(): void {
    if (this.#timer !== undefined) clearInterval(this.#timer)
  }
}
