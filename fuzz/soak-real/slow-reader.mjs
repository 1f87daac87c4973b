import { connect } from 'node:net'
import { generate, parser } from 'mqtt-packet'

export const STREAM = 'soak/stream'

/** A raw socket that does not read for a while, and then everything. QoS 0 may be lost to it, nothing else. */
export class SlowReader {
  id
  subscriptions = 3
  /** Messages with QoS 0 that came. */
  streamed = 0
  #soak
  #room
  #random
  #socket
  #waiting = new Map()

  constructor(id, soak, room, { random }) {
    this.id = id
    this.#soak = soak
    this.#room = room
    this.#random = random
    room.members.push(this)
  }

  async begin() {
    this.#socket = connect({ port: this.#soak.broker.mqttPort, host: '127.0.0.1' })
    const parse = parser({ protocolVersion: 4 })
    parse.on('packet', (packet) => this.#packet(packet))
    this.#socket.on('data', (bytes) => parse.parse(bytes))
    this.#socket.on('error', () => {})
    this.#socket.once('close', () => {
      if (!this.#soak.over) this.#soak.ledger.problem(`${this.id} was closed by the broker`)
    })
    this.#send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: this.id, clean: true, keepalive: 0 })
    await this.#until('connack')
    const subscriptions = [
      { topic: this.#room.topics[1], qos: 1 },
      { topic: this.#room.topics[2], qos: 1 },
      { topic: STREAM, qos: 0 },
    ]
    this.#send({ cmd: 'subscribe', messageId: 1, subscriptions })
    await this.#until('suback')
  }

  async errand() {
    this.#socket.pause()
    for (let left = this.#random.between(2, 20); left > 0 && !this.#soak.calm; left--) await this.#soak.pause(1000)
    this.#socket.resume()
    await this.#soak.pause(this.#random.between(1000, 5000))
  }

  async comeHome() {}

  async end() {
    this.#send({ cmd: 'disconnect' })
    this.#socket.end()
  }

  #send(packet) {
    this.#socket.write(generate(packet))
  }

  #until(cmd) {
    return new Promise((resolve) => this.#waiting.set(cmd, resolve))
  }

  #packet({ cmd, qos, messageId, payload }) {
    const { ledger } = this.#soak
    this.#waiting.get(cmd)?.()
    this.#waiting.delete(cmd)
    if (cmd !== 'publish') return
    ledger.delivered.certain++
    ledger.delivered.bytes += payload.length
    if (qos === 0) {
      this.streamed++
      return
    }
    ledger.receive(this.id, payload.toString(), qos)
    this.#send({ cmd: 'puback', messageId })
  }
}
