import type { Server } from '../server.ts'
import type { NoticeRing } from './notice-ring.ts'
import type { ProcessStatus } from './status.ts'

/** What the HTTP service shows. */
export interface HttpContext {
  readonly server: Server
  readonly status: ProcessStatus
  /** The last notices. */
  readonly notices: NoticeRing
  /** The effective configuration, as `effectiveConfig` returns it. */
  readonly config: object
}
