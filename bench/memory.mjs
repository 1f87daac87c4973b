// How near the account of memory is to what things really take: each structure is filled in a `Server` without sockets, and what became reachable is
// compared with what the account has counted. `node --expose-gc bench/memory.mjs [--check] [--quick] [part of a name]`; with --check it ends
// with 1 if any is more than 25 % off. Streams, which are mostly Node's and OpenSSL's, are measured by `npm run test:full -- --only "memory: streams"`.
import process from 'node:process'
import { ByteWriter } from '../dist/base/bytes.js'
import { OPEN_ACCESS } from '../dist/broker/access.js'
import { resolveConfig } from '../dist/config/config.js'
import { encodePacket } from '../dist/mqtt/encode.js'
import { Publish } from '../dist/mqtt/publish.js'
import { serverOptions } from '../dist/process/server-options.js'
import { Server } from '../dist/server.js'
import { MemoryStore } from '../dist/store/store.js'

const TOLERANCE = 0.25
/** Bytes by which V8's own tables may differ. */
const SLACK = 500_000
const LASTING = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }

/** A text whose characters are all in memory: no part of another one. */
const pad = (text, length) => Buffer.alloc(length, text).toString('latin1')

class Site {
  ask = false
  #next = 1
  #msgId = 1

  constructor() {
    const config = { ...resolveConfig(new Map(), new Map()), predefinedTopics: [] }
    const unbounded = {
      maxSubscriptionsPerSession: 1e6,
      maxSharedCopiesPerSession: 1e6,
      maxQueuedMessages: 1e6,
      maxQueuedBytes: 1e12,
      receiveMaximum: 65_535,
    }
    const options = serverOptions({
      ...config,
      ...unbounded,
      maxConnections: 1e6,
      maxConnectionsPerAddress: 1e6,
      maxRetainedBytes: 1e12,
    })
    // Logins wait for an answer that does not come.
    const access = { ...OPEN_ACCESS, connect: () => (this.ask ? 'ask' : 0) }
    this.server = new Server({
      ...options,
      access,
      store: new MemoryStore(),
      clock: { epoch: 0 },
      notice: () => {},
      random: Math.random,
    })
    this.server.recover(0)
  }

  connect(clientId, options = {}) {
    const id = this.#next++
    this.server.handle(0, { kind: 'opened', connection: id, from: { peer: `10.0.0.1:${id}`, listener: 'mqtt-1883' } })
    const connect = {
      type: 1,
      protocolVersion: 5,
      bridge: false,
      clientId,
      cleanStart: true,
      keepAlive: 0,
      properties: {},
      ...options,
    }
    this.send(id, connect)
    return id
  }

  send(id, packet) {
    const writer = new ByteWriter()
    encodePacket(writer, packet, 5)
    this.server.handle(0, { kind: 'chunk', connection: id, bytes: Buffer.from(writer.toBytes()) })
    this.poll()
  }

  poll() {
    const out = []
    for (let output = this.server.poll(0); output !== undefined; output = this.server.poll(0)) out.push(output)
    return out
  }

  close(id) {
    this.server.handle(0, { kind: 'closed', connection: id, reason: 'test' })
    this.poll()
  }

  subscribe(id, filter, qos = 1) {
    const subscriptions = [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }]
    this.send(id, { type: 8, packetId: 1, subscriptions, properties: {} })
  }

  publish(id, topic, payload, { qos = 1, retain = false, packetId = 1, properties = {} } = {}) {
    this.send(id, Publish.of(topic, payload, qos, retain, qos === 0 ? 0 : packetId, properties))
  }

  datagram(route, bytes) {
    this.server.handle(0, { kind: 'datagram', route, bytes })
    return this.poll()
  }

  sensor(name) {
    const id = Buffer.from(name)
    this.datagram(`10.1.0.1:${this.#next++}`, Buffer.concat([Buffer.from([6 + id.length, 4, 4, 1, 0, 60]), id]))
    return `10.1.0.1:${this.#next - 1}`
  }

  sleep(route) {
    this.datagram(route, Buffer.from([4, 0x18, 0x0e, 0x10]))
  }

  register(route, name) {
    const register = Buffer.alloc(name.length + 8)
    register[0] = 1
    register.writeUInt16BE(register.length, 1)
    register[3] = 0x0a
    this.#msgId = (this.#msgId % 65_535) + 1
    register.writeUInt16BE(this.#msgId, 6)
    register.write(name, 8, 'latin1')
    this.datagram(route, register)
  }
}

