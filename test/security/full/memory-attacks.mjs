// What one peer, or a few, can make a process hold: each attack grows one thing until it is refused, or until it has sent all that it was asked to.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { Publish } from '../../../dist/mqtt/publish.js'
import { Client, CONNECT, MIB } from './started.mjs'

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time))
const LASTING = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } }
const ELSEWHERE = { localAddress: '127.0.0.9' }
const LONG = 'x'.repeat(64_990)
export const deep = (i, levels) => `${i}${'/a'.repeat(levels - 1)}`

/** QoS 1 messages from one client to another, so many a second, beside whatever else goes on. */
export class Victim {
  sent = 0
  got = 0
  refused = 0
  times = []

  static async start(port, perSecond = 50) {
    const victim = new Victim()
    victim.reader = await Client.connected(port, { clientId: 'victim reader', protocolVersion: 4 })
    victim.reader.subscribe('victim/#', 1)
    await victim.reader.next()
    victim.writer = await Client.connected(port, { clientId: 'victim writer' })
    const started = new Map()
    const read = async () => {
      for (let packet = await victim.reader.next(); packet !== undefined; packet = await victim.reader.next()) {
        if (packet.type !== 3) continue
        victim.reader.send({ type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
        victim.got++
        victim.times.push(performance.now() - started.get(Number(Buffer.from(packet.payload).toString())))
      }
    }
    const acknowledged = async () => {
      for (let packet = await victim.writer.next(); packet !== undefined; packet = await victim.writer.next())
        if (packet.type === 4 && packet.reasonCode >= 0x80) victim.refused++
    }
    void read()
    void acknowledged()
    victim.timer = setInterval(() => {
      const id = ++victim.sent
      started.set(id, performance.now())
      victim.writer.publish('victim/a', String(id), { qos: 1, packetId: 1 + (id % 60_000) })
    }, 1000 / perSecond)
    return victim
  }

  /** Milliseconds: `[p50, p99]` of what has come since this was asked last. */
  percentiles() {
    const sorted = this.times.sort((a, b) => a - b)
    this.times = []
    return [0.5, 0.99].map((part) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN)
  }

  /** How many of its messages have not come, some time after the last was sent. */
  async stop() {
    clearInterval(this.timer)
    for (let waited = 0; this.got < this.sent && waited < 5000; waited += 50) await sleep(50)
    for (const client of [this.reader, this.writer]) client.end()
    return this.sent - this.got
  }
}

/** Sends what `packetOf` makes, as fast as it is answered; gives how many were taken. Ends when the connection does. */
async function each(client, count, packetOf, isTaken) {
  let taken = 0
  let sent = 0
  let answered = 0
  const refusals = new Map()
  const deliveries = []
  while (answered < count && !client.socket.closed) {
    while (sent < count && sent - answered < 20) client.send(packetOf(sent++))
    const packet = await client.next()
    if (packet === undefined) break
    if (packet.type === 3) {
      deliveries.push(packet)
      continue
    }
    answered++
    const code = packet.reasonCodes?.[0] ?? packet.reasonCode ?? 0
    if (isTaken(code)) taken++
    else refusals.set(code, (refusals.get(code) ?? 0) + 1)
  }
  return { taken, refusals, deliveries }
}

const subscribe = (filter, qos = 1) => ({
  type: 8,
  packetId: 1,
  subscriptions: [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 2 }],
  properties: {},
})
const granted = (code) => code < 0x80

/** One client, filters of 65,000 octets. */
export async function filters({ port }, count) {
  const client = await Client.connected(port, { clientId: 'filters' })
  const result = await each(client, count, (i) => subscribe(`${i}/${LONG}`), granted)
  return { ...result, clients: [client] }
}

/** One client, filters of 128 levels. */
export async function deepFilters({ port }, count) {
  const client = await Client.connected(port, { clientId: 'deep filters' })
  const result = await each(client, count, (i) => subscribe(`${deep(i, 127)}/+`), granted)
  return { ...result, clients: [client] }
}

/** Shared subscriptions of one client: each message would come so many times. */
export async function sharedGroups({ port }, count) {
  const client = await Client.connected(port, { clientId: 'shared' })
  const result = await each(client, count, (i) => subscribe(`$share/${i}/#`), granted)
  return { ...result, clients: [client] }
}

/** Topics that keep a retained message: of 128 levels each, and with next to nothing in them. */
export async function retained({ port }, count) {
  const client = await Client.connected(port, { clientId: 'retained' })
  const packetOf = (i) => Publish.of(deep(i, 128), Buffer.from('x'), 1, true, 1 + (i % 60_000))
  const result = await each(client, count, packetOf, granted)
  return { ...result, clients: [client] }
}

/** Absent sessions of one address, for each of which so many bytes are published. */
export async function queues({ port }, sessions, bytesEach, size = 100_000) {
  for (let i = 0; i < sessions; i++) {
    const client = await Client.connected(port, { clientId: `absent ${i}`, ...LASTING }, ELSEWHERE)
    if (client.connack?.reasonCode !== 0) continue
    client.subscribe(`queue/${i}`)
    await client.next()
    client.end()
  }
  const writer = await Client.connected(port, { clientId: 'queue writer' })
  const payload = Buffer.alloc(size, 'x')
  let taken = 0
  let refused = 0
  for (let i = 0; i < sessions && !writer.socket.closed; i++) {
    const count = Math.floor(bytesEach / size)
    for (let id = 1; id <= count; id++) {
      payload.writeUInt32BE(id)
      writer.publish(`queue/${i}`, payload, { qos: 1, packetId: id })
    }
    for (let id = 1; id <= count; id++) {
      const packet = await writer.next()
      if (packet === undefined) break
      if (packet.reasonCode === 0) taken++
      else if (packet.reasonCode >= 0x80) refused++
    }
  }
  return { taken, refusals: new Map([[0x97, refused]]), clients: [writer] }
}

/** Sessions with wills of the size of a CONNECT, from clients that are there. */
export async function wills({ port }, count) {
  const clients = []
  let taken = 0
  const refusals = new Map()
  const will = { topic: 'will', payload: Buffer.alloc(60_000), qos: 1, retain: false, properties: {} }
  for (let i = 0; i < count; i++) {
    const client = await Client.connected(port, { clientId: `will ${i}`, will })
    const code = client.connack?.reasonCode ?? -1
    if (code === 0) {
      taken++
      clients.push(client)
    } else refusals.set(code, (refusals.get(code) ?? 0) + 1)
  }
  return { taken, refusals, clients }
}

/** Sessions that last, one after the other from one connection each. */
export async function sessions({ port }, count, parallel = 50) {
  let taken = 0
  let next = 0
  const refusals = new Map()
  const one = async () => {
    while (next < count) {
      const client = await Client.connected(port, { clientId: `${next++} ${'s'.repeat(200)}`, ...LASTING })
      const code = client.connack?.reasonCode ?? -1
      if (code === 0) taken++
      else refusals.set(code, (refusals.get(code) ?? 0) + 1)
      client.end()
    }
  }
  await Promise.all(Array.from({ length: parallel }, one))
  return { taken, refusals, clients: [] }
}

/**
 * CONNECTs of so many octets with wrong passwords, from 16 addresses, which all wait for a hash; after so many milliseconds the users of `passwordFile` log in one after
 * the other, each for the first time. `times`: the milliseconds until each of them got CONNACK, the first with nobody beside it.
 */
export async function pendingLogins({ port }, count, users, before, perSecond = 200, octets = 60_000) {
  const password = Buffer.alloc(octets, 'w')
  const refusals = new Map()
  let taken = 0
  const login = async (i) => {
    const started = performance.now()
    const who = { clientId: `honest ${i}`, username: `honest ${i}`, password: Buffer.from('right') }
    const client = await Client.connected(port, who)
    if (client.connack?.reasonCode === 0) taken++
    client.end()
    return performance.now() - started
  }
  const times = [await login(0)]
  const attackers = []
  const one = async (i) => {
    const client = await Client.open(port, { localAddress: `127.0.1.${1 + (i % 16)}` })
    client.send({ ...CONNECT, clientId: `guess ${i}`, username: 'honest 0', password })
    attackers.push(client)
    const code = (await client.next())?.reasonCode
    if (code !== undefined) refusals.set(code, (refusals.get(code) ?? 0) + 1)
    client.end()
  }
  let isOver = false
  const flood = async () => {
    for (let i = 0; i < count && !isOver; i++) {
      void one(i)
      // Node.js accepts one connection in each turn: faster than this, everybody waits in the queue of the kernel, and not for a hash.
      if (i % 4 === 0) await sleep(4000 / perSecond)
    }
  }
  const logins = async () => {
    // Until those that wait are as many as there may be.
    await sleep(before)
    for (let i = 1; i < users; i++) {
      await sleep(200)
      times.push(await login(i))
    }
    isOver = true
  }
  await Promise.all([flood(), logins()])
  return { taken, refusals, clients: attackers, times }
}

/** What a client of TLS says first. */
export async function clientHello() {
  const bytes = await new Promise((resolve) => {
    const socket = new Duplex({ read: () => {}, write: (chunk, _, done) => done(resolve(chunk)) })
    connectTls({ socket, servername: 'localhost' }).on('error', () => {})
  })
  return bytes
}

/** TLS connections to `transports` that have said ClientHello, and nothing more. */
export async function halfHandshakes({ ports }, count) {
  const hello = await clientHello()
  const clients = []
  for (let i = 0; i < count; i += 50) {
    const open = (_, j) => Client.open(ports.tls, { localAddress: `127.0.1.${1 + ((i + j) % 16)}`, count: true })
    const some = await Promise.all(Array.from({ length: Math.min(50, count - i) }, open))
    for (const { socket } of some) if (!socket.closed) socket.write(hello)
    // Until each has its ServerHello, or none.
    await Promise.all(some.map((client) => client.count(1)))
    clients.push(...some)
  }
  const open = clients.filter(({ socket }) => !socket.closed).length
  return { taken: open, refusals: new Map([[-1, count - open]]), clients }
}

/** Connections that have sent so much of a PUBLISH of 8 MiB, and wait. */
export async function halfPackets({ port }, count, bytes) {
  const clients = []
  for (let i = 0; i < count; i++) {
    const client = await Client.connected(port, { clientId: `half ${i}` })
    if (client.connack?.reasonCode !== 0) continue
    client.socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x03]))
    client.socket.write(Buffer.alloc(bytes))
    clients.push(client)
  }
  await sleep(300)
  const open = clients.filter(({ socket }) => !socket.closed).length
  return { taken: open, refusals: new Map([[0x97, count - open]]), clients }
}

