// What it costs to look on: delivered messages per CPU-second of a started process that is scraped each second (/metrics), with an event stream and a
// trace of one client open, against one that nobody looks at. Both run all the time, and are loaded in turn (A B B A), each with publishers that have
// one subscriber each, with so many messages on their way that nothing waits. `node bench/scrape.mjs [--rounds 11] [--seconds 2] [--qos 0]` prints each
// round, and the median of the ratios. Linux.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { get } from 'node:http'
import { connect } from 'node:net'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '11' },
    seconds: { type: 'string', default: '2' },
    qos: { type: 'string', default: '0' },
    /** Looks at neither, to see what the machine makes of two equal processes. */
    idle: { type: 'boolean', default: false },
  },
})
const SECONDS = Number(values.seconds)
const QOS = Number(values.qos)
const PAIRS = 20
/** Messages of a publisher on their way. */
const WINDOW = 32
const WARM_UP_SECONDS = 8
const PAYLOAD = Buffer.alloc(64, 120)
const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url))

const string = (text) => Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)])
const packet = (type, ...parts) => {
  const body = Buffer.concat(parts)
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7]
  return Buffer.concat([Buffer.from([type, ...length]), body])
}
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** An MQTT 3.1.1 client, once it is connected. */
async function client(port, clientId) {
  const socket = connect(port, '127.0.0.1').setNoDelay(true)
  socket.write(packet(0x10, string('MQTT'), Buffer.from([4, 2, 0, 0]), string(clientId)))
  await new Promise((resolve) => socket.once('data', resolve))
  return socket
}

/** A publisher and its subscriber. For a message that arrives the next one leaves, while `isOn`. */
class Pair {
  delivered = 0
  isOn = false
  #waiting = 0

  static async open(port, number) {
    const [from, to] = [await client(port, `publisher-${number}`), await client(port, `subscriber-${number}`)]
    const topic = string(`site/${number}/value`)
    to.write(packet(0x82, Buffer.from([0, 1]), topic, Buffer.from([0])))
    await new Promise((resolve) => to.once('data', resolve))
    return new Pair(from, to, topic)
  }

  constructor(from, to, topic) {
    this.from = from
    const id = QOS === 0 ? Buffer.alloc(0) : Buffer.from([0, 1])
    this.message = packet(0x30 | (QOS << 1), topic, id, PAYLOAD)
    // It is delivered with QoS 0, so that all packets have the same length.
    const { length } = packet(0x30, topic, PAYLOAD)
    let bytes = 0
    to.on('data', (chunk) => {
      bytes += chunk.length
      const count = Math.floor(bytes / length)
      bytes %= length
      this.delivered += count
      this.#waiting -= count
      this.fill()
    })
  }

  fill() {
    if (!this.isOn) return
    const count = WINDOW - this.#waiting
    this.#waiting = WINDOW
    if (count > 0) this.from.write(Buffer.concat(Array.from({ length: count }, () => this.message)))
  }
}

/** A started Roost. */
class Roost {
  static async start() {
    const args = [MAIN, 'serve', '--memory', '--port', '0', '--sn-port', '0', '--http-port', '0', '--log-level', 'info']
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let log = ''
    child.stdout.on('data', (chunk) => {
      log += chunk
    })
    const portOf = async (pattern) => {
      while (!pattern.test(log)) await pause(20)
      return Number(pattern.exec(log)[1])
    }
    const roost = new Roost()
    roost.child = child
    roost.http = await portOf(/HTTP on http:\/\/127\.0\.0\.1:(\d+)/)
    const port = await portOf(/tcp:\/\/127\.0\.0\.1:(\d+)/)
    roost.pairs = []
    for (let i = 0; i < PAIRS; i++) roost.pairs.push(await Pair.open(port, i))
    roost.traced = await client(port, 'traced')
    return roost
  }

  /** Seconds of CPU time of all threads. */
  get cpu() {
    const tasks = `/proc/${this.child.pid}/task`
    return (
      readdirSync(tasks).reduce(
        (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]),
        0,
      ) / 1e9
    )
  }

  get delivered() {
    return this.pairs.reduce((sum, { delivered }) => sum + delivered, 0)
  }

  /** Messages per CPU-second while it is loaded. */
  async measure(seconds) {
    for (const pair of this.pairs) {
      pair.isOn = true
      pair.fill()
    }
    await pause(100)
    const [cpu, delivered] = [this.cpu, this.delivered]
    await pause(seconds * 1000)
    const rate = (this.delivered - delivered) / (this.cpu - cpu)
    for (const pair of this.pairs) pair.isOn = false
    await pause(100)
    return rate
  }

  /** Looks on from now on, and returns what has been seen. */
  lookOn() {
    const seen = { scrapes: 0, trace: 0, events: 0 }
    const ask = (path, onData, onEnd = () => {}) =>
      get({ port: this.http, host: '127.0.0.1', path }, (response) => response.on('data', onData).on('end', onEnd)).on(
        'error',
        () => {},
      )
    setInterval(
      () =>
        ask(
          '/metrics',
          () => {},
          () => seen.scrapes++,
        ),
      1000,
    ).unref()
    ask('/api/v1/events', () => seen.events++)
    ask('/api/v1/trace?client=traced', () => seen.trace++)
    // What is traced, and a notice now and then.
    setInterval(() => this.traced.write(packet(0x30, string('traced/value'), PAYLOAD)), 1000).unref()
    return seen
  }
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1]

const [watched, alone] = [await Roost.start(), await Roost.start()]
const seen = values.idle ? undefined : watched.lookOn()
for (const roost of [watched, alone]) await roost.measure(WARM_UP_SECONDS)
const began = performance.now()
const rates = []
for (let round = 0; round < Number(values.rounds); round++) {
  const order = round % 2 === 0 ? [watched, alone] : [alone, watched]
  const measured = new Map()
  for (const roost of order) measured.set(roost, await roost.measure(SECONDS))
  rates.push([measured.get(watched), measured.get(alone)])
  const [one, other] = rates.at(-1)
  process.stdout.write(`watched ${one.toFixed(0)}, alone ${other.toFixed(0)} messages per CPU-s: ${(one / other).toFixed(3)}\n`)
}
const ratios = rates.map(([one, other]) => one / other)
const sorted = ratios.toSorted((a, b) => a - b).map((ratio) => ratio.toFixed(3))
process.stdout.write(
  `median ${median(ratios).toFixed(3)} (${sorted[0]} to ${sorted.at(-1)}) of ${ratios.length} alternations, QoS ${QOS}, in ${((performance.now() - began) / 1000).toFixed(0)} s; ` +
    `medians ${median(rates.map(([one]) => one)).toFixed(0)} and ${median(rates.map(([, other]) => other)).toFixed(0)}\n`,
)
if (seen !== undefined)
  process.stdout.write(`seen: ${seen.scrapes} scrapes, ${seen.trace} pieces of the trace, ${seen.events} of events\n`)
for (const { child } of [watched, alone]) child.kill('SIGKILL')
process.exit(seen !== undefined && (seen.scrapes === 0 || seen.trace === 0) ? 1 : 0)
