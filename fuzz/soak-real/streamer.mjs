import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from './client.mjs'
import { STREAM } from './slow-reader.mjs'

/** Publishes large messages with QoS 0, more than fits between the broker and those who do not read. */
export class Streamer {
  id = 'streamer'
  subscriptions = 0
  streamed = 0
  #client
  #payload = Buffer.alloc(65_536, 'x')

  async begin(soak) {
    this.#client = new Client(soak.broker.mqttPort, soak.ledger, { clientId: this.id, version: 5 })
    await this.#client.connect()
  }

  async errand() {
    this.streamed++
    this.#client.publish(STREAM, this.#payload, 0)
    await sleep(40)
  }

  /** An acknowledged message says that those before it have arrived. */
  async comeHome() {
    await this.#client.deliver('soak/loose', 'that was it', 1)
  }

  async end() {
    await this.#client.leave()
  }
}
