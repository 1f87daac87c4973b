/**
 * Asserts an invariant of Roost itself. Errors of peers are values and never end here. A failed assertion is a bug in
 * Roost. It stays enabled in production, because a broker that continues with corrupt state loses messages silently.
 */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${what}`)
}
