import type { QoS } from '../mqtt/publish.ts'
import type { Condition } from './conditions.ts'

export interface Subscription {
  /** As the client wrote it, `$share/<group>/` included: what UNSUBSCRIBE has to repeat. */
  readonly filter: string
  readonly qos: QoS
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier: number | undefined
  /** What a message must fulfil. Absent in all others: a million subscriptions must not have room for it. */
  readonly condition?: Condition
}

export interface ConditionalSubscription extends Subscription {
  readonly condition: Condition
}
