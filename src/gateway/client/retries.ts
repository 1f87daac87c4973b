import type { Instant } from '../../base/machine.ts'
import { Timer } from '../../base/timers.ts'
import { MsgType } from '../../mqttsn/messages.ts'
import { allTriesMs, retryDelayMs } from '../ports/retry-profile.ts'
import type { GatewayClient } from './client.ts'
import type { ClientTimer } from './client-host.ts'
import type { Awaiting, Exchange } from './exchange.ts'
import { retriesExhausted } from './leaving.ts'
import type { Outbound } from './outbound.ts'

/**
 * Number of rounds of all attempts for a client that is heard but does not answer. If one datagram in ten is lost and N_retry is
 * 3, all four attempts fail for one message in 770, and three rounds fail for one in 450 million.
 */
const ROUNDS = 3

/**
 * Retransmission of unanswered messages to one client [1.2 section 6.13]: the retry timer, the attempts, and what follows when
 * they are used up.
 */
export class Retries {
  readonly #client: GatewayClient
  readonly #outbound: Outbound
  #timer: Timer<ClientTimer> | undefined = undefined
  #count = 0
  /** When the client last answered, or the open messages were first sent. */
  #since: Instant = 0
  /** When the open messages were last sent. */
  #sentAt: Instant = 0
  /** The client left something unanswered through all rounds and has answered nothing since: it gets one round only. */
  isIgnored = false
  /** The current round of attempts, from 1. */
  #round = 1
  /** N_retry is used up, but it is not yet known whether the client is still reachable. */
  exhausted = false

  constructor(client: GatewayClient, outbound: Outbound) {
    this.#client = client
    this.#outbound = outbound
  }

