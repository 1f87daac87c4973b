import type { TargetsSettings } from '../targets.ts'

/**
 * Upstream mode: the sessions of sensors are at a cluster of other brokers, one MQTT session for each sensor, and the gateway is in
 * front of it. Nothing here depends on the embedded broker.
 */
export interface SensorUpstreamOptions {
  /** Nodes of the cluster, and how they are dialled. */
  readonly targets: TargetsSettings
  /** `%g` in the patterns below: the gateway id. */
  readonly gatewayId: number
  /** Pattern of client ids at the cluster (`filledIn`). */
  readonly clientId: string
  /** Patterns; without a user name CONNECT has neither. */
  readonly username: string | undefined
  readonly password: string | undefined
  /** Of the connections to the cluster, whatever the sensors' own is. */
  readonly keepAliveSeconds: number
  /** Whether a sleeper's connection stays, or is closed until it wakes. */
  readonly sleepers: 'keep' | 'park'
  /**
   * Milliseconds of silence after CONNACK, or after the last message, which count as the end of what waited: MQTT has no mark for it.
   */
  readonly quietMs: number
  /** QoS 1 and 2 messages that are unacknowledged in each direction at most, for one sensor. */
  readonly window: number
  /** Bytes of a packet from the cluster at most. */
  readonly maxPacketSize: number
  /**
   * Who publishes the will of a sensor that is lost: the cluster, with MQTT 5's Will Delay, or the gateway. 'auto': the cluster where it
   * speaks MQTT 5.
   */
  readonly wills: 'upstream' | 'gateway' | 'auto'
  /** Will Delay Interval: a gateway that comes back within it, or another that the sensor has moved to, keeps the will. */
  readonly willDelaySeconds: number
  /** What is held for one sensor that does not take it now: messages, and bytes of topics, payloads and properties. */
  readonly heldMessages: number
  readonly heldBytes: number
  /** Session Expiry Interval of sessions that are not clean; Infinity: never. */
  readonly sessionExpirySeconds: number
  /** Attempts to connect, of all sensors together. */
  readonly dialsPerSecond: number
}
