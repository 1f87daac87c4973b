/**
 * One fact worth telling: a bound reached, a peer's error, a life event of a client. Logs, metrics, `$SYS` and tests all read
 * this one stream, so nothing is ever dropped in silence. `count` says how many occurrences one Notice stands for.
 */
export interface Notice {
  readonly code: NoticeCode
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  /** Session key, `mqtt:<clientId>` or `sn:<clientId>`. */
  readonly client?: string
  /** User name that the client gave; nothing may have verified it. */
  readonly user?: string
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
  | 'address-banned'
  | 'client-asleep'
  | 'client-takeover'
  | 'client-moved'
  | 'client-revoked'
  | 'session-expired'
  | 'will-published'
  | 'will-refused'
  | 'publish-refused'
  | 'subscribe-refused'
  | 'request-refused'
  | 'subscription-ended'
  | 'protocol-error'
  | 'malformed-packet'
  | 'packet-too-large'
  | 'malformed-datagram'
  | 'forwarder-refused'
  | 'unknown-sender'
  | 'retries-exhausted'
  | 'gateway-heard'
  | 'gateway-gone'
  | 'port-failed'
  | 'port-recovered'
  | 'queue-full'
  | 'message-dropped'
  | 'limit-reached'
  | 'store-failed'
  | 'store-full'
  | 'store-blocked'
  | 'store-recovered'
  | 'store-damaged'
  | 'clock-backwards'
  | 'clock-jumped'
  | 'process-paused'
  | 'reload-failed'
  | 'authentication-failed'

export type NoticeSink = (notice: Notice) => void

/** How much of each Notice there was, since the start: as many entries as there are codes and bounds, whatever the peers do. */
export class NoticeCounts {
  readonly byCode = new Map<NoticeCode, number>()
  /** By the key of the bound that was reached. */
  readonly byLimit = new Map<string, number>()

  add({ code, limit, count = 1 }: Notice): void {
    this.byCode.set(code, (this.byCode.get(code) ?? 0) + count)
    if (limit !== undefined) this.byLimit.set(limit, (this.byLimit.get(limit) ?? 0) + count)
  }
}
