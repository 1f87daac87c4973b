import type { Instant } from '../base/machine.ts'
import type { OverMemory } from '../base/memory.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import { growthAtMost } from './retained.ts'
import type { Session } from './session.ts'

/** Why there is no room to retain a message. */
export interface RetainedFull {
  readonly limit: 'max_retained_messages' | 'max_retained_bytes'
  /** With figures, for the log only. */
  readonly reason: string
}

/**
 * Why `max_retained_messages` or `max_retained_bytes` do not allow one more message to be retained, after expired ones are removed.
 */
export function retainedFull(context: BrokerContext, now: Instant, from: Session, message: Publish): RetainedFull | undefined {
  const full = fullNow(context, from, message)
  return full !== undefined && context.expiry.dropRetained(now) ? fullNow(context, from, message) : full
}

/** What one user may retain of each limit, so that others can still retain something. */
const shareOf = (limit: number): number => Math.ceil(limit / 2)

function fullNow({ retained, limits }: BrokerContext, { author }: Session, message: Publish): RetainedFull | undefined {
  const { maxRetainedMessages: most, maxRetainedBytes: mostBytes } = limits
  const { weight } = message
  const kept = retained.keptBy(author)
  const [ofOwn, ofOwnBytes] = [kept?.count ?? 0, kept?.bytes ?? 0]
  const isFar = retained.count < most && retained.bytes + weight <= mostBytes
  if (isFar && ofOwn < shareOf(most) && ofOwnBytes + weight <= shareOf(mostBytes)) return undefined
  const old = retained.get(message.topic)
  const isNew = old === undefined
  // A client without a user may have retained it from another address.
  const isOwn = !isNew && (old.author.key === author.key || (kept !== undefined && retained.keptBy(old.author) === kept))
  const more = weight - (old?.weight ?? 0)
  const moreOwn = weight - (isOwn ? old.weight : 0)
  if (isNew && retained.count >= most) return { limit: 'max_retained_messages', reason: `${retained.count} are retained` }
  if (retained.count > most || retained.bytes + more > mostBytes)
    return { limit: 'max_retained_bytes', reason: `${retained.bytes} are retained` }
  // What it has may be replaced, also after a restart with a lower limit.
  if (!isOwn && ofOwn >= shareOf(most))
    return { limit: 'max_retained_messages', reason: `${ofOwn} of ${most} are its own, and half is for one user` }
  if (moreOwn > 0 && ofOwnBytes + moreOwn > shareOf(mostBytes))
    return { limit: 'max_retained_bytes', reason: `${ofOwnBytes} of ${mostBytes} are its own, and half is for one user` }
  return undefined
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
