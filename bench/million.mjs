// Sleeping sensors in one process: N sensors with a topic of their own connect behind forwarders and fall asleep, messages are buffered for one in a
// hundred, and all are woken at a steady rate, whether or not it keeps up. `npm run bench:million -- --help`. Needs gcc, on Linux.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { getHeapStatistics } from 'node:v8'
import { built } from './load/build.mjs'
import { startFlags } from './start-flags.mjs'

const HELP = `npm run bench:million -- [options]
  --sensors N             sensors (default 1000000)
  --rate N                wakes a second (default 5000)
  --messages N            messages buffered for one sensor in a hundred (default 10); each other sensor gets one
  --store DIR             with the durable store in DIR, which must be empty or new, and a restart at the end; otherwise in memory
  --at-a-time N           sensors that are connecting at a time (default 256)
  --heap-mib N            V8's heap limit for Roost (default: Node's own)
  --max-rss-mib N         exit code 1 if the resident memory of all sleeping sensors is larger, after a collection
  --max-wake-p99-ms N     exit code 1 if the p99 of a wake that drains one message is longer
  --max-pause-ms N        exit code 1 if the event loop pauses for longer, at any time
  --max-start-seconds N   exit code 1 if the restart takes longer (with --store)
A lost message is always exit code 1.
`
const FORWARDERS = 16
const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MAIN = join(ROOT, 'dist/main.js')
const PROBE = new URL('probe.mjs', import.meta.url).href
const MIB = 2 ** 20

class UsageError extends Error {}

const NUMBERS = {
  sensors: 1_000_000,
  rate: 5000,
  messages: 10,
  'at-a-time': 256,
  'heap-mib': undefined,
  'max-rss-mib': undefined,
  'max-wake-p99-ms': undefined,
  'max-pause-ms': undefined,
  'max-start-seconds': undefined,
}

function parseOptions() {
  const numbers = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, { type: 'string' }]))
  let values
  try {
    values = parseArgs({ options: { ...numbers, store: { type: 'string' }, help: { type: 'boolean' } } }).values
  } catch (error) {
    throw new UsageError(error.message.split('\n')[0])
  }
  for (const [name, otherwise] of Object.entries(NUMBERS)) {
    const value = values[name] === undefined ? otherwise : Number(values[name])
    if (value !== undefined && !(value > 0 && value <= 4e6))
      throw new UsageError(`--${name} ${values[name]}: not a number from 1 to 4000000`)
    values[name] = value
  }
  if (values.messages > 100) throw new UsageError('--messages: at most 100, which one wake may drain')
  if (values['max-start-seconds'] !== undefined && values.store === undefined)
    throw new UsageError('--max-start-seconds needs --store')
  if (values.store !== undefined) {
    mkdirSync(values.store, { recursive: true })
    if (readdirSync(values.store).length > 0) throw new UsageError(`--store ${values.store}: not empty`)
  }
  return values
}

