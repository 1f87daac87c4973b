import { setTimeout as sleep } from 'node:timers/promises'
import { Store } from 'mqtt'
import { Connection } from './connection.mjs'

/**
 * An MQTT.js client that keeps its session: it comes, publishes, and goes with a DISCONNECT or without. One that flaps comes again while it is
 * still connected, so that its client id is taken over.
 */
export class Device {
  id
  #soak
  #room
  #random
  #version
  #flaps
  #connection
  #stores = { outgoingStore: new Store({ clean: false }), incomingStore: new Store({ clean: false }) }
  /** Texts that are on their way to the broker, by packet id. */
  #open = new Map()
  /** QoS 2 packet ids from PUBLISH to PUBREL. */
  #received = new Set()

  constructor(id, soak, room, { version, flaps, random }) {
    this.id = id
    this.#soak = soak
    this.#room = room
    this.#random = random
    this.#version = version
    this.#flaps = flaps
    room.members.push(this)
  }

  /** Subscriptions that it holds for ever. */
  subscriptions = 2

  async begin() {
    await this.#connect()
    await this.#connection.client.subscribeAsync({ [this.#room.topics[1]]: { qos: 1 }, [this.#room.topics[2]]: { qos: 2 } })
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
    if (random.chance(0.5)) await this.#connection.breakOff()
    else await this.#connection.leave()
    await this.#soak.pause(random.between(200, 4000))
    await this.#connect()
  }

  async comeHome() {
    while (!this.#connection.isOpen) await this.#connect()
  }

  publish(qos) {
    if (!this.#connection.isOpen) return
    const text = this.#soak.ledger.publish(this.id, this.#room, qos)
    this.#connection.client.publish(this.#room.topics[qos], text, { qos }, () => {})
  }

  async #connect() {
    for (;;) {
      try {
        this.#connection = await Connection.open(
          this.#soak.broker.mqttPort,
          this.#soak.ledger,
          {
            clientId: this.id,
            clean: false,
            protocolVersion: this.#version,
            ...(this.#version === 5 && { properties: { sessionExpiryInterval: 86_400 } }),
            ...this.#stores,
          },
          (packet) => this.#packet(packet),
          (packet) => {
            if (packet.cmd === 'publish') this.#open.set(packet.messageId, packet.payload.toString())
          },
        )
        this.#soak.connects++
        return
      } catch {
        this.#soak.refusals++
        await sleep(500)
      }
    }
  }

  #packet({ cmd, messageId, reasonCode = 0, payload, qos, dup }) {
    const { ledger } = this.#soak
    if (cmd === 'publish') {
      if (qos === 2 && this.#received.has(messageId)) return
      if (qos === 2) this.#received.add(messageId)
      // Marked as a copy, and yet the first: the one before it was sent to a connection that had broken, or is still to be read from it.
      if (ledger.receive(this.id, payload.toString(), qos) && dup) ledger.delivered.doubt++
    } else if (cmd === 'pubrel') this.#received.delete(messageId)
    else if (cmd === 'puback' || cmd === 'pubcomp' || (cmd === 'pubrec' && reasonCode >= 0x80)) {
      const text = this.#open.get(messageId)
      this.#open.delete(messageId)
      if (text === undefined) return
      if (reasonCode < 0x80) ledger.acknowledge(text)
      else ledger.problem(`${this.id}: "${text}" was refused with ${reasonCode}`)
    }
  }

  async end() {
    await this.#connection.leave()
  }
}
