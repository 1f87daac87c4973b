import type { Instant } from '../base/machine.ts'
import type { ClientLink } from './client-link.ts'
import { PATIENCE_MS, PATIENCE_PER_MESSAGE_MS } from './limits.ts'
import type { Publisher } from './publisher.ts'
import type { Sessions } from './sessions.ts'

/** After a message was accepted: its publisher is paused if the queue of a receiver is nearly full, or regains some patience. */
export function pacePublisher(now: Instant, { pressed }: Publisher, sessions: Sessions, link: ClientLink): void {
  if (pressed !== undefined) sessions.hold(now, pressed, link)
  else if (link.patienceMs < PATIENCE_MS) link.patienceMs += PATIENCE_PER_MESSAGE_MS
}
