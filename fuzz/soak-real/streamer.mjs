import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './connection.mjs'
import { STREAM } from './slow-reader.mjs'

/** Publishes large messages with QoS 0, more than fits between the broker and those who do not read. */
export class Streamer {
  id = 'streamer'
  subscriptions = 0
  streamed = 0
  #connection
  #payload = Buffer.alloc(65_536, 'x')

  async begin(soak) {
    this.#connection = await Connection.open(soak.broker.mqttPort, soak.ledger, { clientId: this.id, protocolVersion: 5 })
  }

  async errand() {
    this.streamed++
    this.#connection.client.publish(STREAM, this.#payload, { qos: 0 })
    await sleep(40)
  }

  /** An acknowledged message says that those before it have arrived. */
  async comeHome() {
    await this.#connection.client.publishAsync('soak/loose', 'that was it', { qos: 1 })
  }

  async end() {
    await this.#connection.leave()
  }
}
