import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { AccountChange, AccountResult } from '../http/accounts.ts'
import type { ReloadResult } from '../http/exchange.ts'
import type { HttpHost } from '../http/io/http-host.ts'
import { NoticeRing } from '../http/notice-ring.ts'
import type { Lsn, Store } from '../store/store.ts'
import { instant, type Loop } from './loop.ts'

/** Milliseconds that a request waits for a record to become durable. Longer, and the store has failed. */
const DURABLE_MS = 10_000

interface Waiting {
  readonly lsn: Lsn
  readonly resolve: () => void
}

/** The process as its HTTP service sees it, from before the store is open until everything has stopped. */
export class HttpRunning implements HttpHost {
  notReady: string | undefined = 'the state is being restored'
  store: Store | undefined
  loop: Loop | undefined
  /** The last notices; kept only if there is an HTTP service. */
  notices: NoticeRing | undefined
  reload: () => Promise<ReloadResult> = async () => ({ error: 'Roost is starting' })
  changeAccount: (change: AccountChange) => Promise<AccountResult> = async () => ({ status: 503, error: 'Roost is starting' })
  #waiting: Waiting[] = []

  constructor(isOn: boolean) {
    this.notices = isOn ? new NoticeRing(Date.now) : undefined
  }

  /** Returns a sink that keeps notices for the HTTP service, too. */
  reporting(sink: NoticeSink): NoticeSink {
    return (notice) => {
      sink(notice)
      this.notices?.add(notice)
    }
  }

  run<T>(step: (now: Instant) => T): T {
    return this.loop === undefined ? step(instant()) : this.loop.run(step)
  }

  async durable(lsn: Lsn, ms = DURABLE_MS): Promise<boolean> {
    if (lsn <= this.#durable) return true
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((each) => each !== waiting)
        resolve(false)
      }, ms)
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
    const durable = this.#durable
    this.#waiting = this.#waiting.filter(({ lsn, resolve }) => {
      if (lsn <= durable) resolve()
      return lsn > durable
    })
  }

  get #durable(): Lsn {
    return this.store?.durable ?? 0
  }
}
