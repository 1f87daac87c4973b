import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { AccountChange, AccountResult } from '../http/accounts.ts'
import type { ReloadResult } from '../http/exchange.ts'
import type { HttpHost } from '../http/io/http-host.ts'
import { NoticeRing } from '../http/notice-ring.ts'
import type { Lsn } from '../store/store.ts'
import { DurableWaits } from './durable-waits.ts'
import { instant, type Loop } from './loop.ts'

/** Milliseconds that a request waits for a record to become durable. Longer, and the store has failed. */
const DURABLE_MS = 10_000

/** The process as its HTTP service sees it, from before the store is open until everything has stopped. */
export class HttpRunning implements HttpHost {
  notReady: string | undefined = 'the state is being restored'
  readonly waits = new DurableWaits()
  loop: Loop | undefined
  /** The last notices; kept only if there is an HTTP service. */
  notices: NoticeRing | undefined
  reload: () => Promise<ReloadResult> = async () => ({ error: 'Roost is starting' })
  changeAccount: (change: AccountChange) => Promise<AccountResult> = async () => ({ status: 503, error: 'Roost is starting' })

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

  durable(lsn: Lsn): Promise<boolean> {
    return this.waits.until(lsn, DURABLE_MS)
  }
}
