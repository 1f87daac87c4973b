import { Client } from './client.mjs'

const ROOT = '$SYS/broker/'

/** Reads what the broker tells of itself. The figures of one moment come as a row of messages that begins with `uptime`. */
export class SysReader {
  id = 'sys-reader'
  subscriptions = 1
  #values = new Map()
  #received = 0
  /** Its own share of what had been sent when the newest figures were taken. */
  #before = { count: 0, bytes: 0 }
  #bytes = 0
  #updates = 0
  #client

  async begin(soak) {
    // Its packets are in no ledger: what it has got is asked for together with the figures.
    const apart = { published: { certain: 0, doubt: 0, bytes: 0 }, delivered: { certain: 0, doubt: 0, bytes: 0 } }
    const options = { clientId: this.id, version: 4 }
    this.#client = new Client(soak.broker.mqttPort, apart, options, (event) => this.#event(event))
    await this.#client.connect()
    await this.#client.subscribe([{ filter: `${ROOT}#`, qos: 0 }])
  }

  #event({ event, message }) {
    if (event !== 'message') return
    const { topic, payload } = message
    const name = topic.slice(ROOT.length)
    if (name === 'uptime') {
      this.#updates++
      this.#before = { count: this.#received, bytes: this.#bytes }
    }
    this.#received++
    this.#bytes += payload.length
    this.#values.set(name, Buffer.from(payload).toString())
  }

  number(name) {
    return Number(this.#values.get(name) ?? Number.NaN)
  }

  /** Those that are about bounds and Notices, by name. */
  notices() {
    return [...this.#values].filter(([name]) => name.startsWith('roost/limits/') || name.startsWith('roost/notices/'))
  }

  /** Figures that were taken from now on: two updates later the row of the first is complete. */
  async fresh() {
    const wanted = this.#updates + 3
    while (this.#updates < wanted && this.#client.isOpen) await new Promise((resolve) => setTimeout(resolve, 100))
  }

  get before() {
    return this.#before
  }

  async end() {
    await this.#client.leave()
  }
}
