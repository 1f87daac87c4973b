// What benchmarks with many sleeping sensors share: the started Roost that is measured, the generator that is the sensors, and what
// is printed of them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { built } from './load/build.mjs'
import { startFlags } from './start-flags.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MAIN = join(ROOT, 'dist/main.js')
const PROBE = new URL('probe.mjs', import.meta.url).href
const FORWARDERS = 16
export const MIB = 2 ** 20

export class UsageError extends Error {}

/** Reads the command line. `numbers`: options with a number, and their defaults; `others`: as for `parseArgs`. @throws UsageError */
export function optionsOf(numbers, others) {
  const texts = Object.fromEntries(Object.keys(numbers).map((name) => [name, { type: 'string' }]))
  let values
  try {
    values = parseArgs({ options: { ...texts, ...others, help: { type: 'boolean' } } }).values
  } catch (error) {
    throw new UsageError(error.message.split('\n')[0])
  }
  for (const [name, otherwise] of Object.entries(numbers)) {
    const value = values[name] === undefined ? otherwise : Number(values[name])
    if (value !== undefined && !(value > 0 && value <= 4e6))
      throw new UsageError(`--${name} ${values[name]}: not a number from 1 to 4000000`)
    values[name] = value
  }
  return values
}

/** The process under test, asked through bench/probe.mjs. */
export class Roost {
  /** `serve`: its arguments besides ports and log. `flags`: of Node.js, besides those of `npm start`. */
  constructor(serve, flags = []) {
    const ports = '--port 0 --sn-port 0 --http-port 0 --log-format json'.split(' ')
    const node = [...startFlags(ROOT), ...flags, '--expose-gc', '--import', PROBE, MAIN, 'serve', ...ports, ...serve]
    this.child = spawn(process.execPath, node, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    process.once('exit', () => this.child.kill('SIGKILL'))
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

/** The generator: bench/load/sleepers.c. */
export class Sensors {
  /** `brokerPort`: where it publishes. `more`: other arguments of it. */
  constructor({ sensors, rate, 'at-a-time': atATime }, roost, brokerPort, more) {
    const argv = `-n ${sensors} -p ${roost.snPort} -P ${brokerPort} -F ${FORWARDERS} -C ${atATime} -r ${rate}`.split(' ')
    this.child = spawn(built('sleepers'), [...argv, ...more], { stdio: ['pipe', 'pipe', 'inherit'] })
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

export const print = (phase, text) => process.stdout.write(`${phase.padEnd(10)}${text}\n`)
export const count = (number) => Math.round(number).toLocaleString('en')
export const mib = (bytes) => `${count(bytes / MIB)} MiB`
export const milliseconds = ({ p50, p99, p999, max }) =>
  `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, p99.9 ${p999.toFixed(1)} ms, max ${max.toFixed(1)} ms`

/** Has the generator run one phase. Prints what Roost's threads had of the CPUs meanwhile, and its longest pause. */
export async function run(command, roost, sensors, describe) {
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

/** Promises that are not kept. */
export class Expectations {
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

/** Runs a benchmark named `npm run NAME`, whose exit code says how it ended. */
export async function main(name, benchmark) {
  try {
    const failures = await benchmark()
    for (const failure of failures) process.stderr.write(`failed: ${failure}\n`)
    process.exitCode = failures.length === 0 ? 0 : 1
  } catch (error) {
    process.stderr.write(`${name}: ${error.message}\n`)
    process.exitCode = error instanceof UsageError ? 2 : 1
  }
}