  /** Handles the expiry of T_retry. */
  timedOut(now: Instant): void {
    if (this.#outbound.halted === 'rests') {
      this.#outbound.resume(now)
      return
    }
    const first = this.#outbound.exchanges.open[0]
    if (first === undefined) {
      this.#closeAwakePeriod(now)
      return
    }
    const isBrokersTurn = this.#outbound.exchanges.open.every(({ answered }) => answered === true)
    if (isBrokersTurn || this.#outbound.waitsForPort || this.#client.awaitsStore) {
      // The client has answered all that it got, or the message has not left yet.
      if (this.#client.state === 'awake') this.#closeAwakePeriod(now)
      else this.arm(now)
      return
    }
    if (this.usedUp) {
      this.#unanswered(now, first)
      return
    }
    this.again(now)
    this.#sendAgain()
    if (this.#outbound.halted === 'lacks id') this.#outbound.halted = undefined
  }

  /** What it waits for has not come in time. While the process did not run, it could not: that time does not count. */
  #closeAwakePeriod(now: Instant): void {
    const { host, retryProfile, awakePeriod } = this.#client
    const deadline = host.pauses.extend(this.#at().deadline, allTriesMs(retryProfile))
    if (now < deadline) host.timers.arm(this.#at(), deadline)
    else awakePeriod.close()
  }

  #sendAgain(): void {
    for (const { message, answered } of this.#outbound.exchanges.open) {
      // A PUBLISH is not resent after its PUBREC (MQTT-4.3.3-6), which the broker may still have to record.
      if (answered === true) continue
      const { host, seat } = this.#client
      host.traffic.retransmissions++
      host.sensorStates.figures?.count(seat, 'retransmissions')
      if (message.type === MsgType.PUBLISH) this.#outbound.send({ ...message, dup: true })
      // The first REGISTER may have been retracted, because of congestion, while it waited for the store to record its topic id.
      else this.#outbound.send(message, message.type === MsgType.REGISTER ? this.#client.topicIds.lsn : 0)
    }
  }

  /** The client has sent something. Exchanges that this answered must be closed already. */
  heard(now: Instant): void {
    if (this.exhausted && this.#client.isReachable) this.#giveUpUnanswered(now)
  }

  /**
   * N_retry is used up. If the client has been silent since the first attempt, it is lost. If it was heard since the last
   * attempt, it is reachable but does not answer. If it was last heard in between, it may have gone since: its next message, or
   * keep alive, will show.
   */
  #unanswered(now: Instant, first: Exchange): void {
    const { state, durationSeconds, retryProfile } = this.#client
    const isPoison = this.#outbound.poison.count(first) >= this.rounds
    if (isPoison || (state === 'active' && this.heardSinceLast)) this.#giveUpUnanswered(now)
    else if (state === 'active' && this.heardSinceFirst && !this.exhausted) {
      this.exhausted = true
      if (durationSeconds === 0) this.armFor(now, allTriesMs(retryProfile))
    } else {
      if (state === 'awake') this.#outbound.poison.add(first)
      else this.#outbound.poison.lost(first)
      retriesExhausted(this.#client, now, first.awaiting)
    }
  }

  /** The client is reachable but does not answer: what it was sent is dropped, or waits, and the rest continues (ruling A28). */
  #giveUpUnanswered(now: Instant): void {
    const isMessageOpen = this.#outbound.exchanges.open.some(({ awaiting }) => awaiting !== 'PUBCOMP')
    const isPoison = this.#outbound.exchanges.open.some((each) => this.#outbound.poison.count(each) >= this.rounds)
    if (isMessageOpen && !isPoison && this.beginRound(now)) {
      this.#sendAgain()
      return
    }
    this.isIgnored = isMessageOpen
    const { host, key, route: peer, retryProfile } = this.#client
    const open = this.#outbound.exchanges.open.filter(({ answered }) => answered !== true)
    const keeps = host.options.unanswered === 'keep'
    const reason = (awaiting: Awaiting): string => `no ${awaiting} after ${retryProfile.nRetry} retries`
    if (open.length > 0) {
      const why = `${reason(open[0]!.awaiting)}, but the client is heard`
      host.notice({ code: 'retries-exhausted', level: 'info', client: key, peer, reason: why })
    }
    for (const exchange of open) {
      if (keeps && exchange.delivery !== undefined && exchange.delivery.qos > 0) continue
      this.#outbound.exchanges.remove(exchange)
      this.#outbound.giveUpExchange(now, exchange, reason(exchange.awaiting))
    }
    if (keeps && open.some((exchange) => this.#outbound.exchanges.open.includes(exchange))) this.#outbound.rest(now)
    else if (this.#outbound.exchanges.open.length > 0 && this.#outbound.halted !== 'rests') this.restart(now)
  }

  /** How often the open messages were sent again, in this round. */
  get count(): number {
    return this.#count
  }

  /** When they are sent again, or given up. */
  get due(): Instant | undefined {
    return this.#timer?.armed === true ? this.#timer.deadline : undefined
  }

  /** True if N_retry is used up. */
  get usedUp(): boolean {
    return this.#count >= this.#client.retryProfile.nRetry
  }

  /** True if the client has sent something since the first attempt. */
  get heardSinceFirst(): boolean {
    return this.#client.lastHeard > this.#since
  }

  /** True if the client has sent something since the last attempt. */
  get heardSinceLast(): boolean {
    return this.#client.lastHeard > this.#sentAt
  }

  /** The client has answered, or something new was sent: resets the attempts. */
  restart(now: Instant): void {
    this.exhausted = false
    this.#round = 1
    this.#count = 0
    this.#since = now
    this.arm(now)
  }

  /**
   * Starts another round of attempts for a client that is heard, because on a lossy network it may have received none. Returns
   * false after the last round.
   */
  beginRound(now: Instant): boolean {
    if (this.isIgnored || this.#round >= this.rounds) return false
    this.exhausted = false
    this.#round++
    this.#count = 0
    this.arm(now)
    return true
  }

  get rounds(): number {
    return this.#client.host.options.unansweredRounds ?? ROUNDS
  }

  /** Counts another attempt. */
  again(now: Instant): void {
    this.#count++
    this.arm(now)
  }

  /** Frames that waited for the port or the store have left only now. */
  left(now: Instant): void {
    if (!this.#at().armed) return
    if (this.#count === 0) this.#since = now
    this.arm(now)
  }

  /** Restarts T_retry. */
  arm(now: Instant): void {
    const { host, retryProfile } = this.#client
    this.#sentAt = now
    host.timers.arm(this.#at(), now + retryDelayMs(retryProfile, this.#count, host.chance()))
  }

  /** Starts the timer for `ms` milliseconds, whatever is open. */
  armFor(now: Instant, ms: number): void {
    this.#client.host.timers.arm(this.#at(), now + ms)
  }

  /**
   * Starts the timer for the duration of all attempts, unless it is running already. Also where no exchange is open: an awake period
   * that waits for the store must end, too.
   */
  watch(now: Instant): void {
    if (!this.#at().armed) this.armFor(now, allTriesMs(this.#client.retryProfile))
  }

  reset(): void {
    this.#count = 0
    this.#round = 1
    this.disarm()
  }

  get isArmed(): boolean {
    return this.#timer?.armed === true
  }

  disarm(): void {
    this.exhausted = false
    if (this.#timer !== undefined) this.#client.host.timers.disarm(this.#timer)
  }

  #at(): Timer<ClientTimer> {
    this.#timer ??= new Timer<ClientTimer>({ client: this.#client, about: 'retry' })
    return this.#timer
  }
}
