import type { Instant } from '../base/machine.ts'
import type { Notice, NoticeSink } from '../base/notice.ts'
import type { Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { Publish } from '../mqtt/publish.ts'
import type { BridgeOptions } from './bridge-options.ts'
import type { UpstreamStatus } from './link-host.ts'

/** Attempts in a row, answered by the remote broker, after which the next is made without the will, or with it again. */
const ATTEMPTS = 3
/** A connection that lasts less than this, in milliseconds, may have ended because of the notification at its beginning. */
const SHORT_MS = 5_000

/** Milliseconds after which the same problem is reported again. */
const TOLD_AGAIN_MS = 600_000
const TOLD_MAX = 100

const ZERO = Uint8Array.of(0x30)
const ONE = Uint8Array.of(0x31)

/**
 * What a bridge tells of itself: its state, as 1 or 0 on a topic at the remote broker, and problems in the log. Some brokers close the
 * connection because of such a topic (AWS IoT Core because of any under `$SYS`): then it goes on without.
 */
export class BridgeNotifications {
  readonly #options: BridgeOptions
  readonly #notice: NoticeSink
  /** The remote broker does not take them. */
  #isOff = false
  /** Without the will the last attempts were made, to see whether it is the cause. */
  #isTrying = false
  #attempts = 0
  #shortOnes = 0
  #upAt: Instant = 0
  /** Problems that were reported, and when. */
  readonly #told = new Map<string, Instant>()

  constructor(options: BridgeOptions, notice: NoticeSink) {
    this.#options = options
    this.#notice = notice
  }

  get #topic(): string | undefined {
    const { notificationTopic, notifiesRemotely } = this.#options
    return notifiesRemotely && !this.#isOff ? notificationTopic : undefined
  }

  /** The will for the next CONNECT. */
  get will(): Will | undefined {
    const topic = this.#isTrying ? undefined : this.#topic
    return topic === undefined ? undefined : { topic, payload: ZERO, qos: 1, retain: true, properties: NO_PROPERTIES }
  }

  /** The message that says whether the bridge is connected. */
  message(isUp: boolean): Publish | undefined {
    const topic = this.#topic
    return topic === undefined ? undefined : Publish.of(topic, isUp ? ONE : ZERO, 0, true)
  }

  connected(now: Instant): void {
    this.#upAt = now
    this.#attempts = 0
    if (!this.#isTrying) return
    this.#isTrying = false
    this.#turnOff(now, 'it refuses a connection with such a will')
  }

  /** The connection is lost. True if from now on there is no will. */
  lost(now: Instant): boolean {
    if (this.#topic === undefined) return false
    this.#shortOnes = now - this.#upAt < SHORT_MS ? this.#shortOnes + 1 : 0
    if (this.#shortOnes < ATTEMPTS) return false
    this.#turnOff(now, `it has closed ${ATTEMPTS} connections right after them`)
    return true
  }

  /** An attempt has failed. True if the next one is to have another will. */
  failed({ lastError }: UpstreamStatus): boolean {
    // Only what comes after the stream is open can have to do with the will.
    if (this.#topic === undefined || /ECONN|ETIMEDOUT|ENOTFOUND|EAI_|no connection/.test(lastError)) return false
    if (++this.#attempts < ATTEMPTS) return false
    this.#attempts = 0
    this.#isTrying = !this.#isTrying
    return true
  }

  #turnOff(now: Instant, why: string): void {
    const { notificationTopic: topic } = this.#options
    this.#isOff = true
    this.problem(
      now,
      `no notifications on ${topic} at the remote broker until the next start, because ${why} (notifications_local_only)`,
    )
  }

  /** One line for an outage in which it happens again and again. */
  problem(now: Instant, reason: string): void {
    const before = this.#told.get(reason)
    if (before !== undefined && now < before + TOLD_AGAIN_MS) return
    if (this.#told.size === TOLD_MAX) this.#told.clear()
    this.#told.set(reason, now)
    this.#raise('bridge-problem', reason)
  }

  echoes(now: Instant): void {
    const what = 'what goes there on topics with the direction both'
    this.problem(now, `the remote broker sends back ${what} (try_private, or MQTT 5): it arrives here once more`)
  }

  /** A message is dropped. */
  refused(reason: string): void {
    this.#raise('bridge-refused', reason)
  }

  #raise(code: Notice['code'], reason: string): void {
    this.#notice({ code, level: 'warn', client: this.#options.name, reason })
  }
}

/** The state as a message for this broker. */
export const stateMessage = (topic: string, isUp: boolean, retain: boolean): Publish =>
  Publish.of(topic, isUp ? ONE : ZERO, 0, retain)
