// The lessons that need size, at full size against the started process: the first part of `npm run test:full` (../../full.mjs). One line for each check
// with its figures, then `N passed, N failed`; ends with 1 if one failed. On loopback only; takes 30 to 60 minutes, and an hour more for the fuzzer of
// memory (--fuzz-minutes). --only <text> runs those whose title has it.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { Failed, mib, ms, OPEN, seconds, sleep, wants } from './judge.mjs'
import { memoryChecks } from './memory-checks.mjs'
import { ATTACKS, onePacket } from './one-packet.mjs'
import { transports } from './sites.mjs'
import { Client, CONNECT, encoded, MIB, Started } from './started.mjs'
import { KINDS, streams } from './streams.mjs'

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rejected: { type: 'string', default: '1000000' },
    'fuzz-minutes': { type: 'string', default: '60' },
    'fuzz-seed': { type: 'string', default: String(Date.now()) },
  },
})

/** A machine that does other work too is sometimes this late by itself, garbage collection included (ms). */
const BUSY_MS = 50
/** Ports last for some 28,000 connections from one address. */
const address = (i) => `127.0.0.${1 + (i % 100)}`

/** Opens so many connections, 200 at a time, each of which says this. */
async function openMany(port, count, hex) {
  const clients = []
  const bytes = Buffer.from(hex, 'hex')
  for (let i = 0; i < count; i += 200) {
    const some = Array.from({ length: Math.min(200, count - i) }, (_, j) => Client.open(port, { localAddress: address(i + j) }))
    for (const client of await Promise.all(some)) {
      if (bytes.length > 0) client.socket.write(bytes)
      clients.push(client)
    }
  }
  return clients
}

/** Runs a check with a process of its own, which has to be alive at the end. */
async function against(flags, check) {
  const roost = await Started.start('--memory', '--log-level', 'info', ...flags)
  try {
    const figures = await check(roost)
    const { port } = roost
    const last = await Client.connected(port, { clientId: 'last' })
    wants(last.connack?.reasonCode === 0, 'somebody else can connect at the end')
    await last.ping()
    last.end()
    wants((await roost.stop()) === 0, 'exit code 0')
    return figures
  } finally {
    if (roost.ended === undefined) await roost.stop()
  }
}

async function halfOpen(roost) {
  const silent = await openMany(roost.port, 5000, '')
  await sleep(500)
  const before = [await roost.heap(), roost.rss]
  for (const { socket } of silent) socket.write(Buffer.from('10ffffff7f', 'hex'))
  await sleep(1500)
  const open = silent.filter(({ socket }) => !socket.closed).length
  const [heap, rss] = [(await roost.heap()) - before[0], roost.rss - before[1]]
  for (const client of silent) client.end()
  wants(open === 5000, `5000 stay open until their deadline, not ${open}`)
  wants(rss < 16 * MIB, `RSS grows by less than 16 MiB, not ${mib(rss)}`)
  wants(heap < 8 * MIB, `the heap grows by less than 8 MiB, not ${mib(heap)}`)
  return `${open} connections announce 256 MB each: RSS ${mib(rss)}, heap ${mib(heap)} more than with as many silent ones`
}

async function closedAtOnce(roost) {
  // What so many connections take at all is not what they say.
  const silent = await openMany(roost.port, 5000, '')
  for (const client of silent) client.end()
  await Promise.all(silent.map(({ closed }) => closed))
  await roost.heap()
  const before = roost.rss
  const figures = []
  for (const hex of ['10ffffff7f', '30ffffff7f', '30']) {
    const started = performance.now()
    const clients = await openMany(roost.port, 5000, hex)
    await Promise.race([Promise.all(clients.map(({ closed }) => closed)), sleep(8000)])
    wants(
      clients.every(({ socket }) => socket.closed),
      `all are closed after ${hex}`,
    )
    figures.push(`${hex} ${seconds(started)}`)
  }
  await roost.heap()
  const growth = roost.rss - before
  wants(growth < 16 * MIB, `RSS grows by less than 16 MiB, not ${mib(growth)}`)
  return `5000 each, opened and closed: ${figures.join(', ')}; RSS ${mib(growth)} more`
}

/** Ends of CONNECT bodies that are refused, each in a way of its own: see lesson 2 in ../packets.test.ts. */
const REJECTED = [
  ...['05 06 0000 00 000163 05 0101', '05 1e 0000 00 000163 00 000177 000178', '05 06 0000 00 000163 00 000123 000178'],
  ...['05 03 0000 00 000163', '05 02 0000 00 0001ff', '09 02 0000 000163', '04 00 0000 0000'],
  ...['05 02 0000 0a 1100000001 1100000001 000163', '05 02 0000 02 9900 000163', '05 02 0000 00 000163 00'],
].map((end) => {
  const body = Buffer.from(`00044d515454${end.replaceAll(' ', '')}`, 'hex')
  return Buffer.concat([Buffer.from([0x10, body.length]), body])
})

