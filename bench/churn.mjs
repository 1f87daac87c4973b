// How large the store gets by what passes through it: a week of a site in fast forward, straight into the store. A thousand devices publish a retained
// QoS 1 message every five minutes, each for one of 100 sessions that are away for an hour and then take everything. `node bench/churn.mjs [--days 7]`
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { SqliteStore } from '../dist/store/io/sqlite-store.js'

const { values } = parseArgs({ options: { days: { type: 'string', default: '7' } } })
const DEVICES = 1000
const ROUNDS_A_DAY = 288
const ROUNDS_AWAY = 12
const ROUND_MS = 60

const dir = mkdtempSync(join(tmpdir(), 'roost-churn-'))
const sizeOf = (name) => (statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0) / 2 ** 20
const size = () => sizeOf('roost.db') + sizeOf('roost.db-wal')

const store = await SqliteStore.open(dir, {
  onDurable: () => {},
  onFailed: (error) => process.stderr.write(`${error}\n`),
  onRecovered: () => {},
})
/** Room in the store's buffer, or the commits that make it. */
async function append(record) {
  while (store.append(record) === 'full') await new Promise(setImmediate)
}

const owner = { username: undefined, listener: 'mqtt', verified: false }
const keyOf = (device) => `mqtt:reader-${device % 100}`
for (let i = 0; i < 100; i++) await append({ type: 'session', key: keyOf(i), expirySeconds: 86_400 * 30, will: null, owner })

const began = performance.now()
const waiting = []
let id = 0
for (let round = 1; round <= ROUNDS_A_DAY * Number(values.days); round++) {
  for (let device = 0; device < DEVICES; device++) {
    const payload = Buffer.alloc(64, 33 + ((id + device) % 90))
    const message = { topic: `site/${device}/state`, payload, qos: 1, retain: true, from: `mqtt:device-${device}` }
    await append({
      type: 'message',
      id: ++id,
      message,
      deliveries: [{ key: keyOf(device), qos: 1, retain: false }],
      retains: true,
    })
    waiting.push({ type: 'done', key: keyOf(device), id })
  }
  if (round % ROUNDS_AWAY === 0) for (const record of waiting.splice(0)) await append(record)
  // Still 5,000 times as fast as life, but slow enough that the log is folded meanwhile: what waits for that is a matter of seconds there.
  await new Promise((next) => setTimeout(next, ROUND_MS))
  if (round % ROUNDS_A_DAY === 0)
    process.stdout.write(
      `day ${round / ROUNDS_A_DAY}: ${size().toFixed(1)} MiB on the disk, ${(id / 1000).toFixed(0)} thousand messages\n`,
    )
}
await store.close()
process.stdout.write(`closed: ${size().toFixed(1)} MiB after ${((performance.now() - began) / 1000).toFixed(0)} s\n`)
rmSync(dir, { recursive: true })
