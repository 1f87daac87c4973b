import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Breaker } from './breaker.mjs'
import { Client } from './client.mjs'
import { Device } from './device.mjs'
import { Guest } from './guest.mjs'
import { Ledger, Room } from './ledger.mjs'
import { Sensor } from './sensor.mjs'
import { SlowReader } from './slow-reader.mjs'
import { Streamer } from './streamer.mjs'
import { SysReader } from './sys-reader.mjs'

/** Members of one room, sensors and others: each message of one goes to all. */
const ROOM_SIZE = 10
/** What a hundred clients are. */
const SHARES = { device: 40, flapper: 5, sensor: 15, sleeper: 15, guest: 12, breaker: 10, slow: 3 }
/** How long everybody has to come home, and everything to arrive. */
const PATIENCE_MS = 120_000

/** The clients, and the times when they come and go and the times when all of them are home and it is counted. */
export class Soak {
  ledger = new Ledger()
  broker
  /** Nobody begins anything new. */
  calm = true
  over = false
  connects = 0
  refusals = 0
  breaks = 0
  roams = 0
  timeouts = 0
  congestions = 0
  clients = []
  #sys = new SysReader()
  #streamer = new Streamer()
  #random
  #running = []
  #home = 0
  /** Ends when everybody is called home. */
  #outing = new AbortController()
  /** What the process needs without any client. */
  #idle

  constructor(broker, random, count) {
    this.broker = broker
    this.#random = random
    this.#people(count)
  }

  #people(count) {
    const kinds = Object.entries(SHARES).flatMap(([kind, share]) =>
      Array(Math.max(1, Math.round((count * share) / 100))).fill(kind),
    )
    const keeping = kinds.filter((kind) => kind !== 'guest' && kind !== 'breaker').length
    const rooms = Array.from({ length: Math.ceil(keeping / ROOM_SIZE) }, (_, i) => new Room(i))
    let seats = 0
    for (const [i, kind] of kinds.entries()) {
      const room = () => rooms[seats++ % rooms.length]
      this.clients.push(this.#client(kind, `${kind}-${i}`, room))
    }
  }

