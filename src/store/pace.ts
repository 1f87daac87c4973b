import type { Instant } from '../base/machine.ts'
import type { Store } from './store.ts'

/** Steps of one kind of work in one turn of the event loop. One step is one session, sensor or will. */
export const STEPS_PER_TURN = 256
/** Milliseconds until work that the store had no room for is tried again. */
export const NO_ROOM_RETRY_MS = 100

/**
 * Spreads work over turns of the event loop that would otherwise append records for any number of clients in one: a limited
 * number of steps per turn, and none while the store has no room, or once the steps have caused as much other work as a turn may
 * take (`isSpent`). The rest is due immediately, after everything else has had its turn.
 */
export class Pace {
  readonly #store: Pick<Store, 'hasRoom'>
  readonly #isSpent: () => boolean
  #notBefore: Instant = Number.NEGATIVE_INFINITY

  constructor(store: Pick<Store, 'hasRoom'>, isSpent = (): boolean => false) {
    this.#store = store
    this.#isSpent = isSpent
  }

  /** Runs steps until one returns false, because nothing is left to do. Returns false if there may be more. */
  run(now: Instant, step: () => boolean): boolean {
    if (now < this.#notBefore) return false
    for (let steps = 0; steps < STEPS_PER_TURN; steps++) {
      if (!this.#store.hasRoom) {
        this.#notBefore = now + NO_ROOM_RETRY_MS
        return false
      }
      if (this.#isSpent()) return false
      if (!step()) return true
    }
    return false
  }

  /** When work that is due at this instant can continue. */
  after(due: Instant | undefined): Instant | undefined {
    return due === undefined ? undefined : Math.max(due, this.#notBefore)
  }
}
