import type { Lsn, Store } from '../store/store.ts'

interface Waiting {
  readonly lsn: Lsn
  readonly resolve: (isDurable: boolean) => void
}

/** Promises of records that are not durable yet. */
export class DurableWaits {
  store: Store | undefined
  #waiting: Waiting[] = []

  /**
   * Resolves to true once the record is durable; false: the store has not managed it within `ms` milliseconds (no limit if absent),
   * or was closed before.
   */
  async until(lsn: Lsn, ms?: number): Promise<boolean> {
    if (lsn <= this.#durable) return true
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined
      const waiting: Waiting = {
        lsn,
        resolve: (isDurable) => {
          clearTimeout(timer)
          resolve(isDurable)
        },
      }
      const late = (): void => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting)
        resolve(false)
      }
      if (ms !== undefined) timer = setTimeout(late, ms)
      this.#waiting.push(waiting)
    })
  }

  /** More records are durable. */
  advanced(): void {
    if (this.#waiting.length === 0) return
    const durable = this.#durable
    this.#waiting = this.#waiting.filter(({ lsn, resolve }) => {
      if (lsn <= durable) resolve(true)
      return lsn > durable
    })
  }

  /** The store is closed: what is not durable by now never will be in this process. */
  closed(): void {
    this.advanced()
    for (const { resolve } of this.#waiting.splice(0)) resolve(false)
  }

  get #durable(): Lsn {
    return this.store?.durable ?? 0
  }
}