async function rejected(roost) {
  const count = Number(values.rejected)
  const warmUp = Math.min(50_000, count / 4)
  let sent = 0
  const sendUntil = async (goal) => {
    const one = async () => {
      while (sent < goal) {
        const i = sent++
        const client = await Client.open(roost.port, { localAddress: address(i), count: true })
        client.socket.end(REJECTED[i % REJECTED.length])
        await client.closed
      }
    }
    await Promise.all(Array.from({ length: 100 }, one))
  }
  await sendUntil(warmUp)
  const before = [await roost.heap(), roost.rss]
  const started = performance.now()
  await sendUntil(count)
  const took = seconds(started)
  await sleep(1500)
  const [heap, rss] = [(await roost.heap()) - before[0], roost.rss - before[1]]
  wants(heap < 2 * MIB, `the heap grows by less than 2 MiB, not ${mib(heap)}`)
  const [all, first] = [count, warmUp].map((number) => number.toLocaleString('en'))
  return `${all} CONNECTs refused in ${took}: heap ${mib(heap)}, RSS ${mib(rss)} more than after the first ${first}`
}

const pairs = (count) => ({ userProperties: Array.from({ length: count }, (_, i) => [`key ${i}`, 'value']) })

async function userProperties(roost) {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 5; i++) {
    const client = await Client.open(roost.port)
    const bytes = encoded({ ...CONNECT, clientId: `c${i}`, properties: pairs(10_000) })
    const started = performance.now()
    client.socket.write(bytes)
    const connack = await client.next()
    wants(connack?.reasonCode === 0, 'CONNECT with 10,000 user properties is let in where that is allowed')
    best = Math.min(best, performance.now() - started)
    client.end()
  }
  wants(best < 50, `CONNACK comes within 50 ms, not ${ms(best)}`)
  return `10,000 user properties in CONNECT: CONNACK after ${ms(best)} (best of 5)`
}

async function slashes(roost, [topic, allowed]) {
  const watcher = await Client.connected(roost.port, { clientId: 'watcher' })
  const client = await Client.connected(roost.port, { clientId: 'deep' })
  const started = performance.now()
  const answers = []
  client.publish(topic, 'x', { qos: 1 })
  answers.push((await client.next())?.reasonCode)
  client.subscribe(topic)
  answers.push((await client.next())?.reasonCodes[0])
  client.publish(topic, 'kept', { qos: 1, packetId: 2, retain: true })
  answers.push((await client.next())?.reasonCode)
  client.send({ type: 10, packetId: 3, filters: [topic], properties: {} })
  while (client.packets.length === 0 || client.packets.at(-1).type !== 11) {
    if (client.packets.length > 0) client.packets.shift()
    const packet = await client.next()
    if (packet === undefined || packet.type === 11) {
      answers.push(packet?.reasonCodes[0])
      break
    }
  }
  const will = { topic, payload: Buffer.from('gone'), qos: 0, retain: true, properties: {} }
  const mortal = await Client.connected(roost.port, { clientId: 'mortal', will })
  answers.push(mortal.connack?.reasonCode)
  mortal.end()
  const took = performance.now() - started
  const ping = await watcher.ping()
  for (const one of [watcher, client]) one.end()
  const wanted = allowed ? [0x10, 1, 0, 0, 0] : [0x90, 0x8f, 0x90, 0x11, 0x90]
  wants(JSON.stringify(answers) === JSON.stringify(wanted), `answers ${wanted}, not ${answers}`)
  wants(took < 2000, `all of it within 2 s, not ${ms(took)}`)
  return `${topic.length.toLocaleString('en')} slashes in PUBLISH, SUBSCRIBE, retained, UNSUBSCRIBE and will: ${allowed ? 'served' : 'refused'} in ${ms(took)}, PINGRESP of another after ${ms(ping)}`
}

