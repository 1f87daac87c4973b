import type { Seats } from '../base/seats.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { Session } from './session.ts'
import { messageOf, Queued } from './session-queue.ts'

/** Sessions that one look examines: 2 ms. */
const EXAMINED_MAX = 10_000
/** Entries at the head of a queue that are looked at. */
const HEAD_MAX = 100

/** When the broker accepted the message that has waited longest for this session, in whole seconds; undefined if that is not known. */
export function waitingSince(session: Session): number | undefined {
  let oldest: number | undefined
  let left = HEAD_MAX
  const look = (message: Publish, isRetained: boolean): void => {
    const { acceptedAt } = message
    // A retained message may be much older than the subscription that it waits for.
    if (!isRetained && acceptedAt >= 0 && (oldest === undefined || acceptedAt < oldest)) oldest = acceptedAt
  }
  for (const { queued } of session.inflight?.values() ?? []) {
    if (left-- === 0) break
    look(queued.message, queued.retain)
  }
  // Its queue is in the order of arrival.
  for (const entry of session.queue ?? []) {
    const isRetained = entry instanceof Queued && entry.retain
    look(messageOf(entry), isRetained)
    if (!isRetained || left-- <= 0) break
  }
  return oldest
}

/**
 * Finds the message that has waited longest, without a cost per message. Each look examines the next 10,000 sessions and the session
 * that was found before: with more of them the oldest is found after several looks, and stays found while it waits.
 */
export class OldestWaiting {
  readonly #sessions: Pick<Seats<Session>, 'at' | 'end'>
  #next = 0
  #found: Session | undefined = undefined

  constructor(sessions: Pick<Seats<Session>, 'at' | 'end'>) {
    this.#sessions = sessions
  }

  /** When that message was accepted, in whole seconds; undefined if none waits. */
  look(): number | undefined {
    const found = this.#found?.ended === false ? this.#found : undefined
    let oldest = found === undefined ? undefined : waitingSince(found)
    this.#found = oldest === undefined ? undefined : found
    const { end } = this.#sessions
    for (let left = Math.min(EXAMINED_MAX, end); left > 0; left--) {
      if (this.#next >= end) this.#next = 0
      const session = this.#sessions.at(this.#next++)
      const since = session === undefined ? undefined : waitingSince(session)
      if (since === undefined || (oldest !== undefined && since >= oldest)) continue
      oldest = since
      this.#found = session
    }
    return oldest
  }
}