/** So many topics with so many subscribers: each pair would be a place in a route. */
export async function routes({ port }, subscribers, topics) {
  const clients = []
  for (let i = 0; i < subscribers; i++) {
    const client = await Client.connected(port, { clientId: `route ${i}` })
    client.subscribe('routes/#', 0)
    // It does not read what it is sent.
    client.socket.pause()
    clients.push(client)
  }
  const writer = await Client.connected(port, { clientId: 'route writer' })
  for (let i = 0; i < topics; i++) if (!writer.publish(`routes/${i}`, '')) await once(writer.socket, 'drain')
  await writer.ping()
  return { taken: subscribers * topics, refusals: new Map(), clients: [...clients, writer] }
}

/** Retained messages of half a megabyte, each read by clients of 3.1.1 and 5.0 with QoS 0 and 1. */
export async function wireForms({ port }, count) {
  const writer = await Client.connected(port, { clientId: 'forms writer' })
  const properties = { userProperties: [['a', 'b']] }
  const result = { taken: 0, refusals: new Map(), clients: [writer] }
  for (let i = 0; i < count; i++) {
    writer.publish(`forms/${i}`, Buffer.alloc(500_000), { qos: 1, packetId: i + 1, retain: true, properties })
    const { reasonCode } = await writer.next()
    if (granted(reasonCode)) result.taken++
    else result.refusals.set(reasonCode, (result.refusals.get(reasonCode) ?? 0) + 1)
  }
  for (const protocolVersion of [4, 5]) {
    for (const qos of [0, 1]) {
      const client = await Client.connected(port, { clientId: `forms ${protocolVersion} ${qos}`, protocolVersion })
      client.subscribe('forms/#', qos)
      for (let i = 0; i <= result.taken; i++) {
        const packet = await client.next()
        if (packet?.type === 3 && packet.qos === 1)
          client.send({ type: 4, packetId: packet.packetId, reasonCode: 0, properties: {} })
      }
      client.end()
    }
  }
  return result
}

