// For `node --expose-gc --import` of a process that is measured, started with an IPC channel: answers each message. `collect` collects garbage and
// returns memory; `pauses` returns the event loop's longest pause in milliseconds since the message before, whatever it was.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'

const RESOLUTION_MS = 1
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()
process.on('message', (question) => {
  const longestPauseMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS)
  if (question === 'collect') for (let i = 0; i < 2; i++) globalThis.gc()
  // The pause of the collection is not the process's own.
  setTimeout(() => {
    delay.reset()
    process.send({ longestPauseMs, ...process.memoryUsage() })
  }, 50)
})
// Being measured does not keep it running.
process.channel.unref()
