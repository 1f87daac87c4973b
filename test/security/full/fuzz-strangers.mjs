// Whoever has not logged in, as the fuzzer of memory plays them: wrong passwords that wait for a hash, halves of handshakes, beginnings of CONNECT.
import { clientHello } from './memory-attacks.mjs'
import { Client, CONNECT } from './started.mjs'

const STRANGERS_MAX = 300

export class Strangers {
  #list = []
  #hello = clientHello()

  constructor(roost, dice, users) {
    this.roost = roost
    this.dice = dice
    this.users = users
  }

  step() {
    const { dice, roost } = this
    this.#list = this.#list.filter(({ socket }) => !socket.closed)
    while (this.#list.length > STRANGERS_MAX) this.#list.splice(dice.below(this.#list.length), 1)[0].end()
    return dice.weighted([
      [4, () => this.#begin(roost.port, Buffer.concat([Buffer.from([0x10, 0xf0, 0xff, 0x03]), dice.bytes(60_000)]))],
      [4, async () => this.#begin(roost.ports.tls, (await this.#hello).subarray(0, 10 + dice.below(2000)))],
      [4, () => this.#begin(roost.ports.ws, `GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ${dice.text(20_000)}`)],
      [1, () => this.#guess(1 + dice.size(150))],
    ])()
  }

  end() {
    for (const client of this.#list) client.end()
  }

  async #begin(port, bytes) {
    if (port === undefined) return
    const client = await Client.open(port, { localAddress: this.#address(), count: true })
    client.socket.write(bytes)
    this.#list.push(client)
  }

  /** So many wrong passwords at once. */
  async #guess(count) {
    const { dice, roost } = this
    for (let i = 0; i < count; i++) {
      const username = dice.pick([...this.users, 'nobody'])
      const client = await Client.open(roost.port, { localAddress: this.#address(), count: true })
      client.send({ ...CONNECT, clientId: `guess ${dice.text(1000)}`, username, password: dice.bytes(60_000) })
      this.#list.push(client)
    }
  }

  #address() {
    return `127.0.1.${1 + this.dice.below(16)}`
  }
}
