import type { UpstreamLink } from '../upstream-link.ts'
import type { SensorSession } from './sensor-session.ts'

/**
 * How the session of a sensor is connected to the cluster. 'connecting': an attempt is under way. 'waiting': for the time of the next
 * one, or for the dial budget. 'parked': not until the sensor wakes.
 */
export const CONNECTION_STATES = ['connected', 'connecting', 'waiting', 'parked'] as const
export type ConnectionState = (typeof CONNECTION_STATES)[number]

export function connectionState({ isUp, stream, parked }: UpstreamLink): ConnectionState {
  if (isUp) return 'connected'
  if (stream !== undefined) return 'connecting'
  return parked ? 'parked' : 'waiting'
}

/** What the sessions of all sensors have at this moment, added up one by one. */
export class ClusterTotals {
  readonly sessions: Record<ConnectionState, number> = { connected: 0, connecting: 0, waiting: 0, parked: 0 }
  /** Messages of the cluster that sensors have not got, or not acknowledged, and those with QoS -1 that wait for the cluster. */
  heldMessages = 0
  heldBytes = 0
  /** Messages of sensors that the cluster has not acknowledged. */
  unanswered = 0

  add({ upstream, held: { messages, bytes } }: SensorSession): void {
    if (upstream === undefined) return
    this.sessions[connectionState(upstream)]++
    this.heldMessages += messages
    this.heldBytes += bytes
    this.unanswered += upstream.inFlight
  }
}
