import type { Instant } from '../../base/machine.ts'
import type { GatewayClient } from './client.ts'

/**
 * One awake period of a sleeping client, from PINGREQ to PINGRESP: how much it may deliver (ruling A5), and whether it has to
 * end.
 */
export class AwakePeriod {
  readonly #client: GatewayClient
  #deliveries = 0
  #octets = 0
  #since: Instant = 0
  /** True if the period ends now, even if messages are still to be delivered. */
  isClosed = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** Starts a new awake period. For a client that the broker does not know there is nothing to deliver. */
  begin(now: Instant): void {
    this.isClosed = this.#client.link === undefined
    this.#since = now
    this.#deliveries = 0
    this.#octets = 0
  }

  close(): void {
    this.isClosed = true
  }

  /** PINGRESP is being sent. */
  end(now: Instant): void {
    const { host, seat } = this.#client
    host.traffic.wakeSeconds.observe((now - this.#since) / 1000)
    host.sensorStates.figures?.count(seat, 'wakes')
  }

  /** Counts a delivery that was started. */
  delivered(): void {
    this.#deliveries++
  }

  /** Counts `octets` that were sent. */
  spend(octets: number): void {
    this.#octets += octets
  }

  /** The option whose limit is reached, if any. */
  get limit(): 'wake_messages' | 'wake_bytes' | undefined {
    const { wakeMessages, wakeBytes } = this.#client.host.options
    if (this.#octets >= wakeBytes) return 'wake_bytes'
    return this.#deliveries < wakeMessages ? undefined : 'wake_messages'
  }
}
