#!/usr/bin/env -S node --max-semi-space-size=4 --no-allocation-site-pretenuring
// As in `npm start`. Options of the garbage collector, which cannot all be changed once the process runs:
// - max-semi-space-size=4: objects that live for a moment, one datagram or packet each, have 3 times 4 MiB instead of 16.
//   Sets of 16 MiB do not fit the caches, and one pass over them takes up to 10 ms instead of 1. Beside the default:
//   fanout50-q0 1.24, mesh20-q0 1.10, topics1k-filters5k 1.10, others 0.96 to 1.05.
// - no-allocation-site-pretenuring: V8 allocates what an object literal makes among the old objects once most of them have
//   survived, as when many clients connect, and never unlearns it. One such literal in a sensor that wakes for a millisecond
//   kept all its objects until the next full collection: 3 kB a wake, 17 MB a second at 5,000 wakes, where 1 kB remains.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * Signals are caught before anything else is loaded: at SIGUSR1 Node.js would open its debugger, and SIGUSR2 or an
 * early SIGHUP would end the process without a log line. `serve` logs them.
 */
const earlySignals = new Set<NodeJS.Signals>()
const caught: NodeJS.Signals[] = process.argv[2] === 'serve' ? ['SIGUSR1', 'SIGUSR2', 'SIGHUP'] : ['SIGUSR1', 'SIGUSR2']
for (const signal of caught) process.on(signal, () => earlySignals.add(signal))

// Loading everything else would fail, with an error that blames a module.
const { openFilesLimit, tooFewOpenFiles } = await import('./process/open-files.ts')
const tooFew = tooFewOpenFiles(openFilesLimit())
if (tooFew !== undefined) {
  process.stderr.write(`${tooFew}\n`)
  process.exit(2)
}

const { run } = await import('./cli/cli.ts')
const { isJournal } = await import('./process/log-file.ts')
const { terminalWatch, watchParent } = await import('./process/origin.ts')
const { defaultDataDir } = await import('./process/data-dir.ts')

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

// The reader of the log may exit (`roost serve | head`); the broker must keep running.
process.stdout.on('error', () => {})

process.exit(
  await run(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    color: process.stdout.isTTY === true && !process.env.NO_COLOR,
    journal: isJournal(process.env.JOURNAL_STREAM, 1),
    cwd: process.cwd(),
    env: process.env,
    dataDir: defaultDataDir({ root: ROOT, env: process.env, uid: process.getuid?.() }),
    version,
    events: process,
    earlySignals,
    // npm does not pass every signal on; a Roost that outlived it would keep the ports.
    parent: process.env.npm_lifecycle_event === undefined ? undefined : watchParent,
    terminalIsGone: terminalWatch(),
    exit: (code) => process.exit(code),
    // Loaded lazily, so that help and errors do not wait for the store.
    start: async (config, log) => (await import('./process/roost.ts')).startProcess(config, log, { version }),
  }),
)
