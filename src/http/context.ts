import type { AccessPolicy } from '../access/policy.ts'
import type { SensorRules } from '../gateway/sensor-rules.ts'
import type { Server } from '../server.ts'
import type { Tracer } from '../trace/tracer.ts'
import type { Accounts } from './accounts.ts'
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
  readonly access: AccessPolicy
  readonly sensors: SensorContext
  readonly accounts: Accounts
}

/** The users of sensors. */
export interface SensorContext {
  readonly rules: SensorRules
  /** `sn_users` */
  readonly file: string | undefined
  /** `sn_username` */
  readonly username: string | undefined
}
