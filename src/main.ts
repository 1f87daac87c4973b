#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { run } from './io/cli.ts'

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

// Whoever read the log may go away (`roost serve | head`); the broker stays.
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
    exit: (code) => process.exit(code),
    // Loaded only now, so that help and errors need not wait for the store.
    start: async (config, log) => (await import('./io/roost.ts')).startRoost(config, log, version),
  }),
)
