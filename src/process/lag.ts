import { performance } from 'node:perf_hooks'

const SAMPLE_MS = 250

/** Measures by how much the event loop is late, and tells when that crosses a bound, in either direction. */
export class LagMonitor {
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #over = false
  /** Milliseconds, of the last sample. */
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
