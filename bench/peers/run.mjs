// Roost beside other brokers and gateways: each is started fresh for every run, on one core, in turns (A B A B), and loaded from another core.
// `npm run bench:peers` writes docs/performance.md and its charts; docs/performance.md says how to read them. Needs gcc and taskset, on Linux.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { dirname } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { built } from '../load/build.mjs'
import { writePage, writeTables } from './page.mjs'
import { ALL, isSn, MQTT, SN } from './scenarios.mjs'
import { locate, Run, SYSTEMS } from './systems.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RESULTS = fileURLToPath(new URL('../results/peers.json', import.meta.url))
const TIME_LIMIT_S = 60
const HELP = `npm run bench:peers -- [options]
  --systems A,B        of ${Object.keys(SYSTEMS).join(', ')} (default: all that can be found)
  --scenarios A,B      names, or mqtt, sn, all; prints the tables only, unless --add is given (--list prints the names)
  --add                replaces these scenarios in the results of the run before, and writes the page
  --reps N             runs of each system in each scenario (default 3)
  --seconds S          measured time of a run, after half as much of warm-up (default 1.5)
  --quick              one run of 0.5 s each; prints the tables only
  --cores A,B          cores of the systems and of the load (default 0,1)
  --flashmq FILE, --rsmb FILE, --paho FILE, --mosquitto-new FILE
                       programs of peers (also FLASHMQ, RSMB, PAHO_GATEWAY, MOSQUITTO_NEW)
  --other DIR          another checkout of Roost that has been built
`

class UsageError extends Error {}

function options() {
  const text = { type: 'string' }
  const flag = { type: 'boolean' }
  const named = { systems: text, scenarios: text, reps: text, seconds: text, cores: text }
  const programs = { flashmq: text, rsmb: text, paho: text, 'mosquitto-new': text, other: text }
  try {
    return parseArgs({ options: { ...named, ...programs, add: flag, quick: flag, list: flag, help: flag } }).values
  } catch (error) {
    throw new UsageError(error.message.split('\n')[0])
  }
}

const positive = (name, text) => {
  const value = Number(text)
  if (!(value > 0 && value < 1000)) throw new UsageError(`--${name} ${text}: not a number above 0`)
  return value
}

function chosenScenarios(text) {
  const groups = { mqtt: Object.keys(MQTT), sn: Object.keys(SN), all: Object.keys(ALL) }
  const names = (text ?? 'mqtt,sn').split(',').flatMap((name) => groups[name] ?? [name])
  const unknown = names.find((name) => !Object.hasOwn(ALL, name))
  if (unknown !== undefined) throw new UsageError(`--scenarios: no scenario ${unknown} (--list prints them)`)
  return names
}

/** The systems to measure, Roost first, and one line about each that is missing. */
function chosenSystems(values) {
  const wanted =
    values.systems?.split(',') ?? Object.keys(SYSTEMS).filter((name) => name !== 'other' || values.other !== undefined)
  const unknown = wanted.find((name) => !Object.hasOwn(SYSTEMS, name))
  if (unknown !== undefined) throw new UsageError(`--systems: no system ${unknown}`)
  const systems = []
  const missing = []
  for (const name of new Set(['roost', ...wanted])) {
    let place
    try {
      place = locate(name, { ...values, roost: ROOT })
    } catch (error) {
      throw new UsageError(error.message)
    }
    if (place.path === undefined) missing.push(`${name} is left out: not found (${place.missing})\n`)
    else {
      const { title, setting, version } = SYSTEMS[name]
      systems.push({ name, path: place.path, title, setting, version: version(place.path) })
    }
  }
  process.stderr.write(missing.join(''))
  return systems
}

const canRun = (system, scenario) => {
  const { speaks, cannot = [] } = SYSTEMS[system]
  return speaks.includes(isSn(scenario) ? 'sn' : 'mqtt') && !cannot.includes(scenario)
}

