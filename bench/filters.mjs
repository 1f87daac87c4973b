// What conditions of subscriptions cost per message: CPU of the very `Server` that production runs, without sockets, in one process, the
// kinds in turn. `node bench/filters.mjs [--rounds 9] [--beside DIST]`, after `npm run build`. NOTES.md has the results.
import process from 'node:process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    /** Another `dist` to compare with where no subscription has a condition. */
    beside: { type: 'string' },
  },
})
const ROUNDS = Number(values.rounds)
const SUBSCRIBERS = 1000
const CONDITIONS = 50

const JSON_200 = Buffer.from(
  JSON.stringify({
    device: 'sensor-0042',
    at: '2026-12-01T12:00:00Z',
    temperature: 24.5,
    humidity: 48,
    battery: 3.02,
    position: { lat: 52.52, lon: 13.405 },
    tags: ['greenhouse', 'north'],
    sequence: 123456,
  }).padEnd(200, ' '),
)

/** One publisher with QoS 0 and subscribers, in the code of this `dist`. `conditionOf`: that of the subscriber of this number. */
async function site(dist, subscribers, conditionOf) {
  const load = (path) => import(new URL(`${dist}/${path}`, import.meta.url))
  const [{ ByteWriter }, { encodePacket }, { Publish }, { Server }, { MemoryStore }] = await Promise.all(
    ['base/bytes.js', 'mqtt/encode.js', 'mqtt/publish.js', 'server.js', 'store/store.js'].map(load),
  )
  const conditions = conditionOf && { language: new (await load('filters/io/cel.js')).CelLanguage() }
  const gateway = {
    gatewayId: 1,
    tRetryMs: 10_000,
    nRetry: 3,
    sessionExpirySeconds: Number.POSITIVE_INFINITY,
    maxSessions: 1000,
    maxIdleMs: 0,
    topicsPerClient: 1000,
    sleepMargin: 1.5,
    wakeMessages: 100,
    qos2HoldDownMs: 60_000,
    unknownSenderPerSecond: 100,
    predefinedTopics: [],
    maxDatagram: 65_535,
  }
  const server = new Server({
    gateway,
    store: new MemoryStore(),
    clock: { epoch: 0 },
    notice: () => {},
    random: () => 0.5,
    conditions,
  })
  const encode = (packet) => {
    const writer = new ByteWriter()
    encodePacket(writer, packet, 5)
    return Buffer.from(writer.toBytes())
  }
  const drain = () => {
    while (server.poll(0) !== undefined);
  }
  const feed = (connection, bytes) => server.handle(0, { kind: 'chunk', connection, bytes })
  const connect = (connection) => {
    server.handle(0, { kind: 'opened', connection, from: { peer: 'bench', listener: 'mqtt' } })
    const who = { clientId: `c${connection}`, cleanStart: true, keepAlive: 0, will: undefined, username: undefined }
    feed(connection, encode({ type: 1, protocolVersion: 5, bridge: false, ...who, password: undefined, properties: {} }))
  }
  for (let i = 0; i < subscribers; i++) {
    connect(i + 1)
    const request = { filter: 'bench/#', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }
    const properties = conditionOf === undefined ? {} : { userProperties: [['filter', conditionOf(i)]] }
    feed(i + 1, encode({ type: 8, packetId: 1, subscriptions: [request], properties }))
    drain()
  }
  connect(subscribers + 1)
  drain()
  const chunk = Buffer.concat(Array.from({ length: 8 }, () => encode(Publish.of('bench/topic/0', JSON_200))))
  return {
    conditions: server.broker.conditions,
    /** Microseconds of CPU for a message. */
    run(messages) {
      const cpu = process.cpuUsage()
      for (let sent = 0; sent < messages; sent += 8) {
        feed(subscribers + 1, Buffer.from(chunk))
        drain()
      }
      const { user, system } = process.cpuUsage(cpu)
      return (user + system) / messages
    },
  }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]

/** Each in turn, in both orders; tells the medians, and the median of the ratios to the first one. */
function compare(kinds, messages) {
  const times = new Map(Object.keys(kinds).map((name) => [name, []]))
  for (let round = -1; round < ROUNDS; round++) {
    const names = round % 2 === 0 ? Object.keys(kinds) : Object.keys(kinds).toReversed()
    for (const name of names) {
      const time = kinds[name].run(messages)
      if (round >= 0) times.get(name).push(time)
    }
  }
  const [[, first]] = times
  for (const [name, all] of times) {
    const ratio = median(all.map((time, i) => time / first[i]))
    process.stdout.write(`${name.padEnd(58)} ${median(all).toFixed(2).padStart(8)} us  ${ratio.toFixed(3)}\n`)
  }
}

const half = (i) => `json.temperature > ${i % CONDITIONS}.0`
const long = (i) => `has(json.humidity) && json.temperature > ${i % CONDITIONS}.0 && json.device.startsWith("sensor-")`
const kinds = {
  '1,000 subscribers without conditions': await site('../dist', SUBSCRIBERS),
  '500 subscribers without conditions': await site('../dist', SUBSCRIBERS / 2),
  '1,000 with 50 conditions, half of which pass': await site('../dist', SUBSCRIBERS, half),
  '1,000 with 50 conditions of three parts, half of which pass': await site('../dist', SUBSCRIBERS, long),
  '1,000 with 50 conditions, none of which passes': await site(
    '../dist',
    SUBSCRIBERS,
    (i) => `json.temperature > ${100 + (i % CONDITIONS)}.0`,
  ),
  '1,000 with one condition, which passes': await site('../dist', SUBSCRIBERS, () => 'json.temperature > 0.0'),
}
compare(kinds, 400)
for (const [name, { conditions }] of Object.entries(kinds)) {
  const { evaluated } = conditions.stats
  if (evaluated > 0) process.stdout.write(`${name}: ${(evaluated / (400 * (ROUNDS + 1))).toFixed(1)} evaluations for a message\n`)
}
if (values.beside !== undefined) {
  for (const subscribers of [1, 50]) {
    process.stdout.write(`${subscribers} without conditions, and the same in ${values.beside}\n`)
    const here = await site('../dist', subscribers)
    const there = await site(values.beside, subscribers)
    compare({ beside: there, here }, subscribers === 1 ? 20_000 : 2000)
  }
}
