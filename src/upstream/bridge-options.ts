import type { Connect } from '../mqtt/packets.ts'
import type { TargetsSettings } from './targets.ts'
import type { BridgeTopic } from './topic-map.ts'

/** What starts the connection of a bridge: the process, queued messages, or the process but only once. */
export type StartType = 'automatic' | 'lazy' | 'once'

/** A bridge in the units of the core. */
export interface BridgeOptions {
  /** Unique. */
  readonly name: string
  readonly topics: readonly BridgeTopic[]
  readonly targets: TargetsSettings
  readonly startType: StartType
  /** Milliseconds without a message after which a lazy bridge disconnects. */
  readonly idleTimeoutMs: number
  /** Messages that have to wait before a lazy bridge connects. */
  readonly threshold: number
  /** Client id of its session at this broker. */
  readonly localClientId: string
  /** The session at this broker lasts no longer than the connection to the remote one. */
  readonly localCleanSession: boolean
  /** CONNECT for the remote broker, without what depends on its version. */
  readonly connect: Pick<Connect, 'bridge' | 'clientId' | 'cleanStart' | 'keepAlive' | 'username' | 'password' | 'properties'>
  /** Where its state is published; `undefined` for nowhere. */
  readonly notificationTopic: string | undefined
  /** The remote broker is told as well. */
  readonly notifiesRemotely: boolean
  /** The retain flag is kept on messages that go out. */
  readonly outgoingRetain: boolean
  /** UNSUBSCRIBE from topics that only go out: some other client may have used this session before. */
  readonly attemptUnsubscribe: boolean
  /** Messages with QoS 1 and 2 in flight at most, in each direction. */
  readonly window: number
  /** Bytes of a packet from the remote broker at most. */
  readonly maxPacketSize: number
}
