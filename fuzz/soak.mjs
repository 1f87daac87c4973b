// Runs of a whole site on a virtual clock, for as long as asked: each with a seed of its own, and without some kinds of steps (swarm testing).
// npm run soak -- [--seed <number>] [--minutes <number>]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const KINDS = [
  'sleep',
  'tape',
  'register',
  'unsubscribe',
  'will',
  'disconnect',
  'break',
  'roam',
  'reboot',
  'partition',
  'stall',
  'fill',
  'restart',
  'crash',
  'look-away',
  'burst',
  'keep',
  'cut',
  'break-all',
  'set-clock',
  'pause',
  'namesake',
  'guess',
  'forge',
  // What is not scarce, or not there, by its name in `sim/setup.ts`.
  'bridge',
  'maxFrame',
  'airtime',
  'linkBytesPerSecond',
  'inflightMessages',
  'wakeMessages',
  'wakeBytes',
  'topicsPerClient',
  'maxSessions',
  'maxQueuedMessages',
  'maxQueuedBytes',
  'queueLimit',
  'maxInflightMessages',
  'receiveMaximum',
  'messageSizeLimit',
  'maxRetainedMessages',
  'maxRetainedBytes',
  'maxSubscriptions',
  'addresses',
  'cleanWill',
  'qosWithoutWill',
  'choosy',
  'ignoresRegister',
  'hearsAfterMs',
  'lastTopicId',
  'queueQos0Messages',
  'storeBytes',
]
const number = (name, byDefault) => {
  const at = process.argv.indexOf(name)
  const value = at < 0 ? byDefault : Number(process.argv[at + 1])
  if (Number.isFinite(value) && value >= 0) return value
  process.stderr.write(`${name}: expected a number, got ${process.argv[at + 1]}\n`)
  process.exit(2)
}
const first = number('--seed', Date.now() % 2 ** 31)
const until = Date.now() + number('--minutes', 10) * 60_000

/** Three kinds in ten are left out, by the seed. */
const without = (seed) => KINDS.filter((_, i) => (Math.imul(seed + i * 7919, 0x9e3779b1) >>> 8) % 10 < 3).join(',')

let lives = 0
for (let seed = first; Date.now() < until; seed++) {
  const env = { FUZZ_SEED: String(seed), FUZZ_RUNS: '5', FUZZ_WITHOUT: without(seed) }
  const line = Object.entries(env)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
  process.stdout.write(`${line}\n`)
  const run = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'fuzz/model.test.ts'], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, ...env, FUZZ_KEEP: '1', NO_COLOR: '1' },
  })
  if (run.status !== 0) {
    process.stdout.write(`${run.stdout}${run.stderr}\nfound; this repeats it:\n${line} npx vitest run fuzz/model.test.ts\n`)
    process.exit(1)
  }
  lives += 1000
}
process.stdout.write(`${lives} lives, nothing found\n`)
