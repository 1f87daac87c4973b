import type { Server } from '../server.ts'
import type { Tracer } from '../trace/tracer.ts'
import type { NoticeRing } from './notice-ring.ts'
import type { ProcessStatus } from './status.ts'

/** What the HTTP service shows. */
export interface HttpContext {
  readonly server: Server
  readonly status: ProcessStatus
  /** The last notices. */
  readonly notices: NoticeRing
  readonly tracer: Tracer
  /** Milliseconds since 1970. */
  readonly wallNow: () => number
  /** The effective configuration, as `effectiveConfig` returns it. */
  readonly config: object
}
