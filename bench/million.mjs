// Sleeping sensors in one process: N sensors with a topic of their own connect behind forwarders and fall asleep, messages are buffered for one in a
// hundred, and all are woken at a steady rate, whether or not it keeps up. `npm run bench:million -- --help`. Needs gcc, on Linux.
import { mkdirSync, readdirSync } from 'node:fs'
import { cpus } from 'node:os'
import process from 'node:process'
import { getHeapStatistics } from 'node:v8'
import { count, Expectations, MIB, main, mib, milliseconds, optionsOf, print, Roost, run, Sensors, UsageError } from './fleet.mjs'

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
  const values = optionsOf(NUMBERS, { store: { type: 'string' } })
  if (values.messages > 100) throw new UsageError('--messages: at most 100, which one wake may drain')
  if (values['max-start-seconds'] !== undefined && values.store === undefined)
    throw new UsageError('--max-start-seconds needs --store')
  if (values.store !== undefined) {
    mkdirSync(values.store, { recursive: true })
    if (readdirSync(values.store).length > 0) throw new UsageError(`--store ${values.store}: not empty`)
  }
  return values
}

function start(options) {
  const { store, sensors } = options
  const flags = options['heap-mib'] === undefined ? [] : [`--max-old-space-size=${options['heap-mib']}`]
  const heapMib = options['heap-mib'] ?? getHeapStatistics().heap_size_limit / MIB
  // All sensors have one address, and more memory than the default share is theirs.
  const memory = Math.round(heapMib * MIB * 0.9)
  const shares = `--memory-limit ${memory} --max-memory-per-address ${memory}`
  const limits = `--max-sn-sessions ${sensors + 1000} --max-sessions-per-address ${sensors + 1000}`
  const state = store === undefined ? ['--memory'] : ['--data-dir', store]
  return new Roost([...`${shares} ${limits}`.split(' '), ...state], flags)
}

async function measure(options, expect) {
  const { sensors: wanted, store, messages } = options
  const state = store === undefined ? 'in memory' : `store in ${store}`
  print('start', `${count(wanted)} sensors, ${state}; ${cpus().length} cores, Node.js ${process.versions.node}`)
  const roost = start(options)
  let sensors
  try {
    await roost.listening()
    const empty = await roost.ask('collect')
    sensors = new Sensors(options, roost, roost.port, ['-m', `${messages}`])
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
  const roost = start(options)
  try {
    const seconds = await roost.listening()
    const { rss } = await roost.ask('collect')
    print('restart', `${seconds.toFixed(1)} s until it listened, RSS ${mib(rss)} after a collection`)
    expect.atMost('max-start-seconds', seconds, 'start in seconds')
  } finally {
    await roost.stop()
  }
}

await main('bench:million', async () => {
  const options = parseOptions()
  const expect = new Expectations(options)
  if (options.help) process.stdout.write(HELP)
  else {
    await measure(options, expect)
    if (options.store !== undefined) await restart(options, expect)
  }
  return expect.failures
})
