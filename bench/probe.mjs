// For `node --expose-gc --import` of a process that is measured, started with an IPC channel: answers each message. `collect` collects garbage and
// returns memory; `pauses` returns the event loop's longest pause in milliseconds since the message before, whatever it was, and the longest time
// that the main thread ran in one pause, without the time in which it waited for a CPU or for another thread.
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import process from 'node:process'

const RESOLUTION_MS = 1
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()

/** Milliseconds between two looks at the CPU time, each of which takes 10 us. */
const BEAT_MS = 5
const SCHEDSTAT = `/proc/self/task/${process.pid}/schedstat`
const ranMs = () => Number(readFileSync(SCHEDSTAT, 'utf8').split(' ')[0]) / 1e6
let ranAtBeat = ranMs()
let longestRunMs = 0
setInterval(() => {
  const ran = ranMs()
  longestRunMs = Math.max(longestRunMs, ran - ranAtBeat)
  ranAtBeat = ran
}, BEAT_MS).unref()

process.on('message', (question) => {
  const longest = { longestPauseMs: Math.max(0, delay.max / 1e6 - RESOLUTION_MS), longestRunMs }
  if (question === 'collect') for (let i = 0; i < 2; i++) globalThis.gc()
  // The pause of the collection is not the process's own.
  setTimeout(() => {
    delay.reset()
    longestRunMs = 0
    process.send({ ...longest, ...process.memoryUsage() })
  }, 50)
})
// Being measured does not keep it running.
process.channel.unref()