  #client(kind, id, room) {
    const random = this.#random.fork()
    switch (kind) {
      case 'device':
      case 'flapper':
        return new Device(id, this, room(), { version: random.pick([4, 5]), flaps: kind === 'flapper', random })
      case 'sensor':
      case 'sleeper':
        return new Sensor(id, this, room(), { sleeps: kind === 'sleeper', roams: random.chance(0.3), random })
      case 'slow':
        return new SlowReader(id, this, room(), { random })
      case 'guest':
        return new Guest(id, this, { random })
      default:
        return new Breaker(id, this, { random })
    }
  }

  /** Everybody is there, and has subscribed. */
  async begin() {
    this.#idle = await this.broker.figures()
    await this.#sys.begin(this)
    await this.#streamer.begin(this)
    // A few at a time: a storm of logins is another test.
    for (let at = 0; at < this.clients.length; at += 20) {
      await Promise.all(this.clients.slice(at, at + 20).map((client) => client.begin()))
    }
    this.clients.push(this.#streamer)
    for (const client of this.clients) this.#running.push(this.#live(client))
  }

  async #live(client) {
    while (!this.over) {
      while (!this.calm) await client.errand()
      await client.comeHome()
      this.#home++
      while (this.calm && !this.over) await sleep(50)
      this.#home--
    }
  }

  /** Lets everybody go about. */
  async bustle(ms) {
    this.calm = false
    this.#outing = new AbortController()
    setMaxListeners(0, this.#outing.signal)
    await sleep(ms)
    this.calm = true
    this.#outing.abort()
  }

  /** So many milliseconds, or until everybody is called home. */
  async pause(ms) {
    await sleep(ms, undefined, { signal: this.#outing.signal }).catch(() => {})
  }

  /** Everybody is home, and everything has arrived. Gives the seconds that it took. */
  async settle() {
    const began = Date.now()
    while (this.#home < this.clients.length || this.ledger.missing().length > 0) {
      if (Date.now() - began > PATIENCE_MS) {
        if (this.#home < this.clients.length) this.ledger.problem(`${this.clients.length - this.#home} clients did not come home`)
        break
      }
      await sleep(250)
      // Who is out may be asleep on its way home.
      if (this.#home === this.clients.length) await Promise.all(this.clients.map((client) => client.fetch?.()))
    }
    this.ledger.endRound()
    return (Date.now() - began) / 1000
  }

  /** Each client that is home publishes, and nobody comes or goes: from here to the next count there is no doubt. */
  async calmRound() {
    await Promise.all(this.clients.map((client) => client.publish?.(1)))
    await Promise.all(this.clients.map((client) => client.publish?.(2)))
    await this.settle()
  }

  /** What the broker says, and what the ledger says to that, for every figure that can be compared. */
  async counts() {
    await this.#sys.fresh()
    const { handles, timers } = await this.broker.figures()
    const { published, delivered, retained } = this.ledger
    const { count, bytes } = this.#sys.before
    const number = (name) => this.#sys.number(name)
    const present = this.clients.filter(({ id }) => !/^(guest|breaker)/.test(id)).length + 1
    const slow = this.clients.filter((client) => client instanceof SlowReader)
    const streams = this.clients.filter(
      (client) => !(client instanceof Sensor || client instanceof Guest || client instanceof Breaker),
    )
    const lost = slow.reduce((sum, { streamed }) => sum + this.#streamer.streamed - streamed, 0)
    return {
      'clients connected': { broker: number('clients/connected'), ledger: present, doubt: 0 },
      sessions: { broker: number('clients/total'), ledger: present, doubt: 0 },
      subscriptions: {
        broker: number('subscriptions/count'),
        ledger: this.clients.reduce((sum, { subscriptions }) => sum + subscriptions, this.#sys.subscriptions),
        doubt: 0,
      },
      'retained messages': { broker: number('retained messages/count'), ledger: retained.size, doubt: 0 },
      'waiting messages': { broker: number('messages/stored'), ledger: retained.size, doubt: 0 },
      // One for each client with a connection, and for the reader of these figures.
      handles: { broker: handles, ledger: this.#idle.handles + streams.length + 1, doubt: 0 },
      timers: { broker: timers, ledger: this.#idle.timers, doubt: 0 },
      'publishes dropped': { broker: number('publish/messages/dropped'), ledger: lost, doubt: 0 },
      'publishes received': { broker: number('publish/messages/received'), ledger: published.certain, doubt: published.doubt },
      'publishes sent': { broker: number('publish/messages/sent'), ledger: delivered.certain + count, doubt: delivered.doubt },
      // Payloads are counted where there is no doubt.
      'bytes received': { broker: number('publish/bytes/received'), ledger: published.bytes, doubt: Number.NaN },
      'bytes sent': { broker: number('publish/bytes/sent'), ledger: delivered.bytes + bytes, doubt: Number.NaN },
    }
  }

  /** Whoever subscribes now gets the retained messages of the ledger, and no others. */
  async checkRetained() {
    const { ledger, broker } = this
    const left = new Map(ledger.retained)
    const options = { clientId: 'retained-reader', version: 4 }
    const reader = new Client(broker.mqttPort, ledger, options, ({ event, message }) => {
      if (event !== 'message') return
      const { topic } = message
      const text = Buffer.from(message.payload).toString()
      if (left.get(topic) !== text) ledger.problem(`retained on ${topic}: ${text}, the ledger says ${left.get(topic)}`)
      left.delete(topic)
    })
    await reader.connect()
    await reader.subscribe([{ filter: 'soak/retained/+', qos: 0 }])
    for (const until = Date.now() + 5000; left.size > 0 && Date.now() < until; ) await sleep(50)
    for (const [topic, text] of left) ledger.problem(`retained on ${topic}: nothing, the ledger says ${text}`)
    await reader.leave()
  }

  notices() {
    return this.#sys.notices()
  }

  async end() {
    this.over = true
    await Promise.all(this.#running)
    await Promise.all(this.clients.map((client) => client.end()))
    await this.#sys.end()
  }
}
