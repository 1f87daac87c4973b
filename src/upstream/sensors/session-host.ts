import type { Instant } from '../../base/machine.ts'
import type { Memory } from '../../base/memory.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Timers } from '../../base/timers.ts'
import type { Properties } from '../../mqtt/properties.ts'
import type { ByteCount } from '../../mqtt/topic-names.ts'
import type { Store } from '../../store/store.ts'
import type { UpstreamLinkSettings } from '../link-owner.ts'
import type { Targets } from '../targets.ts'
import type { Upstream } from '../upstream.ts'
import type { UpstreamLink } from '../upstream-link.ts'
import type { Farewell, LastDeeds } from './farewell.ts'
import type { SensorUpstreamOptions } from './options.ts'
import type { SensorLink } from './sensor-link.ts'
import type { SensorSession } from './sensor-session.ts'

/** What the sessions of sensors share. */
export interface SessionHost {
  readonly options: SensorUpstreamOptions
  readonly settings: UpstreamLinkSettings
  readonly targets: Targets
  readonly upstream: Upstream
  readonly store: Store
  readonly notice: NoticeSink
  readonly memory: Memory
  readonly timers: Timers<SensorSession>
  /** By client id: what is still to do for sensors that are gone. */
  readonly farewells: Map<string, Farewell>
  /** Properties of CONNECT for sessions that last beyond their streams. */
  readonly lasting: Properties
  /** Bytes of memory of topic filters. */
  readonly filterBytes: ByteCount
  /** Bytes of memory that one more session takes. */
  readonly sessionBytes: number
  markReady(link: SensorLink): void
  /** Passes the link of a sensor that is gone to a `Farewell`. */
  partWith(now: Instant, clientId: string, link: UpstreamLink, deeds: LastDeeds): void
  /** The cluster has lost the session of a sensor. */
  sessionLost(now: Instant): void
}
