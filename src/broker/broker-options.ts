import type { ClientFigures } from '../base/client-figures.ts'
import type { Memory } from '../base/memory.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { Store, WallClock } from '../store/store.ts'
import type { Access } from './access.ts'
import type { ConditionOptions } from './conditions.ts'
import type { ContentCheck } from './content-check.ts'
import type { Hooks } from './hooks.ts'
import type { BrokerLimits } from './limits.ts'

export interface BrokerOptions {
  readonly limits?: Partial<BrokerLimits>
  readonly access?: Access
  readonly hooks?: Hooks | undefined
  readonly content?: ContentCheck | undefined
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly random: () => number
  /** The memory account; unbounded if absent. */
  readonly memory?: Memory
  /** Where each MQTT client is counted; nowhere if absent. */
  readonly figures?: ClientFigures | undefined
  /** Conditions of subscriptions; none is accepted if absent. */
  readonly conditions?: ConditionOptions | undefined
}
