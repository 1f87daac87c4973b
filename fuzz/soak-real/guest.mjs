import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from './client.mjs'

const FILTER = 'soak/retained/+'

/** A client without a session, under another name each time: it subscribes, changes its retained message, and leaves nothing else behind. */
export class Guest {
  id
  subscriptions = 0
  #soak
  #random
  #visits = 0

  constructor(id, soak, { random }) {
    this.id = id
    this.#soak = soak
    this.#random = random
  }

  async begin() {}

  async errand() {
    const { broker, ledger } = this.#soak
    const random = this.#random
    const client = new Client(broker.mqttPort, ledger, {
      clientId: `${this.id}-${this.#visits++}`,
      version: random.pick([4, 5]),
    })
    try {
      await client.connect()
    } catch {
      this.#soak.refusals++
      await sleep(500)
      return
    }
    this.#soak.connects++
    await client.subscribe([{ filter: FILTER, qos: random.between(0, 1) }])
    for (let left = random.between(0, 2); left > 0; left--) {
      await this.#retain(client)
      await this.#soak.pause(random.between(200, 3000))
    }
    await client.unsubscribe(FILTER)
    // Messages that wait for the disk may come after UNSUBACK. When this one is acknowledged they have come.
    await this.#retain(client)
    await client.leave()
    await this.#soak.pause(random.between(200, 3000))
  }

  /** Another retained message, or the end of the one that there is. */
  async #retain(client) {
    const { retained } = this.#soak.ledger
    const random = this.#random
    const topic = `soak/retained/${this.id}`
    const text = retained.has(topic) && random.chance(0.4) ? '' : `${this.id} ${random.between(0, 1e9)}`
    await client.deliver(topic, text, random.between(1, 2), true)
    if (text === '') retained.delete(topic)
    else retained.set(topic, text)
  }

  async comeHome() {}

  async end() {}
}
