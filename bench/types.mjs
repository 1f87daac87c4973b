// What types cost per message: CPU of the very `Server` that production runs, without sockets, in one process, the kinds in turn.
// `node bench/types.mjs [--rounds 15]`, after `npm run build`. NOTES.md has the results.
import process from 'node:process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    messages: { type: 'string', default: '40000' },
    /** Another `dist` to compare with, without types. */
    beside: { type: 'string' },
  },
})
const ROUNDS = Number(values.rounds)
const MESSAGES = Number(values.messages)

const JSON_200 = Buffer.from(
  JSON.stringify({
    device: 'sensor-0042',
    at: '2026-12-01T12:00:00Z',
    temperature: 21.5,
    humidity: 48,
    battery: 3.02,
    position: { lat: 52.52, lon: 13.405 },
    tags: ['greenhouse', 'north'],
    status: 'ok',
    sequence: 123456,
  }).padEnd(200, ' '),
)
const BINARY_16 = Buffer.from('0a28 00d7 01f4 42 80 0000000000012345'.replaceAll(' ', ''), 'hex')
const SCHEMA = {
  type: 'object',
  properties: {
    device: { type: 'string', maxLength: 40 },
    at: { type: 'string', format: 'date-time' },
    temperature: { type: 'number', minimum: -50, maximum: 100 },
    humidity: { type: 'number', minimum: 0, maximum: 100 },
    battery: { type: 'number' },
    position: { type: 'object', required: ['lat', 'lon'], properties: { lat: { type: 'number' }, lon: { type: 'number' } } },
    tags: { type: 'array', items: { type: 'string' }, maxItems: 10 },
    status: { enum: ['ok', 'fault'] },
    sequence: { type: 'integer' },
  },
  required: ['device', 'temperature'],
  additionalProperties: false,
}
const FIELDS = [
  { kind: 'uint16', name: 'moisture', scale: 0.01 },
  { kind: 'int16', name: 'temperature', scale: 0.1 },
  { kind: 'uint16', name: 'light' },
  { kind: 'bits', name: 'valve', size: 2, values: new Map([[0, 'closed'], [1, 'open']]) },
  { kind: 'bits', name: 'battery', size: 6, scale: 0.1 },
  { kind: 'uint8', name: 'flags' },
  { kind: 'uint64', name: 'sequence' },
]

const url = (dist, path) => new URL(`${dist}/${path}`, import.meta.url)

/** One publisher with QoS 0, one subscriber, of the code in this `dist`. */
async function site(dist, topic, payload, content, properties) {
  const { ByteWriter } = await import(url(dist, 'base/bytes.js'))
  const { encodePacket } = await import(url(dist, 'mqtt/encode.js'))
  const { Publish } = await import(url(dist, 'mqtt/publish.js'))
  const { Server } = await import(url(dist, 'server.js'))
  const { MemoryStore } = await import(url(dist, 'store/store.js'))
  const gateway = { gatewayId: 1, tRetryMs: 10_000, nRetry: 3, sessionExpirySeconds: Infinity, maxSessions: 10, predefinedTopics: [] }
  const options = { store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 }
  const server = new Server({ gateway: { ...gateway, maxDatagram: 65_535, maxIdleMs: 0, topicsPerClient: 10 }, ...options, content })
  const encode = (packet) => {
    const writer = new ByteWriter()
    encodePacket(writer, packet, 5)
    return Buffer.from(writer.toBytes())
  }
  const feed = (connection, bytes) => server.handle(0, { kind: 'chunk', connection, bytes })
  const drain = () => {
    let bytes = 0
    for (let out = server.poll(0); out !== undefined; out = server.poll(0)) if (out.kind === 'write') bytes += out.bytes.length
    return bytes
  }
  for (const [connection, clientId] of [[1, 'pub'], [2, 'sub']]) {
    server.handle(0, { kind: 'opened', connection, from: { peer: 'bench', listener: 'mqtt' } })
    const connect = { type: 1, protocolVersion: 5, bridge: false, clientId, cleanStart: true, keepAlive: 0, properties: {} }
    feed(connection, encode(connect))
    drain()
  }
  const request = { filter: '#', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 }
  feed(2, encode({ type: 8, packetId: 1, subscriptions: [request], properties: {} }))
  drain()
  const one = encode(Publish.of(topic, payload, 0, false, 0, properties))
  const chunk = Buffer.concat(Array.from({ length: 20 }, () => one))
  return () => {
    const before = process.cpuUsage()
    let bytes = 0
    for (let i = 0; i < MESSAGES / 20; i++) {
      feed(1, chunk)
      bytes += drain()
    }
    const { user, system } = process.cpuUsage(before)
    if (bytes < MESSAGES * payload.length) throw new Error('not everything was delivered')
    return ((user + system) * 1000) / MESSAGES
  }
}

async function contentOf(type) {
  const { LayoutBuilder } = await import(url('../dist', 'filters/binary-layout.js'))
  const { openContent } = await import(url('../dist', 'process/content.js'))
  const builder = new LayoutBuilder()
  for (const field of FIELDS) builder.add(field)
  const kinds = {
    named: {},
    described: { contentType: 'application/json' },
    schema: { schema: { value: SCHEMA, placeOf: (pointer) => pointer } },
    layout: { layout: builder.finish('big') },
  }
  const definition = { name: type, topics: ['site/+/t'], invalid: 'refuse', invalidMqtt3: 'acknowledge', ...kinds[type] }
  return (await openContent({ types: [definition] })).check
}

const kinds = {
  'off, JSON': await site('../dist', 'site/a/t', JSON_200),
  'off, binary': await site('../dist', 'site/a/t', BINARY_16),
  'another topic has a type': await site('../dist', 'other', JSON_200, await contentOf('schema')),
  'type without content': await site('../dist', 'site/a/t', JSON_200, await contentOf('named')),
  'content type added': await site('../dist', 'site/a/t', JSON_200, await contentOf('described')),
  'content type of the publisher': await site('../dist', 'site/a/t', JSON_200, undefined, { contentType: 'application/json' }),
  'schema, 200 bytes of JSON': await site('../dist', 'site/a/t', JSON_200, await contentOf('schema')),
  'layout, 16 bytes': await site('../dist', 'site/a/t', BINARY_16, await contentOf('layout')),
}
if (values.beside !== undefined) {
  const kept = kinds['off, JSON']
  kinds['off, JSON, again'] = await site('../dist', 'site/a/t', JSON_200)
  kinds['the other dist, JSON'] = await site(values.beside, 'site/a/t', JSON_200)
  kinds['the other dist, JSON, again'] = await site(values.beside, 'site/a/t', JSON_200)
  kinds['off, JSON'] = kept
}
const names = Object.keys(kinds)
const found = Object.fromEntries(names.map((name) => [name, []]))
for (let round = -3; round < ROUNDS; round++)
  for (const name of round % 2 === 0 ? names : names.toReversed()) {
    const ns = kinds[name]()
    if (round >= 0) found[name].push(ns)
  }
for (const name of names) {
  const sorted = found[name].toSorted((a, b) => a - b)
  const [least, median] = [sorted[0], sorted[sorted.length >> 1]]
  process.stdout.write(`${name.padEnd(30)} ${Math.round(median)} ns a message (least ${Math.round(least)})\n`)
}
