import { performance } from 'node:perf_hooks'
import { connect, UniqueMessageIdProvider } from 'mqtt'

/** QoS 1 and 2 messages that the broker may have on their way to one client. */
const WINDOW = 20
/** A connection that has lasted so long has had everything again that was sent before it. */
const SETTLED_MS = 5000
/** From DISCONNECT, with all acknowledgements before it, to the end of the connection. */
const GOODBYE_MS = 30_000

/** One connection of MQTT.js, with an account of the PUBLISH packets that it carried. */
export class Connection {
  client
  #ledger
  #opened = 0
  /** Packet ids of what was sent and may be on its way still, in order; 0 for QoS 0. */
  #unconfirmed = []
  #graceful = false
  #keepsSession = false

  /** `onPacket` hears of every packet that comes, `onSend` of every one that goes. Rejects if the broker does not let it in. */
  static open(port, ledger, options, onPacket = () => {}, onSend = () => {}) {
    const connection = new Connection()
    connection.#ledger = ledger
    connection.#keepsSession = options.clean === false
    connection.client = connect(`mqtt://127.0.0.1:${port}`, {
      reconnectPeriod: 0,
      keepalive: 60,
      resubscribe: false,
      messageIdProvider: new UniqueMessageIdProvider(),
      ...options,
    })
    connection.#listen(onPacket, onSend)
    return new Promise((resolve, reject) => {
      connection.client.once('connect', () => resolve(connection))
      connection.client.once('close', () => reject(new Error('closed before it was connected')))
    })
  }

  get isOpen() {
    return this.client.connected && !this.client.disconnecting
  }

  #listen(onPacket, onSend) {
    const { client } = this
    client.on('error', () => {})
    client.on('packetsend', (packet) => {
      if (packet.cmd === 'publish') {
        this.#ledger.published.certain++
        this.#ledger.published.bytes += packet.payload.length
        this.#unconfirmed.push(packet.messageId ?? 0)
      }
      onSend(packet)
    })
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'connack') this.#opened = performance.now()
      else if (packet.cmd === 'publish') {
        this.#ledger.delivered.certain++
        this.#ledger.delivered.bytes += packet.payload.length
      } else if (packet.cmd === 'puback' || packet.cmd === 'pubrec') {
        // What was sent before has arrived before.
        this.#unconfirmed.splice(0, this.#unconfirmed.indexOf(packet.messageId) + 1)
      }
      onPacket(packet)
    })
    client.once('close', () => this.#closed())
  }

  #closed() {
    const { published, delivered } = this.#ledger
    if (!this.#graceful) {
      published.certain -= this.#unconfirmed.length
      published.doubt += this.#unconfirmed.length
    }
    const settled = performance.now() - this.#opened > SETTLED_MS
    if (this.#keepsSession && this.#opened > 0 && !settled) delivered.doubt += WINDOW
  }

  /** By DISCONNECT, when everything is acknowledged. The broker closes; a client that waits in vain for that goes by itself. */
  leave() {
    this.#graceful = true
    const { client } = this
    return new Promise((resolve) => {
      if (!client.connected) {
        client.end(false)
        resolve()
        return
      }
      const patience = setTimeout(() => {
        this.#ledger.problem?.(`${client.options.clientId} was not let go after DISCONNECT`)
        client.stream.destroy()
      }, GOODBYE_MS)
      client.once('close', () => {
        clearTimeout(patience)
        resolve()
      })
      client.end(false)
    })
  }

  /** Without a word. */
  breakOff() {
    return new Promise((resolve) => {
      if (!this.client.connected) resolve()
      else this.client.once('close', resolve)
      this.client.stream.destroy()
    })
  }
}
