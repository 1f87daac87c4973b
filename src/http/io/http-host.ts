import type { Instant } from '../../base/machine.ts'
import type { Lsn } from '../../store/store.ts'
import type { AccountChange, AccountResult } from '../accounts.ts'
import type { ReloadResult } from '../exchange.ts'

/** What the HTTP service needs of the running process. */
export interface HttpHost {
  /** Why only the routes that are answered always are answered now: Roost starts or stops. */
  readonly notReady: string | undefined
  /** Runs a step of a request as the event loop runs its inputs; what it leads to is written at the end of the turn. */
  run<T>(step: (now: Instant) => T): T
  /** Resolves to true once this record is durable, and to false after some seconds in which it has not become so. */
  durable(lsn: Lsn): Promise<boolean>
  reload(): Promise<ReloadResult>
  /** Writes a password file, and puts it into force. Never rejects. */
  changeAccount(change: AccountChange): Promise<AccountResult>
}
