// What a single packet of one peer does to everybody else: a victim of 50 QoS 1 messages a second, on its own, and then beside the attack.
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Publish } from '../../../dist/mqtt/publish.js'
import { Client, encoded } from './started.mjs'

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time))
const range = (count, of) => Array.from({ length: count }, (_, i) => of(i))
const request = (filter) => ({ filter, qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 })
const subscribe = (filters) => encoded({ type: 8, packetId: 1, subscriptions: filters.map(request), properties: {} })
const unsubscribe = (filters) => encoded({ type: 10, packetId: 1, filters, properties: {} })
/** All filters of `+` and `a` over 16 levels, from this one on. */
const branching = (from, count) => range(count, (i) => range(16, (level) => (((from + i) >> level) & 1 ? '+' : 'a')).join('/'))

const RATE_MS = 20
const BASELINE_MS = 4000

class Victim {
  #times = []
  #sentAt = new Map()
  #next = 1

  static async open(port) {
    const victim = new Victim()
    victim.reader = await Client.connected(port, { clientId: 'victim-reader' }, { localAddress: '127.0.0.50' })
    victim.reader.subscribe('victim')
    await victim.reader.next()
    victim.writer = await Client.connected(port, { clientId: 'victim-writer' }, { localAddress: '127.0.0.50' })
    void victim.#read()
    void victim.#forget()
    victim.timer = setInterval(() => victim.#write(), RATE_MS)
    return victim
  }

  #write() {
    const id = (this.#next++ % 60_000) + 1
    this.#sentAt.set(id, performance.now())
    this.writer.publish('victim', String(id), { qos: 1, packetId: id })
  }

  /** PUBACKs. */
  async #forget() {
    while ((await this.writer.next()) !== undefined);
  }

  async #read() {
    for (let packet = await this.reader.next(); packet !== undefined; packet = await this.reader.next()) {
      const id = Number(Buffer.from(packet.payload).toString())
      this.#times.push(performance.now() - this.#sentAt.get(id))
      this.#sentAt.delete(id)
      this.reader.send({ type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
    }
  }

  /** Percentiles of what has come since this was asked last, in milliseconds; what has not come yet counts as well. */
  take() {
    const now = performance.now()
    const times = [...this.#times.splice(0), ...Array.from(this.#sentAt.values(), (at) => now - at)].sort((a, b) => a - b)
    const at = (part) => times[Math.min(times.length - 1, Math.floor(times.length * part))]
    return { p50: at(0.5), p99: at(0.99), most: times.at(-1) }
  }

  end() {
    clearInterval(this.timer)
    this.reader.end()
    this.writer.end()
  }
}

/** Ten times a second instead of once. */
const often = (attack) => () => {
  for (let i = 0; i < 10; i++) setTimeout(attack, i * 100)
}

/** What comes is taken, and not looked at. */
const unread = ({ socket }) => {
  socket.removeAllListeners('data')
  socket.resume()
}

/** Each prepares, and gives what is done once more each time. */
export const ATTACKS = {
  '65,530 filters of + and a, and PUBLISH': async (port) => {
    for (let i = 0; i < 7; i++) {
      const client = await Client.connected(port, { clientId: `wild${i}` })
      for (let at = 0; at < 9400; at += 470) {
        client.socket.write(subscribe(branching(i * 9400 + at, 470)))
        await client.next()
      }
    }
    const publisher = await Client.connected(port, { clientId: 'wild' })
    let n = 0
    // A topic that was not there before, so that no route is kept for it.
    return often(() => publisher.publish(`${'a/'.repeat(15)}${n++}`, 'x'))
  },
  '$share/1..10000/#, and PUBLISH': async (port) => {
    const client = await Client.connected(port, { clientId: 'sharer' })
    for (let at = 0; at < 10_000; at += 500) {
      client.socket.write(subscribe(range(500, (i) => `$share/${at + i}/shared/#`)))
      await client.next()
    }
    unread(client)
    const publisher = await Client.connected(port, { clientId: 'to-sharer' })
    return often(() => publisher.publish('shared/x', 'x'))
  },
  '20 wildcards among 100,000 retained': async (port) => {
    const publisher = await Client.connected(port, { clientId: 'retainer' })
    for (let i = 0; i < 100_000; i += 1000) {
      const some = range(1000, (j) => encoded(Publish.of(`r/${(i + j) % 100}/${i + j}`, Buffer.from('x'), 0, true, 0)))
      publisher.socket.write(Buffer.concat(some))
    }
    await publisher.ping()
    const packet = subscribe(range(20, (i) => (i === 0 ? 'r/#' : `r/${'+/'.repeat(i % 2)}#`)))
    return async () => {
      const client = await Client.connected(port, { clientId: 'searcher' })
      unread(client)
      client.socket.write(packet)
      setTimeout(() => client.end(), 950)
    }
  },
  'SUBSCRIBE with 260,000 filters, 1 MiB': async (port) => {
    const packet = subscribe(range(260_000, () => 'a'))
    return async () => {
      const client = await Client.connected(port, { clientId: 'large' })
      client.socket.write(packet)
    }
  },
  '10,000 filters, there and back, and gone': async (port) => {
    const filters = range(10_000, (i) => `there/${i}/+`)
    const [there, back] = [subscribe(filters), unsubscribe(filters.slice(0, 5000))]
    return async () => {
      const client = await Client.connected(port, { clientId: 'mover' })
      client.socket.write(there)
      await client.next()
      client.socket.write(back)
      await client.next()
      client.end()
    }
  },
}

/** The attacker has a thread of its own, so that what it costs is not the victim's. */
if (!isMainThread) {
  const attack = await ATTACKS[workerData.name](workerData.port)
  parentPort.on('message', () => void attack())
  parentPort.postMessage('ready')
}

/** The figures of one attack; `wants` that p99 is at most twice the baseline, or what a busy machine makes of that. */
export async function onePacket(roost, name, wants, leastMs) {
  const attacker = new Worker(fileURLToPath(import.meta.url), { workerData: { name, port: roost.port } })
  attacker.on('error', () => {})
  await once(attacker, 'message')
  const victim = await Victim.open(roost.port)
  try {
    // Once for a process that is not new.
    attacker.postMessage('again')
    await sleep(2000)
    victim.take()
    await sleep(BASELINE_MS)
    const before = victim.take()
    for (let i = 0; i < 4; i++) {
      attacker.postMessage('again')
      await sleep(BASELINE_MS / 4)
    }
    const beside = victim.take()
    const told = ({ p50, p99, most }) => `p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, most ${most.toFixed(1)} ms`
    const figures = `victim alone ${told(before)}; beside it ${told(beside)}`
    wants(beside.p99 <= Math.max(2 * before.p99, leastMs), `p99 at most twice that before: ${figures}`)
    return figures
  } finally {
    victim.end()
    await attacker.terminate()
  }
}
