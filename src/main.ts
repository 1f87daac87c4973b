#!/usr/bin/env node
import { readFileSync } from 'node:fs'

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

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

// The reader of the log may exit (`roost serve | head`); the broker must keep running.
process.stdout.on('error', () => {})

process.exit(
  await run(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    color: process.stdout.isTTY === true && !process.env.NO_COLOR,
    cwd: process.cwd(),
    version,
    events: process,
    earlySignals,
    exit: (code) => process.exit(code),
    // Loaded lazily, so that help and errors do not wait for the store.
    start: async (config, log) => (await import('./process/roost.ts')).startProcess(config, log, version),
  }),
)
