// For `node --import`: writes the longest pause of the event loop (ms) since SIGUSR2 to PAUSES_FILE when the process ends.
import { writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
process.on('SIGUSR2', () => delay.reset())
process.on('exit', () => writeFileSync(process.env.PAUSES_FILE ?? '/dev/null', String(delay.max / 1e6)))
