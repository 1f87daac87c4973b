// `node --expose-gc --import bench/collect.mjs ... dist/main.js`, started with an IPC channel: each message of the parent forces a collection of garbage, and is
// answered with the memory that is in use after it, in bytes. For measurements only.
import process from 'node:process'
import { isMainThread } from 'node:worker_threads'

if (isMainThread && process.channel) {
  process.on('message', () => {
    // Twice: what the first one finalizes is freed by the second.
    globalThis.gc()
    globalThis.gc()
    const { heapUsed, external } = process.memoryUsage()
    process.send({ live: heapUsed + external })
  })
  process.channel.unref()
}
