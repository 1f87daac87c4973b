import type { Instant } from '../../base/machine.ts'
import type { GatewayClient } from './client.ts'
import { tellState } from './client-events.ts'
import type { SensorFigures } from './sensor-figures.ts'
import type { SensorState, State } from './state-table.ts'

/**
 * The reported states of all clients, counted, and the one place at which a change is noticed. A client is reported from its first
 * accepted CONNECT until it is forgotten.
 */
export class SensorStates {
  /** Number of sensors in each state. */
  readonly counts: Record<SensorState, number> = { active: 0, asleep: 0, awake: 0, lost: 0, disconnected: 0 }
  /**
   * Called when a sensor has entered a state, perhaps the one that it was in, or has been forgotten. Undefined while nobody wants to
   * know, so that a change costs one comparison.
   */
  changed: ((clientId: string, isNewOrGone: boolean) => void) | undefined = undefined
  /** Undefined where nobody asks for them. */
  figures: SensorFigures | undefined = undefined

  /** The client enters this state, or, if it is in it already, begins it again. */
  enter(now: Instant, client: GatewayClient, state: State): void {
    client.state = state
    if (state === 'willTopic' || state === 'willMsg') return
    const { reported } = client
    if (reported === undefined && state !== 'active') return
    if (reported !== state) {
      this.#count(reported, state)
      this.figures?.entered(now, client.seat, reported, state)
      client.reported = state
      client.since = now
      if (client.host.options.events !== undefined) tellState(client, state)
    }
    this.changed?.(client.clientId, reported === undefined)
  }

  /** The client has this state from the store. `Supervision.resume` sets the time since when. */
  restored(client: GatewayClient, state: State): void {
    client.state = state
    if (state === 'willTopic' || state === 'willMsg') return
    this.#count(client.reported, state)
    client.reported = state
  }

  /** As `restored`, for a client that is a row. */
  restoredRow(state: State): void {
    const reported = reportedAs(state)
    if (reported !== undefined) this.#count(undefined, reported)
  }

  /** The client has been removed from the table. */
  removed({ clientId, reported }: GatewayClient): void {
    if (reported === undefined) return
    this.counts[reported]--
    this.changed?.(clientId, true)
  }

  #count(before: SensorState | undefined, state: SensorState): void {
    if (before !== undefined) this.counts[before]--
    this.counts[state]++
  }
}

/** What is reported of a client that the store has in this state; undefined for a will dialogue. */
export const reportedAs = (state: State): SensorState | undefined =>
  state === 'willTopic' || state === 'willMsg' ? undefined : state
