import type { Message } from '../mqttsn/messages.ts'
import type { Held } from './held.ts'

/** What the gateway waits for from a client. */
export type Awaiting = 'REGACK' | 'PUBACK' | 'PUBREC' | 'PUBCOMP'

/** One message that was sent and not yet answered [1.2 section 6.13]. */
export interface Transaction {
  readonly awaiting: Awaiting
  readonly msgId: number
  /** What is sent again. */
  readonly message: Message
  /** The delivery that this is part of, if there is one. */
  readonly held: Held | undefined
}
