/** Milliseconds on a monotonic clock. Always an argument: no code inside the core reads a clock. */
export type Instant = number

/**
 * The shape of every state machine of the core: inputs and the time go in, outputs come out.
 *
 * No sockets, timers, promises, randomness or logging inside, so the real process and the simulator drive the very same code.
 */
export interface Machine<In, Out> {
  handle(now: Instant, input: In): void
  /** Early or repeated calls are harmless. */
  handleTimeout(now: Instant): void
  /** When `handleTimeout` wants to be called next; to be read again after every call. */
  nextTimeout(): Instant | undefined
  /** To be called until it returns `undefined`. */
  poll(now: Instant): Out | undefined
}

/** The earlier of two deadlines, of which either may not be there. */
export function earliest(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b
  return b === undefined || a <= b ? a : b
}
