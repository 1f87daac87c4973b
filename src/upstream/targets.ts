import { earliest, type Instant } from '../base/machine.ts'
import type { ProtocolVersion, QoS } from '../mqtt/publish.ts'
import type { Target } from './target.ts'

export interface TargetsSettings {
  /** In the order in which they are tried; at least one. */
  readonly addresses: readonly Target[]
  /** After a lost connection the next address is tried first; otherwise always the first (Mosquitto's `round_robin`). */
  readonly roundRobin: boolean
  /** 'auto': 5.0 first, 3.1.1 for targets that do not speak it. */
  readonly version: ProtocolVersion | 'auto'
  /** Milliseconds before the second attempt, and at most. The same for both: always that long. */
  readonly backoff: Backoff
  /** From the dial to CONNACK. */
  readonly connectTimeoutMs: number
  /** Of messages that are sent to them. Undefined: what they serve. */
  readonly maximumQos?: QoS
}

export interface Backoff {
  readonly baseMs: number
  readonly maxMs: number
}

/** From one second to sixty. Not less: NATS closes clients that come back sooner. */
export const DEFAULT_BACKOFF: Backoff = { baseMs: 1_000, maxMs: 60_000 }

/** Failures in a row after which a target is given no more than one attempt at a time. */
const OPEN_AFTER = 3

/** Times that a target may close the stream before CONNACK before another version is tried. */
const CLOSED_BEFORE_CONNACK = 2
/** The same for one that has spoken this version before: perhaps another program is there now. */
const CLOSED_THOUGH_CONFIRMED = 6

/**
 * Milliseconds to wait after so many failures in a row before this one: evenly distributed between the base and a limit that begins
 * at twice the base and doubles with each failure, so that a thousand links that were lost together do not come back together.
 */
export function backoffMs({ baseMs, maxMs }: Backoff, failures: number, random: () => number): number {
  const most = Math.min(maxMs, baseMs * 2 ** Math.min(failures + 1, 30))
  return baseMs + random() * Math.max(0, most - baseMs)
}

/** How a CONNECT to a target is worded. */
export interface Dialect {
  readonly version: ProtocolVersion
  /** With the bridge bit, where the link wants it. */
  readonly bridge: boolean
}

const V5: Dialect = { version: 5, bridge: false }
const PRIVATE_4: Dialect = { version: 4, bridge: true }
const PLAIN_4: Dialect = { version: 4, bridge: false }

/**
 * How a target appears. 'away': its breaker is open. 'up': sessions are connected to it. 'failing': none is, and the last attempt has
 * failed. 'idle': none is, and nothing says that it could not be reached.
 */
export const TARGET_STATES = ['up', 'idle', 'failing', 'away'] as const
export type TargetState = (typeof TARGET_STATES)[number]

/** Minimum time between two lost streams that count as separate failures, in milliseconds. */
const QUESTIONS_APART_MS = 1_000

/** What is known of one address: its breaker, what it speaks, and what came of attempts. */
export class KnownTarget {
  readonly target: Target
  readonly #dialects: readonly Dialect[]
  readonly #backoff: Backoff
  #dialect = 0
  /** A CONNACK has confirmed the dialect. */
  #isConfirmed = false
  #closedEarly = 0
  /** Attempts in a row that have not led to CONNACK with success. */
  failures = 0
  /** Not dialled before. */
  retryAt: Instant = Number.NEGATIVE_INFINITY
  /** Attempts under way, and streams that are up. */
  dialling = 0
  up = 0
  /** Attempts since the start, with those that only look whether it is back; those that have led to CONNACK with success; failed ones. */
  dials = 0
  connects = 0
  failedDials = 0
  #state: TargetState = 'idle'
  /** When it came to its state; undefined before the first change. */
  since: Instant | undefined = undefined
  /** Why the last stream ended, or the last attempt failed; '' before that, and when there is a new stream. */
  lastError = ''
  /** Milliseconds of the last PINGREQ or PUBLISH on any stream until its answer; undefined before the first. */
  roundTripMs: number | undefined = undefined
  /** Of messages that are sent to it, by its configuration. */
  readonly wantedQos: QoS
  /** Likewise, and lower where it was found out that QoS 2 is not served. */
  maximumQos: QoS
  /** Whether that need not be found out any more. */
  isQosKnown: boolean
  /** When a stream was first lost before the far side had answered whether it supports QoS 2. */
  #unansweredAt: Instant | undefined = undefined
  /** What was last said of it where it has many links. */
  toldAs: 'up' | 'down' | undefined = undefined

