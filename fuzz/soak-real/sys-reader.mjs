import { Connection } from './connection.mjs'

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
  #connection

  async begin(soak) {
    // Its packets are in no ledger: what it has got is asked for together with the figures.
    const apart = { published: { certain: 0, doubt: 0, bytes: 0 }, delivered: { certain: 0, doubt: 0, bytes: 0 } }
    this.#connection = await Connection.open(soak.broker.mqttPort, apart, { clientId: this.id }, (packet) => this.#packet(packet))
    await this.#connection.client.subscribeAsync(`${ROOT}#`, { qos: 0 })
  }

  #packet({ cmd, topic, payload }) {
    if (cmd !== 'publish') return
    const name = topic.slice(ROOT.length)
    if (name === 'uptime') {
      this.#updates++
      this.#before = { count: this.#received, bytes: this.#bytes }
    }
    this.#received++
    this.#bytes += payload.length
    this.#values.set(name, payload.toString())
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
    while (this.#updates < wanted && this.#connection.isOpen) await new Promise((resolve) => setTimeout(resolve, 100))
  }

  get before() {
    return this.#before
  }

  async end() {
    await this.#connection.leave()
  }
}
