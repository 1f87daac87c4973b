import { performance } from 'node:perf_hooks'
import { type Command, Option } from 'commander'
import type { Host } from '../serve.ts'
import { realFlag, type SensorFlags, sensorFlags, wholeFlag } from './sensor-flags.ts'
import { SensorRun } from './sensor-run.ts'

interface PingFlags extends SensorFlags {
  readonly count: string
  readonly interval: string
}

/** Adds `roost sn ping`. */
export function addPing(sn: Command, host: Host): void {
  const ping = sn
    .command('ping')
    .description('connect as a sensor, and measure how long the gateway takes to answer PINGREQ')
    .helpOption('--help', 'print this help')
    .addOption(new Option('-C, --count <number>', 'number of PINGREQs').default('3'))
    .addOption(new Option('-I, --interval <seconds>', 'time between two PINGREQs').default('1'))
    .action((flags: PingFlags) => pingGateway(flags, host))
  for (const option of sensorFlags()) ping.addOption(option)
}

async function pingGateway(flags: PingFlags, host: Host): Promise<void> {
  const count = wholeFlag(flags.count, '-C', 1, 1_000_000_000)
  const interval = realFlag(flags.interval, '-I', 0, 86_400) * 1000
  await SensorRun.with(flags, true, host, async (run) => {
    const { sensor } = run
    if (!(await run.connect())) return
    for (let i = 1; i <= count; i++) {
      const began = performance.now()
      sensor.act((client, now) => client.ping(now))
      if (!(await run.until('pong'))) break
      host.stdout.write(`PINGRESP from ${sensor.gateway}: ${i} time=${(performance.now() - began).toFixed(2)} ms\n`)
      if (i < count && interval > 0) await run.next(interval)
    }
    await run.leave(0)
  })
}