const deep = (i, levels) => `${i}${'/a'.repeat(levels - 1)}`
/** `--quick`: a third of what is measured. */
const PART = process.argv.includes('--quick') ? 1 / 3 : 1
const many = (count, each) => {
  for (let i = 0; i < count * (count < 1000 ? 1 : PART); i++) each(i)
}

/** Each prepares a site, and returns what is measured. */
const FILLS = {
  'filters, short': (site) => {
    const clients = Array.from({ length: 100 }, (_, i) => site.connect(`c${i}`))
    return () => many(50_000, (i) => site.subscribe(clients[i % 100], `site/device ${i}/temperature`))
  },
  'filters of 10,000 octets': (site) => {
    const client = site.connect('c')
    return () => many(2000, (i) => site.subscribe(client, pad(`${i} `, 10_000)))
  },
  'filters of 10,000 octets, one of them not Latin-1': (site) => {
    const client = site.connect('c')
    return () => many(2000, (i) => site.subscribe(client, `${pad(`${i} `, 9998)}ж`))
  },
  'filters with wildcards, 5 levels': (site) => {
    const client = site.connect('c')
    return () => many(20_000, (i) => site.subscribe(client, `site/device ${i}/+/values/#`))
  },
  'filters with wildcards, 128 levels': (site) => {
    const client = site.connect('c')
    return () => many(1000, (i) => site.subscribe(client, `${deep(i, 127)}/+`))
  },
  'filters with wildcards, long levels': (site) => {
    const client = site.connect('c')
    return () => many(1000, (i) => site.subscribe(client, `${pad(`level ${i} `, 500)}/${pad(`${i} level `, 500)}/+`))
  },
  'one filter of many sessions': (site) => {
    const clients = Array.from({ length: 5000 }, (_, i) => site.connect(`c${i}`))
    return () => many(5000, (i) => site.subscribe(clients[i], 'the/same/filter'))
  },
  'shared subscriptions': (site) => {
    const clients = Array.from({ length: 10 }, (_, i) => site.connect(`c${i}`))
    return () => many(20_000, (i) => site.subscribe(clients[i % 10], `$share/group ${Math.floor(i / 2)}/site/#`))
  },
  'sessions of absent clients': (site) => () => many(20_000, (i) => site.close(site.connect(`device ${i}`, LASTING))),
  'sessions with users': (site) => () =>
    many(20_000, (i) => site.close(site.connect(`device ${i}`, { ...LASTING, username: `user ${i}` }))),
  'sessions with long user names': (site) => () =>
    many(2000, (i) => site.close(site.connect(`device ${i}`, { ...LASTING, username: pad(`user ${i} `, 5000) }))),
  'sessions with long client ids': (site) => () =>
    many(2000, (i) => site.close(site.connect(pad(`device ${i} `, 5000), LASTING))),
  'client ids in what they have retained': (site) => () =>
    many(2000, (i) => {
      const writer = site.connect(pad(`writer ${i} `, 5000))
      site.publish(writer, `kept/${i}`, Buffer.alloc(1), { retain: true })
      site.close(writer)
    }),
  wills: (site) => {
    many(10_000, (i) => site.connect(`device ${i}`))
    const will = (i) => ({ topic: `will/of/${i}`, payload: Buffer.alloc(200), qos: 1, retain: false, properties: {} })
    return () => many(10_000, (i) => site.connect(`device ${i}`, { will: will(i) }))
  },
  sensors: (site) => () => many(10_000, (i) => site.sensor(`sensor ${i}`)),
  'sensors at rest': (site) => () => many(20_000, (i) => site.sleep(site.sensor(`sensor ${i}`))),
  'sensors at rest, with a topic id': (site) => () =>
    many(20_000, (i) => {
      const route = site.sensor(`sensor ${i}`)
      site.register(route, `site/sensor/${i}/temperature`)
      site.sleep(route)
    }),
  'topic ids, short': (site) => {
    const sensors = Array.from({ length: 50 }, (_, i) => site.sensor(`sensor ${i}`))
    return () => many(25_000, (i) => site.register(sensors[i % 50], `site/sensor/${i}/temperature`))
  },
  'topic ids of 10,000 octets': (site) => {
    const sensor = site.sensor('sensor')
    return () => many(1000, (i) => site.register(sensor, pad(`${i} `, 10_000)))
  },
  'messages that wait, 100 octets': (site) => {
    many(100, (i) => {
      const client = site.connect(`away ${i}`, LASTING)
      site.subscribe(client, `to/${i}`)
      site.close(client)
    })
    const writer = site.connect('writer')
    return () => many(50_000, (i) => site.publish(writer, `to/${i % 100}`, Buffer.alloc(100)))
  },
  'messages that wait, one for each session': (site) => {
    many(20_000, (i) => {
      const client = site.connect(`away ${i}`, LASTING)
      site.subscribe(client, `to/${i}`)
      site.close(client)
    })
    const writer = site.connect('writer')
    return () => many(20_000, (i) => site.publish(writer, `to/${i}`, Buffer.alloc(100)))
  },
  'messages that wait, 10,000 octets': (site) => {
    const client = site.connect('away', LASTING)
    site.subscribe(client, '#')
    site.close(client)
    const writer = site.connect('writer')
    return () => many(2000, (i) => site.publish(writer, `to/${i}`, Buffer.alloc(10_000)))
  },
  'messages that wait, with properties': (site) => {
    const client = site.connect('away', LASTING)
    site.subscribe(client, '#')
    site.close(client)
    const writer = site.connect('writer')
    const properties = (i) => ({
      contentType: `type ${i}`,
      userProperties: Array.from({ length: 10 }, (_, j) => [`key ${j}`, `value ${i}`]),
    })
    return () => many(5000, (i) => site.publish(writer, `to/${i}`, Buffer.alloc(10), { properties: properties(i) }))
  },
  'messages that wait, with properties that are not Latin-1': (site) => {
    const client = site.connect('away', LASTING)
    site.subscribe(client, '#')
    site.close(client)
    const writer = site.connect('writer')
    const properties = (i) => ({ userProperties: [['key', `${pad(`${i} `, 5000)}ж`]] })
    return () => many(1000, (i) => site.publish(writer, `to/${i}`, Buffer.alloc(10), { properties: properties(i) }))
  },
  'messages that wait for 100 sessions each': (site) => {
    many(100, (i) => {
      const client = site.connect(`away ${i}`, LASTING)
      site.subscribe(client, 'all')
      site.close(client)
    })
    const writer = site.connect('writer')
    return () => many(2000, () => site.publish(writer, 'all', Buffer.alloc(1000)))
  },
  'messages in flight': (site) => {
    const clients = Array.from({ length: 2000 }, (_, i) => site.connect(`reader ${i}`))
    for (const [i, client] of clients.entries()) site.subscribe(client, `to/${i}`)
    const writer = site.connect('writer')
    return () => many(40_000, (i) => site.publish(writer, `to/${i % 2000}`, Buffer.alloc(100)))
  },
  'QoS 2 ids that are not released': (site) => {
    const clients = Array.from({ length: 20 }, (_, i) => site.connect(`writer ${i}`))
    return () =>
      many(100_000, (i) => site.publish(clients[i % 20], 'a', Buffer.alloc(1), { qos: 2, packetId: 1 + Math.floor(i / 20) }))
  },
  'retained, short': (site) => {
    const writer = site.connect('writer')
    return () => many(20_000, (i) => site.publish(writer, `site/device ${i}/state`, Buffer.alloc(50), { retain: true }))
  },
  'retained, 128 levels': (site) => {
    const writer = site.connect('writer')
    return () => many(1000, (i) => site.publish(writer, deep(i, 128), Buffer.alloc(1), { retain: true }))
  },
  'retained, one level, 10,000 octets': (site) => {
    const writer = site.connect('writer')
    return () => many(2000, (i) => site.publish(writer, `topic ${i}`, Buffer.alloc(10_000), { retain: true }))
  },
  routes: (site) => {
    const readers = Array.from({ length: 100 }, (_, i) => site.connect(`reader ${i}`))
    for (const reader of readers) site.subscribe(reader, '#', 0)
    const writer = site.connect('writer')
    return () => many(2000, (i) => site.publish(writer, `site/${i}`, Buffer.alloc(1), { qos: 0 }))
  },
  'routes to nobody': (site) => {
    const writer = site.connect('writer')
    return () => many(10_000, (i) => site.publish(writer, `site/device ${i}/value`, Buffer.alloc(1), { qos: 0 }))
  },
  'aliases and topic names': (site) => {
    const clients = Array.from({ length: 500 }, (_, i) => site.connect(`c${i}`))
    return () => {
      for (const client of clients) {
        many(10, (i) =>
          site.publish(client, pad(`${client} ${i} `, 2000), Buffer.alloc(1), { qos: 0, properties: { topicAlias: i + 1 } }),
        )
        many(64, (i) => site.publish(client, `${client}/${i}/${'n'.repeat(50)}`, Buffer.alloc(1), { qos: 0 }))
      }
    }
  },
  'wire forms': (site) => {
    const writer = site.connect('writer')
    many(100, (i) => site.publish(writer, `form/${i}`, Buffer.alloc(10_000), { retain: true, properties: { contentType: 'x' } }))
    const first = site.connect('first')
    site.subscribe(first, 'form/#', 0)
    return () => {
      const client = site.connect('reader')
      site.subscribe(client, 'form/#', 0)
    }
  },
  // Nobody answers, so what the shell keeps for each (COST.login has it) is not there: as of the size of what they say.
  'logins that wait, 50,000 octets each': (site) => {
    const clients = []
    site.ask = true
    return () => many(300, (i) => clients.push(site.connect(`c${i}`, { username: 'u', password: Buffer.alloc(50_000) })))
  },
  'half packets': (site) => {
    const clients = Array.from({ length: 200 }, (_, i) => site.connect(`c${i}`))
    return () => {
      for (const connection of clients) {
        site.server.handle(0, { kind: 'chunk', connection, bytes: Buffer.from([0x30, 0xff, 0xff, 0x03]) })
        many(2, () => site.server.handle(0, { kind: 'chunk', connection, bytes: Buffer.alloc(20_000) }))
      }
    }
  },
}

