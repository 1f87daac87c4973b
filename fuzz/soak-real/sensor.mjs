import { createSocket } from 'node:dgram'
import { performance } from 'node:perf_hooks'
import { SnClient } from '../../dist/mqttsn/client.js'

const PUBLISH = 0x0c
const DUP = 0x80
const CONGESTION = 1
/** PUBLISH of one message that the gateway may have sent to a socket that is gone: the first and its repetitions. */
const COPIES = 4

/** PUBLISH datagrams: their flags and payload length. */
function publishIn(bytes) {
  const at = bytes[0] === 1 ? 3 : 1
  return bytes[at] === PUBLISH ? { dup: (bytes[at + 1] & DUP) !== 0, bytes: bytes.length - at - 6 } : undefined
}

/** An MQTT-SN client over a UDP socket that keeps its session. Some sleep and wake, some come again from another port. */
export class Sensor {
  id
  subscriptions = 2
  #soak
  #room
  #random
  #sleeps
  #roams
  #client
  #socket
  #timer
  #waiting = []
  /** Text of the message that is on its way, by message id. */
  #open = new Map()

  constructor(id, soak, room, { sleeps, roams, random }) {
    this.id = id
    this.#soak = soak
    this.#room = room
    this.#random = random
    this.#sleeps = sleeps
    this.#roams = roams
    this.#client = new SnClient({ clientId: id, cleanSession: false, keepAliveSeconds: 60 })
    room.members.push(this)
  }

  async begin() {
    await this.#bind()
    await this.#connect()
    for (const qos of [1, 2]) {
      this.#act((client, now) => client.subscribe(now, this.#room.topics[qos], qos))
      if (!(await this.#until('subscribed'))) throw new Error(`${this.id} could not subscribe`)
    }
    await this.#rest()
  }

  async errand() {
    const random = this.#random
    await this.#soak.pause(random.between(500, 4000))
    if (this.#client.state === 'asleep') {
      await this.fetch()
      if (random.chance(0.6)) return
      await this.#connect()
    } else if (this.#client.state !== 'active') await this.#connect()
    await this.#publish(random.between(0, 2))
    if (this.#roams && random.chance(0.3)) await this.#roam()
    await this.#rest()
  }

  async comeHome() {
    while (this.#client.state !== 'active' && this.#client.state !== 'asleep') await this.#connect()
    await this.#rest()
  }

  /** From sleep: what waits. */
  async fetch() {
    if (this.#client.state !== 'asleep') return
    this.#act((client, now) => client.wake(now))
    await this.#until('wakeEnded')
  }

  /** One message, when everything is calm. */
  async publish(qos) {
    if (this.#sleeps) return
    await this.#publish(qos)
  }

  async end() {
    clearTimeout(this.#timer)
    this.#socket.close()
  }

  async #publish(qos) {
    const { ledger } = this.#soak
    const text = qos === 0 ? `${this.id} without a promise` : ledger.publish(this.id, this.#room, qos)
    const topic = qos === 0 ? 'soak/loose' : this.#room.topics[qos]
    this.#act((client, now) => {
      const msgId = client.publish(now, topic, Buffer.from(text), qos)
      if (qos > 0) this.#open.set(msgId, text)
    })
    if (qos === 0) return
    await this.#until('published')
  }

  async #connect() {
    do {
      this.#act((client, now) => client.connect(now))
      this.#soak.connects++
    } while (!(await this.#until('connected')))
  }

  async #rest() {
    if (!this.#sleeps || this.#client.state !== 'active') return
    this.#act((client, now) => client.sleep(now, 60))
    await this.#until('asleep')
  }

  /** Its address changes, and what was sent to the old one is lost. */
  async #roam() {
    clearTimeout(this.#timer)
    this.#socket.close()
    this.#soak.ledger.delivered.doubt += COPIES
    this.#soak.roams++
    await this.#soak.pause(this.#random.between(0, 1000))
    await this.#bind()
    await this.#connect()
  }

  async #bind() {
    const socket = createSocket('udp4')
    socket.on('message', (bytes) => this.#receive(bytes))
    socket.on('error', () => {})
    await new Promise((resolve) => socket.connect(this.#soak.broker.snPort, '127.0.0.1', resolve))
    this.#socket = socket
  }

  #receive(bytes) {
    const { delivered } = this.#soak.ledger
    const publish = publishIn(bytes)
    if (publish !== undefined) {
      delivered.certain++
      delivered.bytes += publish.bytes
    }
    this.#act((client, now) => client.handleDatagram(now, bytes))
  }

  #act(what) {
    what(this.#client, performance.now())
    for (let out = this.#client.poll(); out !== undefined; out = this.#client.poll()) {
      if (out.kind === 'datagram') this.#send(out.bytes)
      else this.#event(out)
    }
    clearTimeout(this.#timer)
    const at = this.#client.nextTimeout()
    if (at === undefined) return
    this.#timer = setTimeout(() => this.#act((client, now) => client.handleTimeout(now)), Math.max(0, at - performance.now()))
  }

  #send(bytes) {
    const { published } = this.#soak.ledger
    const publish = publishIn(bytes)
    if (publish?.dup === true) published.doubt++
    else if (publish !== undefined) {
      published.certain++
      published.bytes += publish.bytes
    }
    this.#socket.send(bytes)
  }

  #event(event) {
    const { ledger } = this.#soak
    if (event.event === 'message') {
      const { qos, data } = event.message
      ledger.receive(this.id, Buffer.from(data).toString(), qos)
      return
    }
    if (event.event === 'published') this.#published(event)
    if (event.event === 'timedOut') {
      this.#soak.timeouts++
      for (const text of this.#open.values()) ledger.giveUp(text)
      this.#open.clear()
    }
    const wait = this.#waiting.findIndex(({ wanted }) => wanted === event.event)
    if (wait >= 0) this.#waiting.splice(wait, 1)[0].resolve(true)
    // Whoever waits for an answer waits no longer.
    else if (event.event === 'timedOut' || event.event === 'disconnected' || event.event === 'refused')
      for (const { resolve } of this.#waiting.splice(0)) resolve(false)
  }

  #published({ msgId, returnCode }) {
    const { ledger } = this.#soak
    const text = this.#open.get(msgId)
    this.#open.delete(msgId)
    if (text === undefined) return
    if (returnCode === 0) {
      ledger.acknowledge(text)
      return
    }
    ledger.giveUp(text)
    if (returnCode !== CONGESTION) {
      ledger.problem(`${this.id}: "${text}" was refused with ${returnCode}`)
      return
    }
    // Somebody reads too slowly, and sensors have no window to be held by. It may not have come as far as the broker.
    this.#soak.congestions++
    ledger.published.certain--
    ledger.published.doubt++
  }

  #until(wanted) {
    return new Promise((resolve) => this.#waiting.push({ wanted, resolve }))
  }
}
