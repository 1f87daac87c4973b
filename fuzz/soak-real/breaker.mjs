import { once } from 'node:events'
import { connect } from 'node:net'
import { generate } from 'mqtt-packet'

/** A raw socket that breaks off in the middle of a packet, or never begins one. None of its messages is ever complete. */
export class Breaker {
  id
  subscriptions = 0
  #soak
  #random

  constructor(id, soak, { random }) {
    this.id = id
    this.#soak = soak
    this.#random = random
  }

  async begin() {}

  async errand() {
    const random = this.#random
    const socket = connect({ port: this.#soak.broker.mqttPort, host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.resume()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    const hello = generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: this.id,
      clean: true,
      keepalive: 60,
    })
    const publish = generate({ cmd: 'publish', topic: 'soak/broken', payload: Buffer.alloc(1000), qos: 1, messageId: 1 })
    const half = (bytes) => bytes.subarray(0, random.between(1, bytes.length - 1))
    if (random.chance(0.3)) socket.write(half(hello))
    else if (random.chance(0.9)) {
      socket.write(hello)
      await Promise.race([once(socket, 'data'), closed])
      if (random.chance(0.5)) {
        const subscriptions = [{ topic: `soak/broken/${this.id}/#`, qos: 2 }]
        socket.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }))
      }
      // A packet of type 0 is a protocol error: the broker hangs up.
      socket.write(random.chance(0.2) ? Buffer.from([0x00, 0x00]) : half(publish))
    }
    this.#soak.breaks++
    await this.#soak.pause(random.between(0, 2000))
    if (random.chance(0.5)) socket.resetAndDestroy()
    else socket.end()
    await closed
    await this.#soak.pause(random.between(500, 3000))
  }

  async comeHome() {}

  async end() {}
}
