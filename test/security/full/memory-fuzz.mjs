// Grows whatever it can, at random: filters, REGISTERs, retained messages, queues, half packets, wills, sessions, shared groups, aliases, readers that do
// not read; from several addresses and users, so that shares alone do not stop it. A victim's messages go on beside it.
import { createSocket } from 'node:dgram'
import { deep } from './memory-attacks.mjs'
import { Client, CONNECT } from './started.mjs'

const CLIENTS_MAX = 150
const SENSORS_MAX = 30
const LASTING = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

/** The same numbers for the same seed. */
function randomOf(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

class Fuzzer {
  clients = []
  sensors = []
  ids = 0
  steps = 0
  refused = 0

  constructor(roost, seed) {
    this.roost = roost
    this.random = randomOf(seed)
  }

  below(count) {
    return Math.floor(this.random() * count)
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  /** Mostly small, seldom as large as it may be. */
  size(most) {
    return Math.floor(most * this.random() ** 4)
  }

  text(most) {
    return this.pick(['x', 'é', 'ж', 'x', 'x']).repeat(Math.floor(this.size(most) / 2))
  }

  topic() {
    return this.below(4) === 0 ? deep(this.below(100_000), 1 + this.below(128)) : `${this.below(200)}/${this.text(60_000)}`
  }

  filter() {
    const topic = this.topic()
    return this.pick([
      topic,
      `${this.below(100)}/+/${this.text(1000)}`,
      `${this.below(100)}/#`,
      `$share/${this.below(1000)}/${this.below(50)}/#`,
    ])
  }

  async connect() {
    const id = this.below(3) === 0 ? this.below(this.ids + 1) : this.ids++
    const localAddress = `127.0.0.${2 + this.below(8)}`
    const client = await Client.open(this.roost.port, { localAddress, count: true })
    const will = {
      topic: this.topic(),
      payload: Buffer.alloc(this.size(30_000)),
      qos: this.below(3),
      retain: this.below(2) === 0,
      properties: {},
    }
    const username = this.pick([undefined, 'a', 'b', 'c', 'd'])
    // One user for each, or sessions would belong to others.
    const clientId = `${username} ${id} ${this.text(200)}`
    client.send({ ...CONNECT, ...(this.below(3) > 0 && LASTING), clientId, username, ...(this.below(3) === 0 && { will }) })
    this.clients.push(client)
  }

  leave() {
    const [client] = this.clients.splice(this.below(this.clients.length), 1)
    if (this.below(2) === 0 && !client.socket.closed) client.send({ type: 14, reasonCode: this.pick([0, 4]), properties: {} })
    client.end()
  }

  act(client) {
    switch (this.below(9)) {
      case 0:
      case 1:
      case 2: {
        const subscriptions = Array.from({ length: 1 + this.size(50) }, () => ({
          filter: this.filter(),
          qos: this.below(3),
          noLocal: false,
          retainAsPublished: false,
          retainHandling: this.below(3),
        }))
        client.send({ type: 8, packetId: 1 + this.below(60_000), subscriptions, properties: {} })
        return
      }
      case 3:
        client.publish(this.topic(), Buffer.alloc(this.size(300_000)), { qos: 1, packetId: 1 + this.below(60_000), retain: true })
        return
      case 4:
      case 5:
        client.publish(`${this.below(200)}/a`, Buffer.alloc(this.size(200_000)), {
          qos: this.below(3),
          packetId: 1 + this.below(60_000),
        })
        return
      case 6:
        // The beginning of a packet, and nothing more of it: what follows is read as part of it.
        client.socket.write(Buffer.from([0x30, 0xff, 0xff, this.below(0x70)]))
        client.socket.write(Buffer.alloc(this.size(2_000_000)))
        return
      case 7:
        client.publish(`${this.below(1000)}/${this.text(5000)}`, '', { properties: { topicAlias: 1 + this.below(10) } })
        return
      case 8:
        if (this.below(2) === 0) client.socket.pause()
        else client.socket.resume()
    }
  }

  sensor() {
    const socket = createSocket('udp4')
    socket.on('error', () => {})
    socket.on('message', (bytes) => {
      if (bytes[1] === 0x0b && bytes[6] === 1) this.refused++
    })
    socket.bind(0, `127.0.0.${2 + this.below(8)}`)
    const id = Buffer.from(`sensor ${this.sensors.length}`)
    const send = (bytes) => socket.send(bytes, this.roost.snPort, '127.0.0.1', () => {})
    socket.once('listening', () => send(Buffer.concat([Buffer.from([6 + id.length, 4, 4, 1, 0, 60]), id])))
    this.sensors.push({ socket, send })
  }

  register({ send }) {
    const name = `${this.below(100_000)}/${this.text(60_000)}`
    const head = Buffer.from([1, 0, 0, 0x0a, 0, 0, 0, 0])
    const bytes = Buffer.concat([head, Buffer.from(name)])
    if (bytes.length > 65_000) return
    bytes.writeUInt16BE(bytes.length, 1)
    bytes.writeUInt16BE(1 + this.below(60_000), 6)
    send(bytes)
  }

  async step() {
    this.steps++
    const dice = this.below(100)
    if (this.clients.length === 0 || (dice < 6 && this.clients.length < CLIENTS_MAX)) await this.connect()
    else if (dice < 8) this.leave()
    else if (dice < 9 && this.sensors.length < SENSORS_MAX) this.sensor()
    else if (dice < 20 && this.sensors.length > 0) this.register(this.pick(this.sensors))
    else {
      const client = this.pick(this.clients)
      // What a socket of ours holds is our memory.
      if (!client.socket.closed && client.socket.writableLength < 4_000_000) this.act(client)
    }
    this.clients = this.clients.filter(({ socket }) => !socket.closed)
  }

  end() {
    for (const client of this.clients) client.end()
    for (const { socket } of this.sensors) socket.close()
  }
}

/** For so many seconds, or until the process has ended. */
export async function fuzz(roost, seconds, seed = Date.now()) {
  const fuzzer = new Fuzzer(roost, seed)
  const until = performance.now() + seconds * 1000
  try {
    while (performance.now() < until && roost.ended === undefined) {
      await fuzzer.step()
      if (fuzzer.steps % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2))
    }
  } finally {
    fuzzer.end()
  }
  return { steps: fuzzer.steps, seed }
}