  /**
   * A stream was lost before the far side had answered whether it supports QoS 2. One loss may be a failed node, which ends many
   * streams together. After a later one the question itself is assumed to be the cause, and is not asked again.
   */
  questionLost(now: Instant): void {
    this.#unansweredAt ??= now
    if (now - this.#unansweredAt >= QUESTIONS_APART_MS) this.isQosKnown = true
  }

  constructor(target: Target, { version, backoff, maximumQos = 2 }: TargetsSettings, isBridge: boolean) {
    this.target = target
    this.#backoff = backoff
    this.wantedQos = maximumQos
    this.maximumQos = maximumQos
    this.isQosKnown = maximumQos < 2
    const fixed =
      version === 'auto'
        ? [V5, PRIVATE_4, PLAIN_4]
        : [
            { version, bridge: true },
            { version, bridge: false },
          ]
    this.#dialects = fixed.filter(({ version: each, bridge }) => (each === 5 ? !bridge : isBridge || !bridge))
  }

  get dialect(): Dialect {
    return this.#dialects[this.#dialect]!
  }

  /** The version that it has accepted; undefined before that. */
  get version(): ProtocolVersion | undefined {
    return this.#isConfirmed ? this.dialect.version : undefined
  }

  get state(): TargetState {
    return this.#state
  }

  /** The breaker is open: one attempt at a time, to see whether it is back. */
  get isOpen(): boolean {
    return this.failures >= OPEN_AFTER
  }

  mayDial(now: Instant): boolean {
    return now >= this.retryAt && (!this.isOpen || this.dialling === 0)
  }

  dialled(): void {
    this.dialling++
    this.dials++
  }

  /** CONNACK with success: the attempt has become a stream that is up. */
  connected(now: Instant): void {
    this.dialling--
    this.up++
    this.connects++
    this.lastError = ''
    this.reached(now, true)
  }

  /** A stream is over, or an attempt to get one. */
  ended(now: Instant, wasUp: boolean): void {
    if (wasUp) this.up--
    else this.dialling--
    this.#settle(now)
  }

  /** It answers. `speaks`: the dialect, too. */
  reached(now: Instant, speaks: boolean): void {
    this.failures = 0
    this.retryAt = Number.NEGATIVE_INFINITY
    if (speaks) {
      this.#isConfirmed = true
      this.#closedEarly = 0
    }
    this.#settle(now)
  }

  failed(now: Instant, random: () => number): void {
    this.failedDials++
    this.retryAt = now + backoffMs(this.#backoff, this.failures++, random)
    this.#settle(now)
  }

  /** It answers, but does not want this client. */
  refusedClient(now: Instant): void {
    this.failedDials++
    this.reached(now, true)
  }

  #settle(now: Instant): void {
    const state = this.isOpen ? 'away' : this.up > 0 ? 'up' : this.failures > 0 ? 'failing' : 'idle'
    if (state === this.#state) return
    this.#state = state
    this.since = now
  }

  /** It does not want this protocol version. False if there is no other to try. */
  refusedVersion(): boolean {
    this.#isConfirmed = false
    this.#closedEarly = 0
    this.#dialect = (this.#dialect + 1) % this.#dialects.length
    return this.#dialect > 0
  }

  /** It has closed the stream instead of answering CONNECT. True if another version is tried next. */
  closedBeforeConnack(): boolean {
    const most = this.#isConfirmed ? CLOSED_THOUGH_CONFIRMED : CLOSED_BEFORE_CONNACK
    return ++this.#closedEarly >= most && this.refusedVersion()
  }
}

/** The addresses of one far side, which may be many nodes of a cluster. */
export class Targets {
  readonly settings: TargetsSettings
  readonly all: readonly KnownTarget[]
  /** What was said once, for all links to them. */
  readonly told = new Set<string>()
  /** Messages that were dropped on their way to or from any of them; each also raises a notice. */
  dropped = 0
  /** Where a link that looks for a target begins. */
  #next = 0

  /** `isBridge`: 3.1.1 is tried with the bridge bit first, as Mosquitto does (`try_private`). */
  constructor(settings: TargetsSettings, isBridge: boolean) {
    this.settings = settings
    this.all = settings.addresses.map((target) => new KnownTarget(target, settings, isBridge))
  }

  /** The target to dial now; undefined if none may be. */
  choose(now: Instant): KnownTarget | undefined {
    const { all } = this
    for (let i = 0; i < all.length; i++) {
      const known = all[(this.#next + i) % all.length]!
      if (known.mayDial(now)) return known
    }
    return undefined
  }

  /** Connected to this one. Without round robin the first address is the first choice again the next time. */
  connected(now: Instant, known: KnownTarget): void {
    known.connected(now)
    this.#next = this.settings.roundRobin ? this.all.indexOf(known) : 0
  }

  /** An attempt with this one has failed, or (round robin) its connection is lost: the next is the first choice. */
  leave(known: KnownTarget): void {
    this.#next = (this.all.indexOf(known) + 1) % this.all.length
  }

  /** When one of them may be dialled; undefined if that depends on attempts under way. */
  nextDial(): Instant | undefined {
    let at: Instant | undefined
    for (const known of this.all) if (!known.isOpen || known.dialling === 0) at = earliest(at, known.retryAt)
    return at
  }

  /** None may be dialled but to probe it. */
  get isOpen(): boolean {
    return this.all.every((known) => known.isOpen)
  }

  /** None can be reached, and now is not the time to see whether one is back. */
  isAway(now: Instant): boolean {
    return this.isOpen && this.choose(now) === undefined
  }
}

export const versionName = (version: ProtocolVersion): string => (version === 5 ? '5.0' : version === 4 ? '3.1.1' : '3.1')
