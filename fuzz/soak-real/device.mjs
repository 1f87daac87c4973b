import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from './client.mjs'

/**
 * A client that keeps its session: it comes, publishes, and goes with a DISCONNECT or without. One that flaps comes again while
 * it is still connected, so that its client id is taken over.
 */
export class Device {
  id
  #soak
  #room
  #random
  #flaps
  #client
  /** The broker has let it in once, and has a session of it. */
  #known = false
  /** Texts that are on their way to the broker, by packet id. */
  #open = new Map()

  constructor(id, soak, room, { version, flaps, random }) {
    this.id = id
    this.#soak = soak
    this.#room = room
    this.#random = random
    this.#flaps = flaps
    const options = {
      clientId: id,
      version,
      cleanStart: false,
      ...(version === 5 && { properties: { sessionExpiryInterval: 86_400 } }),
    }
    this.#client = new Client(soak.broker.mqttPort, soak.ledger, options, (event) => this.#event(event))
    room.members.push(this)
  }

  /** Subscriptions that it holds for ever. */
  subscriptions = 2

  async begin() {
    await this.#connect()
    const [, q1, q2] = this.#room.topics
    await this.#client.subscribe([
      { filter: q1, qos: 1 },
      { filter: q2, qos: 2 },
    ])
  }

  async errand() {
    const random = this.#random
    for (let left = random.between(1, 6); left > 0 && !this.#soak.calm; left--) {
      this.publish(random.between(1, 2))
      await this.#soak.pause(random.between(500, 6000))
    }
    if (this.#flaps) {
      this.publish(random.between(1, 2))
      await this.#connect()
      if (random.chance(0.5)) await this.#connect()
      return
    }
    this.publish(2)
    // Before, within or after its exchange.
    await sleep(random.between(0, 10))
    if (random.chance(0.5)) await this.#client.breakOff()
    else await this.#client.leave()
    await this.#soak.pause(random.between(200, 4000))
    await this.#connect()
  }

  async comeHome() {
    while (!this.#client.isOpen) await this.#connect()
  }

  publish(qos) {
    if (!this.#client.isOpen) return
    const text = this.#soak.ledger.publish(this.id, this.#room, qos)
    this.#open.set(this.#client.publish(this.#room.topics[qos], text, qos), text)
  }

  async #connect() {
    for (;;) {
      try {
        await this.#client.connect()
        this.#soak.connects++
        return
      } catch {
        this.#soak.refusals++
        await sleep(500)
      }
    }
  }

  #event(event) {
    const { ledger } = this.#soak
    if (event.event === 'connected') {
      // Without a session the client would take what waits for PUBCOMP to be acknowledged.
      if (this.#known && !event.sessionPresent) ledger.problem(`${this.id}: its session was lost`)
      this.#known = true
    } else if (event.event === 'message') {
      const { payload, qos, dup } = event.message
      // Marked as a copy, and yet the first that it takes: the one before it was sent to a connection that had broken, or that
      // the client had left.
      if (ledger.receive(this.id, Buffer.from(payload).toString(), qos) && dup) ledger.delivered.doubt++
    } else if (event.event === 'published') this.#published(event)
  }

  #published({ packetId, reasonCode }) {
    const { ledger } = this.#soak
    const text = this.#open.get(packetId)
    this.#open.delete(packetId)
    if (text === undefined) return
    if (reasonCode < 0x80) ledger.acknowledge(text)
    else ledger.problem(`${this.id}: "${text}" was refused with ${reasonCode}`)
  }

  async end() {
    await this.#client.leave()
  }
}
