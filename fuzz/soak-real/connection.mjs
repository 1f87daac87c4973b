import { once } from 'node:events'
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import { parser } from 'mqtt-packet'

/** QoS 1 and 2 messages that the broker may have on their way to one client. */
const WINDOW = 20
/** A connection that has lasted so long has had everything again that was sent before it. */
const SETTLED_MS = 5000

/**
 * A socket, with an account of the PUBLISH packets that it carried. They are read with another codec than that of the broker
 * and of its clients.
 */
export class Connection {
  /** Resolves when the socket is closed. */
  closed
  #socket
  #ledger
  #keepsSession
  #sent
  #received
  #opened = 0
  /** Packet ids of what was sent and may be on its way still, in order; 0 for QoS 0. */
  #unconfirmed = []
  #graceful = false

  /** Rejects if nobody listens at the port. */
  static async open(port, ledger, { version = 5, cleanStart = true }) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Connection(socket, ledger, version, !cleanStart)
  }

  constructor(socket, ledger, protocolVersion, keepsSession) {
    this.#socket = socket
    this.#ledger = ledger
    this.#keepsSession = keepsSession
    this.#sent = parser({ protocolVersion })
    this.#sent.on('packet', (packet) => this.#packetSent(packet))
    this.#received = parser({ protocolVersion })
    this.#received.on('packet', (packet) => this.#packetReceived(packet))
    this.#received.on('error', (error) => ledger.problem?.(`the broker sent a malformed packet: ${error.message}`))
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    socket.once('close', () => this.#count())
  }

  /** `onChunk` gets what comes, when it is counted. */
  listen(onChunk, onClosed) {
    this.#socket.on('data', (bytes) => {
      this.#received.parse(bytes)
      onChunk(bytes)
    })
    this.#socket.once('close', onClosed)
  }

  send(bytes) {
    this.#sent.parse(bytes)
    this.#socket.write(bytes)
  }

  /** Everything that was sent is acknowledged: DISCONNECT is next, and the broker closes. */
  leaves() {
    this.#graceful = true
  }

  end() {
    this.#socket.end()
  }

  breakOff() {
    this.#socket.destroy()
  }

  #packetSent({ cmd, messageId = 0, payload }) {
    if (cmd !== 'publish') return
    this.#ledger.published.certain++
    this.#ledger.published.bytes += payload.length
    this.#unconfirmed.push(messageId)
  }

  #packetReceived({ cmd, messageId, payload }) {
    if (cmd === 'connack') this.#opened = performance.now()
    else if (cmd === 'publish') {
      this.#ledger.delivered.certain++
      this.#ledger.delivered.bytes += payload.length
    } else if (cmd === 'puback' || cmd === 'pubrec') {
      // What was sent before has arrived before.
      this.#unconfirmed.splice(0, this.#unconfirmed.indexOf(messageId) + 1)
    }
  }

  #count() {
    const { published, delivered } = this.#ledger
    if (!this.#graceful) {
      published.certain -= this.#unconfirmed.length
      published.doubt += this.#unconfirmed.length
    }
    const settled = performance.now() - this.#opened > SETTLED_MS
    if (this.#keepsSession && this.#opened > 0 && !settled) delivered.doubt += WINDOW
  }
}
