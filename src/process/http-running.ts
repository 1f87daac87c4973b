import type { Instant } from '../base/machine.ts'
import type { ReloadResult } from '../http/exchange.ts'
import type { HttpHost } from '../http/io/http-host.ts'
import type { Lsn, Store } from '../store/store.ts'
import { instant, type Loop } from './loop.ts'

/** Milliseconds that a request waits for a record to become durable. Longer, and the store has failed. */
const DURABLE_MS = 10_000

interface Waiting {
  readonly lsn: Lsn
  readonly resolve: () => void
}

/** The process as its HTTP service sees it, from before the event loop exists until it has stopped. */
export class HttpRunning implements HttpHost {
  loop: Loop | undefined
  reload: () => Promise<ReloadResult> = async () => ({ error: 'Roost is starting' })
  readonly #store: Store
  readonly #phase: { readonly reason: string | undefined }
  #waiting: Waiting[] = []

  constructor(store: Store, phase: { readonly reason: string | undefined }) {
    this.#store = store
    this.#phase = phase
  }

  get notReady(): string | undefined {
    return this.#phase.reason
  }

  run<T>(step: (now: Instant) => T): T {
    return this.loop === undefined ? step(instant()) : this.loop.run(step)
  }

  async durable(lsn: Lsn): Promise<boolean> {
    if (lsn <= this.#store.durable) return true
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting)
        resolve(false)
      }, DURABLE_MS)
      const waiting: Waiting = {
        lsn,
        resolve: () => {
          clearTimeout(timer)
          resolve(true)
        },
      }
      this.#waiting.push(waiting)
    })
  }

  /** More records are durable. */
  advanced(): void {
    if (this.#waiting.length === 0) return
    const { durable } = this.#store
    this.#waiting = this.#waiting.filter(({ lsn, resolve }) => {
      if (lsn <= durable) resolve()
      return lsn > durable
    })
  }
}
