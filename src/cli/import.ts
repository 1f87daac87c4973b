import { resolve } from 'node:path'
import type { Command } from 'commander'
import { counted } from '../base/counted.ts'
import { defaultDir, type Host } from './serve.ts'
import { refusing } from './store.ts'

/** Adds `roost import`, which makes a data directory of what Mosquitto has saved. */
export function addImportCommand(program: Command, host: Host): void {
  program
    .command('import')
    .description("bring over Mosquitto's sessions, subscriptions, queued and retained messages")
    .argument('<mosquitto.db>', 'the file in which Mosquitto keeps them (formats 5 and 6: Mosquitto 1.6, 2.0 and 2.1)')
    .option('--data-dir <dir>', 'the data directory of Roost, with no sessions or messages in it', defaultDir(host))
    .option(
      '--users-verified',
      'Mosquitto had verified all user names, by passwords, certificates or a plugin: each session belongs to its user',
    )
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nStop Mosquitto first, which completes the file, and Roost. Run this as root: the file is only for\nMosquitto, and the store gets the' +
        ' owner of the data directory. Exit codes: 0 if everything that\nis still valid was brought over, 2 if nothing was done. roost config import' +
        ' translates mosquitto.conf.',
    )
    .action((path: string, flags: { dataDir: string; usersVerified?: true }) => importDatabase(path, flags, host))
}

function importDatabase(
  path: string,
  { dataDir, usersVerified }: { dataDir: string; usersVerified?: true },
  { cwd, stdout, stderr, version }: Host,
): Promise<void> {
  return refusing(resolve(cwd, dataDir), async (dir) => {
    // Loaded lazily, so that help and errors do not wait for the store.
    const { importState } = await import('../mosquitto/io/import-state.ts')
    const { readClocks } = await import('../process/loop.ts')
    const { format, atEnd, retained, sessions, subscriptions, messages, leftOut } = await importState(resolve(cwd, path), dir, {
      writtenBy: `roost ${version}`,
      usersVerified: usersVerified === true,
      clocks: readClocks(),
    })
    if (!atEnd) stderr.write(`warning: ${path}: Mosquitto saved it while it ran; what came later is not in it\n`)
    for (const [what, count] of leftOut) stderr.write(`left out: ${what}: ${count}\n`)
    const found = [
      counted(retained, 'retained message'),
      counted(sessions, 'session'),
      counted(subscriptions, 'subscription'),
      counted(messages, 'queued message'),
    ].join(', ')
    stdout.write(`imported ${path} (format ${format}) into ${dataDir}: ${found}\n`)
  })
}