/** Readers that stop reading, and messages of a megabyte for all of them. */
export async function outputs({ port }, readers, messages, bytes = MIB) {
  const clients = []
  for (let i = 0; i < readers; i++) {
    const client = await Client.connected(port, { clientId: `output ${i}` })
    client.subscribe('output', 0)
    await client.next()
    client.socket.pause()
    clients.push(client)
  }
  const writer = await Client.connected(port, { clientId: 'output writer' })
  const payload = Buffer.alloc(bytes)
  for (let i = 0; i < messages; i++) {
    payload.writeUInt32BE(i)
    writer.publish('output', payload)
    await writer.ping()
  }
  return { taken: messages, refusals: new Map(), clients: [...clients, writer] }
}

/** Readers that take everything and acknowledge nothing, each of a topic of its own. */
export async function unacknowledged({ port }, readers, messages, bytes = MIB) {
  const clients = []
  for (let i = 0; i < readers; i++) {
    const client = await Client.connected(port, { clientId: `silent ${i}` })
    client.subscribe(`silent/${i}`)
    clients.push(client)
  }
  const writer = await Client.connected(port, { clientId: 'silent writer' })
  const payload = Buffer.alloc(bytes, 'x')
  const packetOf = (i) => Publish.of(`silent/${i % readers}`, payload, 1, false, 1 + (i % 60_000))
  const result = await each(writer, readers * messages, packetOf, granted)
  return { ...result, clients: [...clients, writer] }
}

