// What the core costs per message, without sockets: chunks go into the very `Server` that production runs, and its writes are dropped.
// `npm run bench` prints nanoseconds of CPU per delivered message; NOTES.md says how that compares with other brokers over real sockets.
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { ByteWriter } from '../dist/base/bytes.js'
import { encodePacket } from '../dist/mqtt/encode.js'
import { Publish } from '../dist/mqtt/publish.js'
import { Server } from '../dist/server.js'
import { MemoryStore } from '../dist/store/store.js'

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '1' }, only: { type: 'string' } } })
const SECONDS = Number(values.seconds)
const PAYLOAD = new Uint8Array(64).fill(120)

const encode = (packet, version = 4) => {
  const writer = new ByteWriter()
  encodePacket(writer, packet, version)
  return Buffer.from(writer.toBytes())
}

class Bench {
  #next = 1
  bytesOut = 0

  constructor() {
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
    this.server = new Server({ gateway, store: new MemoryStore(), clock: { epoch: 0 }, notice: () => {}, random: () => 0.5 })
  }

  connect(clientId, version) {
    const connection = this.#next++
    this.server.handle(0, { kind: 'opened', connection, from: { peer: 'bench', listener: 'mqtt' } })
    const connect = {
      type: 1,
      protocolVersion: version,
      bridge: false,
      clientId,
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: {},
    }
    this.feed(connection, encode(connect, version))
    return connection
  }

  subscribe(connection, filter, qos, version) {
    const request = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
    this.feed(connection, encode({ type: 8, packetId: 1, subscriptions: [request], properties: {} }, version))
  }

  feed(connection, bytes) {
    this.server.handle(0, { kind: 'chunk', connection, bytes })
  }

  drain(each) {
    for (let out = this.server.poll(0); out !== undefined; out = this.server.poll(0)) {
      if (out.kind !== 'write') continue
      this.bytesOut += out.bytes.length
      each?.(out)
    }
  }
}

/** Publishers, subscribers, messages per chunk: every subscriber gets every message. */
const scenarios = {
  '1to1-q0': { publishers: 1, subscribers: 1, batch: 64, qos: 0, version: 4 },
  '1to1-q0-v5': { publishers: 1, subscribers: 1, batch: 64, qos: 0, version: 5 },
  'fanout50-q0': { publishers: 1, subscribers: 50, batch: 16, qos: 0, version: 4 },
  'mesh20-q0': { publishers: 20, subscribers: 20, batch: 8, qos: 0, version: 4 },
  '1to1-q0-unbatched': { publishers: 1, subscribers: 1, batch: 1, qos: 0, version: 4 },
  '1to1-q1': { publishers: 1, subscribers: 1, batch: 16, qos: 1, version: 4 },
}

function run({ publishers, subscribers, batch, qos, version }) {
  const bench = new Bench()
  const from = Array.from({ length: publishers }, (_, i) => bench.connect(`p${i}`, version))
  const to = Array.from({ length: subscribers }, (_, i) => bench.connect(`s${i}`, version))
  for (const connection of to) bench.subscribe(connection, 'bench/#', qos, version)
  bench.drain()
  const chunk = Buffer.concat(
    Array.from({ length: batch }, (_, i) =>
      encode(Publish.of('bench/topic/0', PAYLOAD, qos, false, qos === 0 ? 0 : i + 1), version),
    ),
  )
  // A subscriber acknowledges whatever it got: the ids count up from 1 and never wrap within its window.
  let nextId = 1
  const acks = Buffer.alloc(batch * 4)
  const acknowledge = () => {
    for (let i = 0; i < batch; i++) {
      acks.set([0x40, 2, nextId >> 8, nextId & 255], i * 4)
      nextId = nextId === 65_535 ? 1 : nextId + 1
    }
    for (const connection of to) bench.feed(connection, Buffer.from(acks))
  }
  const round = () => {
    // Every read brings a buffer of its own.
    for (const connection of from) bench.feed(connection, Buffer.from(chunk))
    bench.drain()
    if (qos > 0) {
      acknowledge()
      bench.drain()
    }
  }
  for (const end = performance.now() + 300; performance.now() < end; ) round()
  const cpu = process.cpuUsage()
  let rounds = 0
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end; rounds++) round()
  const { user, system } = process.cpuUsage(cpu)
  const delivered = rounds * publishers * batch * subscribers
  return { delivered, nanoseconds: ((user + system) * 1000) / delivered }
}

for (const [name, scenario] of Object.entries(scenarios)) {
  if (values.only !== undefined && values.only !== name) continue
  const { delivered, nanoseconds } = run(scenario)
  process.stdout.write(`${name.padEnd(20)} ${nanoseconds.toFixed(0).padStart(6)} ns CPU per delivery  (${delivered} delivered)\n`)
}
