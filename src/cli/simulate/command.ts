import { lookup } from 'node:dns/promises'
import { performance } from 'node:perf_hooks'
import { type Command, Option } from 'commander'
import { StartError } from '../../base/start-error.ts'
import { returnCodeName } from '../../mqttsn/describe.ts'
import type { Host } from '../serve.ts'
import { realFlag, wholeFlag } from '../sn/sensor-flags.ts'
import { Fleet, type FleetOptions } from './fleet.ts'
import { Radio } from './radio.ts'
import { progressLine, summaryLines } from './summary.ts'

interface Flags {
  readonly sensors: string
  readonly loss: string
  readonly sleep: string
  readonly duration?: string
  readonly host: string
  readonly port: string
  readonly qos: string
  readonly idPrefix: string
  readonly topicPrefix: string
  readonly tRetry: string
  readonly nRetry: string
}

/** Maximum time between the first sensor and the last to switch itself on, and between two lines of progress; milliseconds. */
const RAMP_MAX_MS = 10_000
const PROGRESS_MS = 10_000
/** Time in milliseconds for sensors to end their sessions, beyond what their retransmissions take. */
const LEAVING_MS = 5_000
/** Exchanges of a sensor that ends its session. */
const LAST_EXCHANGES = 5

/** Adds `roost simulate`. */
export function addSimulateCommand(program: Command, host: Host, exit: (code: number) => void): void {
  program
    .command('simulate')
    .description('act as a fleet of battery sensors that sleep, on a network that loses datagrams')
    .helpOption('--help', 'print this help')
    .allowExcessArguments(false)
    .addOption(new Option('--sensors <number>', 'number of sensors, each with a UDP socket of its own').default('40'))
    .addOption(new Option('--loss <part>', 'part of the datagrams that are lost, in each direction').default('0.1'))
    .addOption(new Option('--sleep <time>', 'time from one reading of a sensor to its next: 60s, 5m').default('60s'))
    .addOption(new Option('--duration <time>', 'time after which the sensors end their sessions (default: Ctrl-C)'))
    .addOption(new Option('-h, --host <address>', 'address of the gateway').default('127.0.0.1'))
    .addOption(new Option('-p, --port <number>', 'UDP port of the gateway').default('1884'))
    .addOption(new Option('-q, --qos <number>', 'quality of service of readings: 0, 1 or 2').default('1'))
    .addOption(new Option('--id-prefix <text>', 'client ids begin with this').default('sim-'))
    .addOption(new Option('--topic-prefix <topic>', 'topics begin with this').default('simulated'))
    .addOption(new Option('--t-retry <seconds>', 'retransmission interval').default('2'))
    .addOption(new Option('--n-retry <number>', 'number of retransmissions').default('5'))
    .addHelpText(
      'after',
      '\nA sensor publishes readings to simulated/<id>/state, sleeps, asks for its messages half way, and\nsometimes sends a command to' +
        ' another one, at simulated/<id>/set. At the end each asks once more and ends\nits session. Exit codes: 0 if no acknowledged' +
        ' command was lost, 1 if one was, 2 without a gateway.',
    )
    .action(async (flags: Flags) => exit((await simulate(flags, host)) ? 0 : 1))
}

