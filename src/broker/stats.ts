/** Plain counters, only ever counted up; whoever shows them takes differences. */
export class Stats {
  publishReceived = 0
  /** Lost on purpose: over a bound, expired, or QoS 0 for a client that was away. Each also raises a Notice. */
  publishDropped = 0
  connected = 0
  refused = 0
  takeovers = 0
  willsPublished = 0
  sessionsExpired = 0
}