async function neverReleased(roost) {
  const before = await roost.heap()
  const five = await Client.connected(roost.port, { clientId: 'five' })
  const most = five.connack.properties.receiveMaximum
  for (let id = 1; id <= most + 1; id++) five.publish('a', 'x', { qos: 2, packetId: id })
  let last
  for (let packet = await five.next(); packet !== undefined; packet = await five.next()) last = packet
  wants(last?.type === 14 && last.reasonCode === 0x93, 'a 5.0 client is told 0x93')
  const started = performance.now()
  const clients = []
  for (let i = 0; i < 16; i++) {
    const client = await Client.open(roost.port, { version: 4, count: true })
    client.send({ ...CONNECT, protocolVersion: 4, clientId: `four ${i}` })
    clients.push(client)
  }
  await Promise.all(
    clients.map(async (client) => {
      for (let id = 1; id <= 62_500; id++) {
        if (!client.publish('a', 'x', { qos: 2, packetId: id })) await once(client.socket, 'drain')
      }
      await client.count(62_501)
    }),
  )
  const took = seconds(started)
  const answered = clients.reduce((sum, { received }) => sum + received - 1, 0)
  const held = (await roost.heap()) - before
  wants(answered === 1_000_000, `1,000,000 PUBREC, not ${answered}`)
  wants(held < 100 * MIB, `less than 100 bytes for each, not ${mib(held)} for all`)
  for (const client of clients) client.end()
  await sleep(1000)
  const left = (await roost.heap()) - before
  wants(left < 4 * MIB, `less than 4 MiB when they have gone, not ${mib(left)}`)
  return `1,000,000 QoS 2 ids, never released, in ${took}: heap ${mib(held)}, ${mib(left)} when the clients have gone; 5.0 is told 0x93 at ${most}`
}

async function flapping(roost) {
  const bystander = await Client.connected(roost.port, { clientId: 'bystander' })
  bystander.subscribe('flood', 0)
  await bystander.next()
  const publisher = await Client.connected(roost.port, { clientId: 'publisher' })
  const lasting = { cleanStart: false, properties: { sessionExpiryInterval: 60 } }
  const until = performance.now() + 60_000
  let connects = 0
  let published = 0
  const flap = async (i) => {
    while (performance.now() < until) {
      const client = await Client.connected(roost.port, { clientId: 'flapping', ...(i % 2 === 0 ? lasting : {}) })
      connects++
      if (client.connack !== undefined)
        wants(client.connack.reasonCode === 0 || client.connack.type === 14, 'everybody is let in')
      client.subscribe('flood', 1)
      if (i % 3 === 0) client.publish('flood', 'flap', { qos: 1 })
      await sleep(Math.random() * 40)
      if (i % 5 === 0) client.end()
      else await Promise.race([client.closed, sleep(1000)])
      client.end()
    }
  }
  const flood = async () => {
    while (performance.now() < until) {
      publisher.publish('flood', String(++published))
      if (published % 20 === 0) await sleep(5)
    }
  }
  await sleep(500)
  const before = await roost.heap()
  await Promise.all([flood(), ...Array.from({ length: 50 }, (_, i) => flap(i))])
  await sleep(1500)
  const last = await Client.connected(roost.port, { clientId: 'flapping', cleanStart: true })
  wants(last.connack?.reasonCode === 0, 'the id can be had at the end')
  last.subscribe('$SYS/broker/clients/connected', 0)
  await last.next()
  const connected = Number(Buffer.from((await last.next()).payload).toString())
  await sleep(1500)
  const told = last.packets.filter((packet) => packet.type === 3).map(({ payload }) => Number(Buffer.from(payload).toString()))
  const live = told.at(-1) ?? connected
  wants(live === 3, `one live connection of that id beside two others, not ${live - 2}`)
  const got = bystander.packets.filter(
    (packet) => packet?.type === 3 && /^\d+$/.test(Buffer.from(packet.payload).toString()),
  ).length
  wants(got === published, `the bystander gets all ${published} messages, not ${got}`)
  bystander.packets.length = 0
  const growth = (await roost.heap()) - before
  wants(growth < 4 * MIB, `the heap grows by less than 4 MiB, not ${mib(growth)}`)
  for (const client of [bystander, publisher, last]) client.end()
  return `50 clients flap one id for 60 s: ${connects.toLocaleString('en')} connections, ${published.toLocaleString('en')} messages of a bystander all delivered, one live connection at the end; heap ${mib(growth)} more`
}

async function slowLoris(roost) {
  const clients = await openMany(roost.port, 2000, '10')
  const started = performance.now()
  let bytes = 1
  while (clients.some(({ socket }) => !socket.closed) && performance.now() - started < 10_000) {
    await sleep(400)
    for (const { socket } of clients) if (!socket.closed) socket.write(Buffer.from([[0x7f, 0x00, 0x04, 0x4d, 0x51][bytes % 5]]))
    bytes++
  }
  const took = performance.now() - started
  wants(
    clients.every(({ socket }) => socket.closed),
    'all are closed at the deadline',
  )
  return `2,000 connections that say their CONNECT byte by byte: all closed ${ms(took)} after the last was opened (deadline 2 s)`
}