/** The process under test, asked through bench/probe.mjs. */
class Roost {
  constructor(options) {
    const { store, sensors } = options
    const flags = startFlags(ROOT)
    if (options['heap-mib'] !== undefined) flags.push(`--max-old-space-size=${options['heap-mib']}`)
    const heapMib = options['heap-mib'] ?? getHeapStatistics().heap_size_limit / MIB
    // All sensors have one address, and more memory than the default share is theirs.
    const memory = Math.round(heapMib * MIB * 0.9)
    const shares = `--memory-limit ${memory} --max-memory-per-address ${memory}`
    const limits = `--max-sn-sessions ${sensors + 1000} --max-sessions-per-address ${sensors + 1000}`
    const serve = `serve --port 0 --sn-port 0 --http-port 0 --log-format json ${shares} ${limits}`.split(' ')
    const state = store === undefined ? ['--memory'] : ['--data-dir', store]
    const node = [...flags, '--expose-gc', '--import', PROBE, MAIN, ...serve, ...state]
    this.child = spawn(process.execPath, node, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    this.ended = once(this.child, 'exit')
    this.began = performance.now()
  }

  /** Resolves when it listens, with the seconds that it took. */
  async listening() {
    const lines = createInterface({ input: this.child.stdout })
    lines.on('line', (text) => {
      const { level, msg, mqtt, sn } = JSON.parse(text)
      this.port = mqtt?.port ?? this.port
      this.snPort = sn?.port ?? this.snPort
      if (level === 'error' || level === 'warn') process.stderr.write(`${msg}\n`)
    })
    while (this.port === undefined || this.snPort === undefined) {
      await Promise.race([once(lines, 'line'), this.ended])
      if (this.child.exitCode !== null || this.child.signalCode !== null) throw new Error('Roost ended while it started')
    }
    return (performance.now() - this.began) / 1000
  }

  async ask(question) {
    this.child.send(question)
    const answer = await Promise.race([
      once(this.child, 'message'),
      this.ended.then(([code, signal]) => `ended with ${code ?? signal}`),
    ])
    if (typeof answer === 'string') throw new Error(`Roost ${answer}`)
    return answer[0]
  }

  /** Seconds that its main thread and all its other threads ran, and waited for a CPU. */
  scheduled() {
    const main = { ran: 0, waited: 0 }
    const others = { ran: 0, waited: 0 }
    for (const thread of readdirSync(`/proc/${this.child.pid}/task`)) {
      const [ran, waited] = readFileSync(`/proc/${this.child.pid}/task/${thread}/schedstat`, 'utf8').split(' ')
      const sum = Number(thread) === this.child.pid ? main : others
      sum.ran += ran / 1e9
      sum.waited += waited / 1e9
    }
    return { main, others }
  }

  /** Datagrams that the kernel has dropped, because the socket's buffer was full. */
  dropped() {
    const port = `:${this.snPort.toString(16).toUpperCase().padStart(4, '0')}`
    const sockets = ['udp', 'udp6'].flatMap((table) => readFileSync(`/proc/net/${table}`, 'utf8').split('\n'))
    const own = sockets.map((line) => line.trim()).filter((line) => line.split(': ')[1]?.split(' ')[0].endsWith(port))
    return own.reduce((sum, line) => sum + Number(line.split(/\s+/).at(-1)), 0)
  }

  async stop() {
    this.child.kill()
    await this.ended
  }
}

class Sensors {
  constructor({ sensors, rate, messages, 'at-a-time': atATime }, roost) {
    const ports = `-p ${roost.snPort} -P ${roost.port} -F ${FORWARDERS}`
    const argv = `-n ${sensors} ${ports} -C ${atATime} -r ${rate} -m ${messages}`.split(' ')
    this.child = spawn(built('sleepers'), argv, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.ended = once(this.child, 'exit').then(([code, signal]) => {
      throw new Error(`the generator ended with ${code ?? signal}`)
    })
    this.ended.catch(() => {})
    this.lines = createInterface({ input: this.child.stdout })
  }

  async tell(command) {
    this.child.stdin.write(`${command}\n`)
    const [line] = await Promise.race([once(this.lines, 'line'), this.ended])
    return JSON.parse(line)
  }
}

const print = (phase, text) => process.stdout.write(`${phase.padEnd(10)}${text}\n`)
const count = (number) => Math.round(number).toLocaleString('en')
const mib = (bytes) => `${count(bytes / MIB)} MiB`
const milliseconds = ({ p50, p99, p999, max }) =>
  `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, p99.9 ${p999.toFixed(1)} ms, max ${max.toFixed(1)} ms`

/** Has the generator run one phase. Prints what Roost's threads had of the CPUs meanwhile, and its longest pause. */
async function run(command, roost, sensors, describe) {
  await roost.ask('pauses')
  const before = { ...roost.scheduled(), dropped: roost.dropped() }
  const answer = await sensors.tell(command)
  const after = { ...roost.scheduled(), dropped: roost.dropped() }
  const { longestPauseMs, longestRunMs } = await roost.ask('pauses')
  const [main, others] = ['main', 'others'].map((threads) => {
    const ran = after[threads].ran - before[threads].ran
    return { ran, text: `ran ${ran.toFixed(1)} s, waited ${(after[threads].waited - before[threads].waited).toFixed(1)} s` }
  })
  print(command, `${answer.seconds.toFixed(1)} s; ${describe(answer, main.ran + others.ran)}`)
  print('', `main thread ${main.text} for a CPU; other threads ${others.text}`)
  const dropped = after.dropped - before.dropped
  const pauses = `longest pause ${longestPauseMs.toFixed(0)} ms, longest CPU time in a pause ${longestRunMs.toFixed(0)} ms`
  print('', `${pauses}; ${dropped} datagrams dropped by the kernel`)
  return { ...answer, longestPauseMs }
}

async function measure(options, expect) {
  const { sensors: wanted, store, messages } = options
  const state = store === undefined ? 'in memory' : `store in ${store}`
  print('start', `${count(wanted)} sensors, ${state}; ${cpus().length} cores, Node.js ${process.versions.node}`)
  const roost = new Roost(options)
  let sensors
  try {
    await roost.listening()
    const empty = await roost.ask('collect')
    sensors = new Sensors(options, roost)
    const connected = await run('connect', roost, sensors, ({ asleep, retried, seconds }, ran) => {
      const rates = `${count(asleep / seconds)} a second, ${count(asleep / ran)} a CPU second`
      return `${count(asleep)} asleep, ${rates}, ${retried} requests sent again`
    })
    if (connected.asleep < wanted)
      throw new Error(`only ${connected.asleep} sensors fell asleep, ${connected.refused} were refused`)
    const buffered = await run('buffer', roost, sensors, (answer) => `${count(answer.buffered)} messages`)
    expect.that(
      buffered.acknowledged === buffered.buffered,
      `${buffered.buffered - buffered.acknowledged} messages not acknowledged`,
    )

    const resting = await roost.ask('collect')
    const each = (part) => count((resting[part] - empty[part]) / wanted)
    print(
      'memory',
      `RSS ${mib(resting.rss)}, heap ${mib(resting.heapUsed)}, outside it ${mib(resting.external)}, after a collection`,
    )
    print('', `each sensor ${each('rss')} bytes of RSS, ${each('heapUsed')} of heap`)
    expect.atMost('max-rss-mib', resting.rss / MIB, 'RSS in MiB')

    const woken = await run('wake', roost, sensors, ({ woken, retried, behindMs, loadUse }) => {
      const load = `the generator used ${(100 * loadUse).toFixed(0)} % of a core and was at most ${behindMs.toFixed(0)} ms late`
      return `${count(woken)} woken, ${retried} requests sent again; ${load}`
    })
    print('', `one message: ${milliseconds(woken.single)}`)
    if (woken.long.count > 0) print('', `${messages} messages: ${milliseconds(woken.long)}`)
    const { expected, lost, misplaced, repeated, late } = woken
    print(
      'messages',
      `${count(expected)} expected, ${lost} lost, ${misplaced} misplaced, ${repeated} received twice, ${late} late for their wake`,
    )
    expect.that(woken.woken === wanted, `${wanted - woken.woken} sensors were not answered`)
    expect.that(lost === 0 && misplaced === 0, `${lost} messages lost, ${misplaced} misplaced`)
    expect.atMost('max-wake-p99-ms', woken.single.p99, 'p99 of a wake in ms')
    const pauses = [connected, buffered, woken].map(({ longestPauseMs }) => longestPauseMs)
    expect.atMost('max-pause-ms', Math.max(...pauses), 'longest pause in ms')
  } finally {
    sensors?.child.kill()
    await roost.stop()
  }
}

async function restart(options, expect) {
  const roost = new Roost(options)
  try {
    const seconds = await roost.listening()
    const { rss } = await roost.ask('collect')
    print('restart', `${seconds.toFixed(1)} s until it listened, RSS ${mib(rss)} after a collection`)
    expect.atMost('max-start-seconds', seconds, 'start in seconds')
  } finally {
    await roost.stop()
  }
}

/** Promises that are not kept. */
class Expectations {
  failures = []
  #options

  constructor(options) {
    this.#options = options
  }

  that(holds, otherwise) {
    if (!holds) this.failures.push(otherwise)
  }

  atMost(option, value, what) {
    const limit = this.#options[option]
    this.that(limit === undefined || value <= limit, `${what} ${value.toFixed(1)}, --${option} ${limit}`)
  }
}

try {
  const options = parseOptions()
  if (options.help) process.stdout.write(HELP)
  else {
    const expect = new Expectations(options)
    await measure(options, expect)
    if (options.store !== undefined) await restart(options, expect)
    for (const failure of expect.failures) process.stderr.write(`failed: ${failure}\n`)
    process.exitCode = expect.failures.length === 0 ? 0 : 1
  }
} catch (error) {
  process.stderr.write(`bench:million: ${error.message}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
