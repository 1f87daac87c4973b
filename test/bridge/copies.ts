import type { Sent } from '../../fuzz/sim/ledger.ts'
import type { Carried } from './line-ledger.ts'

/** A message with QoS 2, the round in which it was published, and how often it has come. */
export interface Delivery {
  readonly sent: Sent
  readonly round: number
  count: number
}

/** One end of the bridge, as far as copies are concerned. */
export interface Copier {
  readonly name: string
  readonly keepsItsWord: boolean
  /** The last round in which it was killed and may have forgotten what it had acknowledged; -1 before that. */
  readonly forgotIn: number
}

/**
 * What is wrong with the number of times that a message has come. An end may have forgotten its exchange if it was killed in the round
 * in which the message was published or later; a kill before that excuses nothing.
 */
export function doubled(delivery: Delivery, carried: Carried | undefined, from: Copier, to: Copier): string | undefined {
  const { sent, round, count } = delivery
  const mayForget = ({ forgotIn }: Copier): boolean => forgotIn >= round
  const begun = carried?.begun ?? 0
  const resent = from.keepsItsWord ? 0 : (carried?.begunAfterRelease ?? 0)
  if (!mayForget(from) && begun > (carried?.mayBegin ?? 1) + resent)
    return `${from.name} has sent "${sent.text}" with QoS 2 as ${begun} messages`
  const most = mayForget(to) ? Number.POSITIVE_INFINITY : mayForget(from) ? begun : 1 + resent
  return count > most ? `"${sent.text}" with QoS 2 came ${count} times, and was sent as ${begun} messages` : undefined
}
