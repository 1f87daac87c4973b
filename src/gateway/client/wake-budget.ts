import type { GatewayClient } from './client.ts'

/** What one awake period of a sleeper may bring (ruling A5): what waits beyond that waits for the next one. */
export class WakeBudget {
  readonly #client: GatewayClient
  #deliveries = 0
  #octets = 0

  constructor(client: GatewayClient) {
    this.#client = client
  }

  /** A new awake period. */
  begin(): void {
    this.#deliveries = 0
    this.#octets = 0
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
