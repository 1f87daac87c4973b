import type { Instant } from '../base/machine.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import type { Room } from './share-group.ts'
import { candidates, chosenTarget, type Route, type Target } from './targets.ts'

/** Recipients of one message. `again`: sessions that also receive it through a shared subscription. */
export interface Receivers {
  readonly targets: readonly Target[]
  readonly again?: readonly Target[]
}

/**
 * All recipients of a message: those whose condition lets it through, or that have none, including the chosen member of each shared
 * subscription. `again`: members that already get a copy through another subscription; the store tells the copies of one session
 * apart by id, so each needs its own. `isAcknowledged`: the delivery has a QoS above 0.
 */
export function receiversOf(
  { conditions }: Pick<BrokerContext, 'conditions'>,
  route: Route,
  room: Room,
  now: Instant,
  message: Publish,
  isAcknowledged: (target: Target) => boolean,
): Receivers {
  const { targets, conditional, shared } = route
  const all = [...targets]
  if (conditional !== undefined) {
    const facts = conditions.factsOf(message, now)
    conditions.askClients(conditional.length)
    for (let i = 0; i < conditional.length; i++) {
      const chosen = chosenTarget(conditional[i]!, facts)
      if (chosen !== undefined) all.push(chosen)
    }
  }
  const again: Target[] = []
  for (const each of shared) {
    const members = candidates(conditions, each, message, now)
    const member = each.group.pick(members, message, room)
    if (member === undefined) continue
    const isRecorded = member.session.persistent && isAcknowledged(member)
    if (isRecorded && all.some(({ session }) => session === member.session)) again.push(member)
    else all.push(member)
  }
  return { targets: all, again }
}