/** QoS 2 messages of MQTT 3 clients that release none of their packet ids. Those that are refused are disconnected. */
export async function receipts({ port }, count, messages = 65_535) {
  const clients = []
  let refused = 0
  for (let i = 0; i < count; i++) {
    const client = await Client.connected(port, { clientId: `receipts ${i}`, protocolVersion: 4 })
    const packetOf = (n) => Publish.of('receipts', Buffer.of(), 2, false, n + 1)
    const { taken } = await each(client, messages, packetOf, granted)
    if (taken < messages) refused++
    else clients.push(client)
  }
  return { taken: clients.length, refusals: new Map([[0x97, refused]]), clients }
}

/** Topic aliases and topic names that each connection makes the broker remember. */
export async function aliases({ port }, count) {
  const clients = []
  for (let i = 0; i < count; i++) {
    const client = await Client.connected(port, { clientId: `alias ${i}` })
    if (client.connack?.reasonCode !== 0) continue
    for (let alias = 1; alias <= 10; alias++)
      client.publish(`${i}/${alias}/${'a'.repeat(6000)}`, '', { properties: { topicAlias: alias } })
    for (let name = 0; name < 64; name++) client.publish(`${i}/${name}/${'n'.repeat(100)}`, '')
    await client.ping()
    clients.push(client)
  }
  return { taken: clients.length, refusals: new Map([[0x97, count - clients.length]]), clients }
}

/** A SUBSCRIBE with as many filters as fit into the largest packet. */
export async function manyFilters({ port }, bytes) {
  const client = await Client.connected(port, { clientId: 'many filters' })
  const count = Math.floor(bytes / 4)
  const body = Buffer.alloc(3 + 4 * count)
  body.writeUInt16BE(1)
  for (let i = 0; i < count; i++) body.writeUInt32BE(0x00016100, 3 + 4 * i)
  const length = []
  for (let left = body.length; ; left >>>= 7) {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0))
    if (left <= 0x7f) break
  }
  client.socket.write(Buffer.from([0x82, ...length]))
  client.socket.write(body)
  const packet = await client.next()
  return { taken: packet?.type === 9 ? 1 : 0, refusals: new Map([[packet?.reasonCode, 1]]), clients: [client] }
}

