import { resolve } from 'node:path'
import type { Command } from 'commander'
import { counted } from '../base/counted.ts'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { printable } from '../process/log.ts'
import type { SessionInfo, StoredSessions } from '../process/stored-sessions.ts'
import { jsonArray, table } from './listing.ts'
import { defaultDir, type Host } from './serve.ts'
import { refusing } from './store.ts'

const STOPPED =
  '\nRoost has to be stopped: while it runs it holds the store, and the command\nprints its process id and exits with code 2. For a running Roost there are\nroost clients' +
  ' and its API (docs/api.md). Run this as the user that Roost runs as.'

/** Adds `roost sessions`, which lists and removes sessions in a data directory. */
export function addSessionsCommand(program: Command, host: Host): void {
  const sessions = program
    .command('sessions')
    .description('list and remove sessions')
    .allowExcessArguments(true)
    .action((_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra === undefined) command.help()
      const names = command.commands.map((known) => known.name())
      throw new StartError(`${extra}: unknown command${didYouMean(extra!, names)}; see roost sessions --help`)
    })
  addList(sessions, host)
  addRemove(sessions, host)
}

const dataDir = (command: Command, host: Host): Command =>
  command.option('--data-dir <dir>', 'the data directory', defaultDir(host)).addHelpText('after', STOPPED)

function addList(sessions: Command, host: Host): void {
  dataDir(sessions.command('list'), host)
    .description('list all sessions')
    .allowExcessArguments(false)
    .option('--json', 'print JSON')
    .action(({ dataDir: dir, json }: { dataDir: string; json?: true }) =>
      withSessions(host, dir, async (stored) => {
        const lines = json === true ? jsonArray(stored.list()) : asTable(stored.list())
        for (const line of lines) host.stdout.write(line)
      }),
    )
}

function addRemove(sessions: Command, host: Host): void {
  dataDir(sessions.command('rm'), host)
    .description('remove sessions with their subscriptions, messages, wills and topic ids; no will is published')
    .argument('<id...>', 'mqtt:CLIENT_ID or sn:CLIENT_ID, or the client id alone if only one session has it')
    .action((ids: readonly string[], { dataDir: dir }: { dataDir: string }) =>
      withSessions(host, dir, async (stored) => {
        // All ids are resolved first: either all sessions are removed, or none.
        for (const session of ids.map((id) => stored.find(id))) {
          await stored.remove(session.id)
          const had = `${counted(session.subscriptions, 'subscription')}, ${counted(session.messages, 'message')}`
          host.stdout.write(`removed ${printable(session.id)}: ${had}\n`)
        }
      }),
    )
}

/** @throws StartError */
function withSessions({ cwd, version }: Host, dir: string, use: (stored: StoredSessions) => Promise<void>): Promise<void> {
  return refusing(resolve(cwd, dir), async (path) => {
    // Loaded lazily, so that help and errors do not wait for the store.
    const { storeIn } = await import('../store/io/store-reader.ts')
    const { StoredSessions } = await import('../process/stored-sessions.ts')
    // The store must exist; it is not created here.
    storeIn(path)
    const stored = await StoredSessions.open(path, `roost ${version}`)
    try {
      await use(stored)
    } finally {
      await stored.close()
    }
  })
}

const HEAD = ['ID', 'USER', 'ADDRESS', 'STATE', 'SINCE', 'EXPIRES', 'SUBSCRIPTIONS', 'MESSAGES', 'WILL']
/** Columns of numbers, which are right-aligned. */
const NUMBERS = new Set([6, 7])

function asTable(sessions: Iterable<SessionInfo>): readonly string[] {
  const rows = [HEAD]
  for (const { id, username, address, state, since, expires, subscriptions, messages, will_topic: will } of sessions) {
    const end = expires ?? (state === 'connected' ? '-' : 'never')
    const cells = [id, username ?? '-', address ?? '-', state, since ?? '-', end, `${subscriptions}`, `${messages}`]
    rows.push([...cells, will ?? '-'].map(printable))
  }
  return table(rows, NUMBERS)
}
