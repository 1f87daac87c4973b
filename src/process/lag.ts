import { performance } from 'node:perf_hooks'

const SAMPLE_MS = 250

/**
 * Measures the lag of the event loop, and calls `onCross` when it crosses `boundMs` milliseconds in either direction.
 */
export class LagMonitor {
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #over = false
  /** Lag at the last sample, in milliseconds. */
  lag = 0

  start(boundMs: number, onCross: (over: boolean) => void): void {
    this.#due = performance.now() + SAMPLE_MS
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.lag = Math.max(0, now - this.#due)
      this.#due = now + SAMPLE_MS
      const over = this.lag > boundMs
      if (over === this.#over) return
      this.#over = over
      onCross(over)
    }, SAMPLE_MS).unref()
  }

  stop(): void {
    if (this.#timer !== undefined) clearInterval(this.#timer)
  }
}