/** Sensors with so many topic names of 65,000 octets each. */
export async function registers({ snPort }, sensors, names, octets = 65_000) {
  let taken = 0
  const refusals = new Map()
  const sockets = []
  for (let i = 0; i < sensors; i++) {
    const socket = createSocket('udp4')
    sockets.push(socket)
    socket.connect(snPort, '127.0.0.1')
    await once(socket, 'connect')
    const id = Buffer.from(`sensor ${i}`)
    const ask = async (bytes) => {
      for (let tries = 0; tries < 20; tries++) {
        socket.send(bytes)
        const answer = await Promise.race([once(socket, 'message'), sleep(500)])
        if (answer !== undefined) return answer[0]
      }
      return undefined
    }
    const connack = await ask(Buffer.concat([Buffer.from([6 + id.length, 4, 4, 1, 0, 60]), id]))
    if (connack?.[2] !== 0) {
      refusals.set(connack?.[2], (refusals.get(connack?.[2]) ?? 0) + 1)
      continue
    }
    for (let name = 1; name <= names; name++) {
      const register = Buffer.alloc(octets + 8, 'r')
      register.write(`${i}/${name}/`, 8)
      register[0] = 1
      register.writeUInt16BE(register.length, 1)
      register[3] = 0x0a
      register.writeUInt16BE(0, 4)
      register.writeUInt16BE(name, 6)
      const regack = await ask(register)
      if (regack?.[6] === 0) taken++
      else refusals.set(regack?.[6], (refusals.get(regack?.[6]) ?? 0) + 1)
    }
  }
  return { taken, refusals, clients: sockets.map((socket) => ({ end: () => socket.close() })) }
}

/** Connects clients one after the other, from another address than everybody else; `then` gives the reason code of what each does. */
async function comeAndGo({ port }, count, optionsOf, then = async () => 0) {
  let taken = 0
  let next = 0
  const refusals = new Map()
  const one = async () => {
    while (next < count) {
      const i = next++
      const client = await Client.connected(port, optionsOf(i), ELSEWHERE)
      const code = client.connack?.reasonCode || (client.connack === undefined ? -1 : await then(client, i))
      if (granted(code)) taken++
      else refusals.set(code, (refusals.get(code) ?? 0) + 1)
      client.end()
      if (code === -1) return
    }
  }
  await Promise.all(Array.from({ length: 8 }, one))
  return { taken, refusals, clients: [] }
}

/** Lasting sessions with user names of 60,000 octets. */
export const userNames = (to, count) =>
  comeAndGo(to, count, (i) => ({ ...LASTING, clientId: `named ${i}`, username: `${i} ${LONG}`.slice(0, 60_000) }))

/** Client ids of 60,000 octets that retain one octet each, and leave. */
export const retainers = (to, count) =>
  comeAndGo(
    to,
    count,
    (i) => ({ clientId: `${i} ${LONG}`.slice(0, 60_000) }),
    async (client, i) => {
      client.publish(`retained by/${i}`, 'x', { qos: 1, retain: true })
      return (await client.next())?.reasonCode ?? -1
    },
  )

/** Clients that publish on 256 topics of 65,000 octets each, which access rules answer for. */
export const answers = (to, count) =>
  comeAndGo(
    to,
    count,
    (i) => ({ ...LASTING, clientId: `asking ${i}` }),
    async (client, i) => {
      for (let topic = 0; topic < 256 && !client.socket.closed; topic++)
        if (!client.publish(`asked/${i}/${topic}/${LONG}`.slice(0, 65_000), '')) await once(client.socket, 'drain')
      await client.ping()
      return 0
    },
  )