function reachable() {
  for (let i = 0; i < 3; i++) globalThis.gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Bytes that a fill has made reachable, and what the account has counted for it, by category. */
function measure(prepare) {
  const site = new Site()
  const fill = prepare(site)
  const before = reachable()
  const { memory } = site.server
  const counted = memory.used
  const categories = memory.byCategory()
  fill()
  const real = reachable() - before
  const parts = [...memory.byCategory()].map(([each, bytes]) => [each, bytes - categories.get(each)])
  return { real, account: memory.used - counted, parts }
}

const [wanted = ''] = process.argv.slice(2).filter((arg) => !arg.startsWith('--'))
const check = process.argv.includes('--check')
if (globalThis.gc === undefined) throw new Error('node --expose-gc bench/memory.mjs')
let isOff = false
for (const [name, prepare] of Object.entries(FILLS).filter(([each]) => each.includes(wanted))) {
  // The first time V8 compiles what it has not seen.
  measure(prepare)
  const { real, account, parts } = measure(prepare)
  const off = account / real - 1
  const isWrong = Math.abs(account - real) > TOLERANCE * real + SLACK
  isOff ||= isWrong
  const told = parts
    .filter(([, bytes]) => Math.abs(bytes) > account / 50)
    .map(([each, bytes]) => `${each} ${(bytes / 1e6).toFixed(2)}`)
  const figures = `${(real / 1e6).toFixed(2)} MB, by the account ${(account / 1e6).toFixed(2)} (${off > 0 ? '+' : ''}${(100 * off).toFixed(0)} %)`
  process.stdout.write(`${isWrong ? 'OFF ' : 'ok '}${name}: ${figures}: ${told.join(', ')}\n`)
}
process.exitCode = check && isOff ? 1 : 0