/** One run: what the load generator reports, or `fail`. */
async function measure({ name, path }, scenario, { seconds, cores }) {
  const run = new Run(cores[0])
  try {
    await run.start(name, path)
    const [mode, ...rest] = ALL[scenario][0].split(' ')
    const ports = isSn(scenario) ? ['-p', run.ports.sn, '-P', run.ports.mqtt] : ['-p', run.ports.mqtt]
    const timed = ['flow', 'pub', 'sub', 'sn2sn'].includes(mode) ? ['-d', seconds, '-w', seconds / 2] : []
    const argv = [
      built(isSn(scenario) ? 'snload' : 'mqttload'),
      mode,
      ...rest,
      ...timed,
      ...ports,
      '-x',
      run.pids.join(),
      '-T',
      TIME_LIMIT_S,
    ]
    const load = spawn('taskset', ['-c', cores[1], ...argv.map(String)], { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    load.stdout.on('data', (chunk) => (out += chunk))
    load.stderr.on('data', (chunk) => (err += chunk))
    const timer = setTimeout(() => load.kill('SIGKILL'), (TIME_LIMIT_S + 30) * 1000)
    await once(load, 'close')
    clearTimeout(timer)
    return out === '' ? { mode, fail: err.trim().split('\n')[0] || 'no answer' } : JSON.parse(out)
  } catch (error) {
    return { mode: ALL[scenario][0].split(' ')[0], fail: error.message }
  } finally {
    await run.stop()
  }
}

async function measureAll(systems, scenarios, { reps, ...settings }, save) {
  const results = {}
  for (const scenario of scenarios) {
    const able = systems.filter(({ name }) => canRun(name, scenario))
    const rows = Object.fromEntries(able.map(({ name }) => [name, []]))
    for (let rep = 0; rep < reps; rep++) {
      for (const system of rep % 2 === 0 ? able : able.toReversed()) {
        const row = { ...(await measure(system, scenario, settings)), load: loadavg()[0] }
        rows[system.name].push(row)
        const figures = Object.entries(row).filter(([key]) => key.endsWith('per_cpu_s') || key.startsWith('bytes_per'))
        const told = row.fail ?? figures.map(([key, value]) => `${key} ${Math.round(value)}`).join(', ')
        process.stderr.write(
          `${scenario.padEnd(20)} ${system.name.padEnd(16)} ${told}${row.lost > 0 ? `, ${row.lost} lost` : ''}\n`,
        )
      }
    }
    results[scenario] = rows
    save(results)
  }
  return results
}

/** Microseconds of a system call, getppid(). */
function systemCallUs() {
  const calls = 200_000
  const before = process.cpuUsage()
  for (let i = 0; i < calls; i++) void process.ppid
  const { user, system } = process.cpuUsage(before)
  return (user + system) / calls
}

async function main() {
  const values = options()
  if (values.help) return process.stdout.write(HELP)
  if (values.list)
    return process.stdout.write(
      Object.entries(ALL)
        .map(([name, [, words]]) => `${name.padEnd(20)} ${words}\n`)
        .join(''),
    )
  const scenarios = chosenScenarios(values.scenarios)
  const reps = values.quick ? 1 : Math.ceil(positive('reps', values.reps ?? '3'))
  const seconds = values.quick ? 0.5 : positive('seconds', values.seconds ?? '1.5')
  const cores = (values.cores ?? '0,1').split(',')
  if (cores.length !== 2 || !cores.every((core) => Number(core) < cpus().length))
    throw new UsageError(`--cores ${cores}: not two cores of this machine`)
  const systems = chosenSystems(values)
  if (spawnSync('taskset', ['--version']).error !== undefined) throw new Error('needs taskset (util-linux)')
  const writes = !values.quick && (values.scenarios === undefined || values.add)
  const before = values.add && existsSync(RESULTS) ? JSON.parse(readFileSync(RESULTS, 'utf8')) : { systems: [], results: {} }
  const about = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores, ${cpus()[0].model}`,
    kernel: release(),
    node: process.versions.node,
    systemCallUs: systemCallUs(),
    reps,
    seconds,
    systems: [...systems, ...before.systems.filter(({ name }) => !systems.some((each) => each.name === name))],
  }
  const results = await measureAll(systems, scenarios, { reps, seconds, cores }, (sofar) => {
    if (!writes) return
    mkdirSync(dirname(RESULTS), { recursive: true })
    writeFileSync(RESULTS, JSON.stringify({ ...about, results: { ...before.results, ...sofar } }))
  })
  const all = { ...about, results: { ...before.results, ...results } }
  if (writes) writePage(all, ROOT)
  else process.stdout.write(writeTables(all))
}

try {
  await main()
} catch (error) {
  process.stderr.write(`bench:peers: ${error.message}\n`)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