/** One client that comes back to its session again and again, with a retained will on a topic of 128 new levels, and drops the connection. */
export const firedWills = (to, count) =>
  comeAndGo(to, count, (i) => ({
    ...LASTING,
    clientId: `dying ${i % 8}`,
    will: {
      topic: Array.from({ length: 128 }, (_, level) => `${i}-${level}`).join('/'),
      payload: Buffer.from('x'),
      qos: 0,
      retain: true,
      properties: {},
    },
  }))

/** The same with wills of 1,600 octets that wait for absent sessions. */
export async function waitingWills({ port, ...to }, sessions, count) {
  for (let i = 0; i < sessions; i++) {
    const client = await Client.connected(port, { clientId: `waiting ${i}`, ...LASTING }, ELSEWHERE)
    client.subscribe(`w/${i}`)
    await client.next()
    client.end()
  }
  const will = (i) => ({ topic: `w/${i % sessions}`, payload: Buffer.alloc(1600, 'z'), qos: 1, retain: false, properties: {} })
  return await comeAndGo({ port, ...to }, count, (i) => ({ ...LASTING, clientId: `dying ${i % 8}`, will: will(i) }))
}

/** One forwarder with many wireless nodes, whose names are `n0`, `n1`, ... */
class Forwarder {
  #socket = createSocket('udp4')
  #answered = () => {}

  static async open(port, address = ELSEWHERE.localAddress) {
    const forwarder = new Forwarder()
    const socket = forwarder.#socket
    socket.bind(0, address)
    await once(socket, 'listening')
    socket.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.on('message', (bytes) => forwarder.#answered(bytes.subarray(bytes[1] === 0xfe ? bytes[0] : 0)))
    return forwarder
  }

  /** Sends a message as that node until it is answered; gives the answer. */
  async ask(i, type, body) {
    const node = Buffer.from(`n${i}`)
    const length = body.length + 2
    const head = length < 256 ? Buffer.from([length, type]) : Buffer.from([1, (length + 2) >> 8, (length + 2) & 0xff, type])
    const bytes = Buffer.concat([Buffer.from([3 + node.length, 0xfe, 0]), node, head, body])
    for (let tries = 0; tries < 5; tries++) {
      const answer = new Promise((resolve) => (this.#answered = resolve))
      this.#socket.send(bytes)
      const got = await Promise.race([answer, sleep(300)])
      if (got !== undefined) return got
    }
    return undefined
  }

  end() {
    this.#socket.close()
  }
}

/** Sensors behind forwarders with wills whose topics and messages have 60,000 octets; `then` is what each does once its topic is taken. */
async function sensorWills({ snPort }, count, each, then) {
  let forwarder
  let taken = 0
  const refusals = new Map()
  for (let i = 0; i < count; i++) {
    if (i % each === 0) {
      forwarder?.end()
      forwarder = await Forwarder.open(snPort, `127.0.0.${10 + i / each}`)
    }
    await forwarder.ask(i, 0x04, Buffer.concat([Buffer.from([0x08, 1, 0, 60]), Buffer.from(`sensor ${i}`)]))
    let answer = await forwarder.ask(i, 0x07, Buffer.concat([Buffer.from([0]), Buffer.from(`${i}/${LONG}`.slice(0, 60_000))]))
    if (answer?.[1] === 0x08 && then !== undefined) answer = await then(forwarder, i)
    // CONNACK with a return code, or what would ask for more.
    const code = answer?.[1] === 0x05 ? answer[2] : 0
    if (answer !== undefined && code === 0) taken++
    else refusals.set(code, (refusals.get(code) ?? 0) + 1)
  }
  return { taken, refusals, clients: [forwarder] }
}

/** Their topics are taken, and the messages never come. */
export const willTopics = (to, count) => sensorWills(to, count, count)

/** They connect, 100 at each address, and say goodbye: the gateway keeps their wills. */
export const keptWills = (to, count) =>
  sensorWills(to, count, 100, async (forwarder, i) => {
    const connack = await forwarder.ask(i, 0x09, Buffer.alloc(60_000, 'm'))
    if (connack?.[2] === 0) await forwarder.ask(i, 0x18, Buffer.alloc(0))
    return connack
  })