/** Needs a data directory, and two processes one after the other. */
async function prototypes() {
  const dir = mkdtempSync(join(tmpdir(), 'roost-full-'))
  const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'prototype']
  const options = (name) => ({
    clientId: name,
    username: name,
    password: Buffer.from(name),
    cleanStart: false,
    will: {
      topic: name,
      payload: Buffer.from(name),
      qos: 1,
      retain: true,
      properties: { contentType: name, userProperties: [[name, name]] },
    },
    properties: { sessionExpiryInterval: 600, userProperties: [[name, name]] },
  })
  try {
    let roost = await Started.start('--data-dir', dir)
    for (const name of NAMES) {
      const client = await Client.connected(roost.port, options(name))
      wants(client.connack?.reasonCode === 0, `${name} is let in`)
      for (const filter of [`t/${name}`, `$share/${name}/s/${name}`]) {
        client.subscribe(filter)
        wants((await client.next())?.reasonCodes[0] === 1, `${filter} is granted`)
      }
      // Without DISCONNECT, so that the will is kept on its topic.
      client.end()
    }
    const writer = await Client.connected(roost.port, { clientId: 'writer' })
    for (const name of NAMES) {
      const properties = {
        contentType: name,
        responseTopic: name,
        correlationData: Buffer.from(name),
        userProperties: [[name, name]],
      }
      for (const topic of [`t/${name}`, `s/${name}`]) {
        writer.publish(topic, name, { qos: 1, properties })
        wants((await writer.next())?.reasonCode === 0, `${topic} is taken`)
      }
    }
    writer.end()
    wants((await roost.stop()) === 0, 'exit code 0')
    roost = await Started.start('--data-dir', dir)
    for (const name of NAMES) {
      const client = await Client.connected(roost.port, options(name))
      wants(client.connack?.sessionPresent === true, `the session of ${name} is there`)
      const got = [await client.next(), await client.next()]
      wants(
        got.every((packet) => packet?.type === 3 && packet.properties.userProperties?.[0]?.[0] === name),
        `both messages for ${name} come with their properties`,
      )
      client.subscribe(name)
      const kept = [await client.next(), await client.next()].find((packet) => packet?.type === 3)
      wants(kept?.topic === name && kept.retain, `the will of ${name} is retained`)
      client.end()
    }
    wants((await roost.stop()) === 0, 'exit code 0')
    return `${NAMES.join(', ')} as client id, user, will, topic, filter, share name and properties, and after a restart`
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function measuredStreams(kind) {
  const { flags, remove } = transports()
  try {
    const slow = ['--sys-interval', '1', '--connect-timeout-seconds', '300']
    return await against([...OPEN, ...flags, ...slow], (to) => streams(to, wants, kind))
  } finally {
    remove()
  }
}

const HUGE = ['--max-connect-packet-size', '268435460', '--max-packet-size', '0']
const CHECKS = [
  ['lesson 1: half-open connections', () => against([...OPEN, ...HUGE, '--connect-timeout-seconds', '600'], halfOpen)],
  ['lesson 1: no CONNECT, or too large a one', () => against(OPEN, closedAtOnce)],
  ['lesson 2: rejected CONNECTs', () => against(OPEN, rejected)],
  ['lesson 3: slashes, refused', () => against(HUGE, (roost) => slashes(roost, ['/'.repeat(65_535), false]))],
  [
    'lesson 3: slashes, allowed',
    () => against(['--max-topic-levels', '65535', ...HUGE], (roost) => slashes(roost, ['/'.repeat(65_534), true])),
  ],
  ['lesson 4: user properties', () => against(['--max-user-properties', '65535', ...HUGE], userProperties)],
  ['lesson 5: CONNECT byte by byte', () => against([...OPEN, '--connect-timeout-seconds', '2'], slowLoris)],
  ['lesson 20: QoS 2 ids', () => against([], neverReleased)],
  ['lesson 21: takeover', () => against(['--sys-interval', '1', '--max-queued-messages', '100000'], flapping)],
  ['lesson 25: names of prototypes', prototypes],
  ...Object.keys(ATTACKS).map((name) => [
    `one packet: ${name}`,
    () => against(['--max-retained-messages', '200000'], (roost) => onePacket(roost, name, wants, BUSY_MS)),
  ]),
  ...KINDS.map((kind) => [`memory: streams, ${kind}`, () => measuredStreams(kind)]),
  ...memoryChecks(Number(values['fuzz-minutes']), Number(values['fuzz-seed'])),
]

let [passed, failed] = [0, 0]
for (const [title, check] of CHECKS.filter(([each]) => each.includes(values.only))) {
  const started = performance.now()
  try {
    process.stdout.write(`ok ${title}: ${await check()} [${seconds(started)}]\n`)
    passed++
  } catch (error) {
    process.stdout.write(`FAILED ${title}: wanted: ${error instanceof Failed ? error.message : error.stack}\n`)
    failed++
  }
}
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
