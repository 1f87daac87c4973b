/**
 * States what must hold if Roost itself is right. Peers' errors are values and never come here; a failed assertion is our own
 * bug, and stays on in production, because a broker that goes on with broken state loses messages in silence.
 */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`)
}
