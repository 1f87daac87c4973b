import type { Instant } from '../base/machine.ts'
import type { OverMemory } from '../base/memory.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import { growthAtMost } from './retained.ts'
import type { Session } from './session.ts'

/**
 * Whether `max_retained_messages` and `max_retained_bytes` allow one more message to be retained, once expired ones are removed.
 */
export function fitsRetained(context: BrokerContext, now: Instant, message: Publish): boolean {
  return fits(context, message) || (context.expiry.dropRetained(now) && fits(context, message))
}

function fits({ retained, limits }: BrokerContext, message: Publish): boolean {
  const isWithin = (count: number, bytes: number): boolean =>
    count <= limits.maxRetainedMessages && bytes <= limits.maxRetainedBytes
  if (isWithin(retained.count + 1, retained.bytes + message.weight)) return true
  const old = retained.get(message.topic)
  return old !== undefined && isWithin(retained.count, retained.bytes + message.weight - old.weight)
}

/**
 * Why there is no memory to retain the message; one that replaces as many bytes is always accepted. `freed`: bytes that its
 * sender gives back with it.
 */
export function overRetainedMemory(
  { retained, memory }: BrokerContext,
  from: Session,
  message: Publish,
  freed: number,
): OverMemory | undefined {
  const besides = retained.retainedBy(from.key)
  if (memory.refusal(from, Math.max(0, growthAtMost(message, from.author) - freed), retained.memory, besides) === undefined)
    return undefined
  const more = retained.growth(message, from.author) - freed
  return more <= 0 ? undefined : memory.refusal(from, more, retained.memory, besides)
}