/** Returns whether nothing was lost. @throws StartError */
async function simulate(flags: Flags, host: Host): Promise<boolean> {
  const options = fleetOptions(flags)
  const durationMs = flags.duration === undefined ? Number.POSITIVE_INFINITY : timeFlag(flags.duration, '--duration', 1)
  const port = wholeFlag(flags.port, '-p', 1, 65_535)
  const { address } = await lookup(flags.host).catch(() => {
    throw new StartError(`-h: no address for ${flags.host}`)
  })
  const fleet = new Fleet(performance.now(), options, Math.random)
  const radio = await Radio.open(fleet, options.sensors, address, port)
  let isInterrupted = false
  const interrupt = (): void => {
    isInterrupted = true
    radio.interrupt()
  }
  for (const signal of SIGNALS) host.events.on(signal, interrupt)
  const began = performance.now()
  try {
    while (!isInterrupted && performance.now() - began < durationMs) {
      await radio.wait(Math.min(PROGRESS_MS, began + durationMs - performance.now()))
      const elapsedMs = performance.now() - began
      refuseSilence(fleet, options, elapsedMs, `${flags.host}:${port}`)
      if (!isInterrupted && elapsedMs < durationMs) host.stdout.write(progressLine(fleet, elapsedMs))
    }
    isInterrupted = false
    host.stdout.write('the sensors ask for their messages once more, and end their sessions (Ctrl-C ends without that)\n')
    fleet.stop(performance.now())
    radio.run()
    const leavingMs = options.tRetryMs * (options.nRetry + 1) * LAST_EXCHANGES + LEAVING_MS
    for (const until = performance.now() + leavingMs; !fleet.isGone && !isInterrupted && performance.now() < until; )
      await radio.wait(until - performance.now())
  } finally {
    for (const signal of SIGNALS) host.events.off(signal, interrupt)
    radio.close()
  }
  for (const line of summaryLines(fleet, performance.now() - began)) host.stdout.write(`${line}\n`)
  return fleet.missing.lost === 0
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** @throws StartError if no sensor has had an answer in the time that one exchange may take, or all answers were refusals */
function refuseSilence(fleet: Fleet, { tRetryMs, nRetry }: FleetOptions, elapsedMs: number, where: string): void {
  const { refused, isAnswered, tally } = fleet
  if (refused !== undefined && tally.acknowledged === 0)
    throw new StartError(`${where} has rejected CONNECT of ${refused.clientId}: ${returnCodeName(refused.returnCode)}`)
  if (!isAnswered && elapsedMs > tRetryMs * (nRetry + 1)) throw new StartError(`no answer from ${where} to any CONNECT`)
}

/** @throws StartError that names the flag */
function fleetOptions(flags: Flags): FleetOptions {
  const sleepMs = timeFlag(flags.sleep, '--sleep', 1)
  if (sleepMs > SLEEP_MAX_MS) throw new StartError(`--sleep: expected at most 12h, got ${JSON.stringify(flags.sleep)}`)
  for (const [flag, text] of [
    ['--id-prefix', flags.idPrefix],
    ['--topic-prefix', flags.topicPrefix],
  ] as const) {
    const isFit = flag === '--id-prefix' ? text.length <= ID_PREFIX_MAX : text.length > 0
    if (!isFit || /[+#/\0]/.test(flag === '--id-prefix' ? text : text.replaceAll('/', '')))
      throw new StartError(`${flag}: expected text without + and #, got ${JSON.stringify(text.slice(0, 60))}`)
  }
  return {
    sensors: wholeFlag(flags.sensors, '--sensors', 1, 10_000),
    loss: realFlag(flags.loss, '--loss', 0, 0.9),
    sleepMs,
    rampMs: Math.min(RAMP_MAX_MS, sleepMs),
    qos: wholeFlag(flags.qos, '-q', 0, 2) as 0 | 1 | 2,
    idPrefix: flags.idPrefix,
    topicPrefix: flags.topicPrefix,
    tRetryMs: realFlag(flags.tRetry, '--t-retry', 0.1, 3600) * 1000,
    nRetry: wholeFlag(flags.nRetry, '--n-retry', 0, 100),
  }
}

/** The announced sleep, which is longer, has to fit into the 16 bits of a duration. Client ids have at most 23 octets. */
const SLEEP_MAX_MS = 12 * 3600 * 1000
const ID_PREFIX_MAX = 18

const UNITS: Readonly<Record<string, number>> = { '': 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** Returns a time in milliseconds: `90`, `90s`, `1.5m`, `2h`. @throws StartError that names the flag */
function timeFlag(text: string, flag: string, minSeconds: number): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? []
  const ms = number === undefined ? Number.NaN : Number(number) * UNITS[unit ?? '']!
  if (ms >= minSeconds * 1000 && Number.isFinite(ms)) return ms
  throw new StartError(`${flag}: expected a time of at least ${minSeconds} s, like 90s, 10m or 2h, got ${JSON.stringify(text)}`)
}
