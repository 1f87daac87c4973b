/**
 * One fact worth telling: a bound reached, a peer's error, a life event of a client. Logs, metrics, `$SYS` and tests all read
 * this one stream, so nothing is ever dropped in silence. `count` says how many occurrences one Notice stands for.
 */
export interface Notice {
  readonly code: NoticeCode
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** Session key, `mqtt:<clientId>` or `sn:<clientId>`. */
  readonly client?: string
  /** Where the peer is: `127.0.0.1:51234`. */
  readonly peer?: string
  /** In plain words; for peers' errors with the rule that was broken. */
  readonly reason?: string
  readonly count?: number
  /** The bound that was reached, by its key in the configuration. */
  readonly limit?: string
}

export type NoticeCode =
  | 'client-connected'
  | 'client-disconnected'
  | 'client-lost'
  | 'client-refused'
  | 'client-asleep'
  | 'client-takeover'
  | 'client-revoked'
  | 'session-expired'
  | 'will-published'
  | 'will-refused'
  | 'publish-refused'
  | 'subscribe-refused'
  | 'subscription-ended'
  | 'protocol-error'
  | 'malformed-packet'
  | 'malformed-datagram'
  | 'unknown-sender'
  | 'retries-exhausted'
  | 'queue-full'
  | 'message-dropped'
  | 'limit-reached'
  | 'store-failed'
  | 'store-full'
  | 'store-recovered'
  | 'clock-backwards'

export type NoticeSink = (notice: Notice) => void
