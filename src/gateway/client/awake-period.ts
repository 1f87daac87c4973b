import type { GatewayClient } from './client.ts'

/** One awake period of a sleeping client, from PINGREQ to PINGRESP: what it may bring (ruling A5), and whether it has to end. */
export class AwakePeriod {
  readonly #client: GatewayClient
  #deliveries = 0
  #octets = 0
  /** It ends now, whatever is still to be delivered. */
  isClosed = false

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** A new awake period. */
  begin(): void {
    this.isClosed = false
    this.#deliveries = 0
    this.#octets = 0
  }

  close(): void {
    this.isClosed = true
  }

  /** A delivery was begun. */
  delivered(): void {
    this.#deliveries++
  }

  /** So many octets were sent. */
  spend(octets: number): void {
    this.#octets += octets
  }

  /** The bound that is reached, by its key in the configuration. */
  get limit(): 'wake_messages' | 'wake_bytes' | undefined {
    const { wakeMessages, wakeBytes } = this.#client.host.options
    if (this.#octets >= wakeBytes) return 'wake_bytes'
    return this.#deliveries < wakeMessages ? undefined : 'wake_messages'
  }
}
