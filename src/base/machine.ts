/** Milliseconds on a monotonic clock. Always passed as an argument: no code in the core reads a clock. */
export type Instant = number

/**
 * The interface of the core's state machines: inputs and the time go in, outputs come out.
 *
 * No sockets, timers, promises, randomness or logging inside, so that the process and the simulator drive the same code.
 */
export interface Machine<In, Out> {
  handle(now: Instant, input: In): void
  /** Early or repeated calls are harmless. */
  handleTimeout(now: Instant): void
  /** When `handleTimeout` should be called next. Read it again after every call. */
  nextTimeout(): Instant | undefined
  /** Call until it returns `undefined`. */
  poll(now: Instant): Out | undefined
}

/** Returns the earlier of two deadlines, either of which may be undefined. */
export function earliest(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b
  return b === undefined || a <= b ? a : b
}
