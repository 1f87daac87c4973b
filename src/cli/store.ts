import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { counted } from '../base/counted.ts'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { TABLES, type Table } from '../store/io/schema.ts'
import { defaultDir, type Host } from './serve.ts'

/** Exit code for a store with damaged or missing data. */
const DAMAGED = 1

/** Maximum number of problems that are printed; the others are only counted. */
const LINES_MAX = 100
/** Maximum length of a line in characters. Topics may be 64 KiB long and contain line breaks. */
const LINE_LENGTH_MAX = 400

type Exit = (code: number) => void

/** Adds `roost store`, which inspects data directories. `exit` sets the exit code. */
export function addStoreCommand(program: Command, host: Host, exit: Exit): void {
  const store = program
    .command('store')
    .description('inspect, check and recover data directories')
    .allowExcessArguments(true)
    .action((_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra === undefined) command.help()
      const names = command.commands.map((known) => known.name())
      throw new StartError(`${extra}: unknown command${didYouMean(extra!, names)}; see roost store --help`)
    })
  addInfo(store, host)
  addCheck(store, host, exit)
  addDump(store, host, exit)
  addRecover(store, host, exit)
}

function addInfo(store: Command, host: Host): void {
  const { cwd, stdout } = host
  store
    .command('info')
    .description('print the version, the owner, the number of rows and the sizes of a store')
    .argument('[dir]', 'the data directory', defaultDir(host))
    .allowExcessArguments(false)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nRoost may be running. The numbers of rows do not include the part of the log that is not in\nrows yet.',
    )
    .action((dir: string, { json }: { json?: true }) =>
      refusing(resolve(cwd, dir), async (path) => {
        const { describeStore, storeInfo } = await import('../store/io/info.ts')
        const info = storeInfo(path)
        stdout.write(json === true ? `${JSON.stringify(info, undefined, 2)}\n` : describeStore(info))
      }),
    )
}

function addCheck(store: Command, host: Host, exit: Exit): void {
  const { cwd, stdout } = host
  store
    .command('check')
    .description('read all of a store, and report what is damaged or missing')
    .argument('[dir]', 'the data directory', defaultDir(host))
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nRoost may be running. Nothing is written. Exit codes: 0 if the store is sound, 1 if there are\nproblems, 2 if' +
        ' there is no store.',
    )
    .action((dir: string) =>
      refusing(resolve(cwd, dir), async (path) => {
        const { checkStore } = await import('../store/io/check.ts')
        const lines = new BoundedLines(stdout)
        const { rows, commits, problems } = checkStore(path, (problem) => lines.add(problem))
        lines.end()
        const read = `${counted(rows, 'row')} and ${counted(commits, 'commit')} were read`
        if (problems === 0) stdout.write(`The store is sound: ${read}.\n`)
        else {
          stdout.write(`${counted(problems, 'problem')}: ${read}. To save what can be read: roost store recover ${dir} NEW\n`)
          exit(DAMAGED)
        }
      }),
    )
}

function addDump(store: Command, host: Host, exit: Exit): void {
  const { cwd, stdout, stderr } = host
  store
    .command('dump')
    .description('print everything in a store as JSON, one line for each row')
    .argument('[dir]', 'the data directory', defaultDir(host))
    .allowExcessArguments(false)
    .addOption(new Option('--table <name>', 'only this table').choices([...TABLES]))
    .addHelpText(
      'after',
      '\nRoost may be running. The latest commits are in the table log, not in the others yet. Payloads are\nprinted, so the output is' +
        ' as secret as the messages. Exit codes: 0 if everything was printed, 1 if\nsomething is damaged, 2 if there is no store.',
    )
    .action((dir: string, { table }: { table?: Table }) =>
      refusing(resolve(cwd, dir), async (path) => {
        const { dumpStore } = await import('../store/io/dump.ts')
        const lines = new BoundedLines(stderr)
        const onProblem = (problem: string): void => {
          exit(DAMAGED)
          lines.add(problem)
        }
        for (const line of dumpStore(path, onProblem, table)) stdout.write(`${line}\n`)
        lines.end()
      }),
    )
}

function addRecover(store: Command, { cwd, stdout, version }: Host, exit: Exit): void {
  store
    .command('recover')
    .description('write everything that can be read of a damaged store to a new store')
    .argument('<old>', 'the data directory of the damaged store; nothing is written there')
    .argument('<new>', 'the directory for the new store, which must be empty or not exist')
    .allowExcessArguments(false)
    .addHelpText(
      'after',
      '\nStop Roost first. To use the new store, put it in the place of the old one, or name it with --data-dir.\n<new> needs' +
        ' room for two copies of the store while the command runs. Exit codes: 0 if nothing is known to\nbe missing, 1 if' +
        ' something is, 2 if nothing was recovered.',
    )
    .action((from: string, to: string) =>
      refusing(resolve(cwd, to), async (path) => {
        const { recoverStore } = await import('../store/io/recover.ts')
        const { counts, strays, missing } = recoverStore(resolve(cwd, from), path, { writtenBy: `roost ${version}` })
        for (const [table, found] of counts) stdout.write(`${`${table}:`.padEnd(10)}${found}\n`)
        if (strays > 0) stdout.write(`${strays} of these were on pages that belong to no table any more, and may be outdated\n`)
        const lines = new BoundedLines(stdout)
        for (const line of missing) lines.add(line)
        lines.end()
        if (missing.length === 0) stdout.write('Everything was recovered.\n')
        else {
          stdout.write('Not everything was recovered: see above.\n')
          exit(DAMAGED)
        }
      }),
    )
}

/** Prints the first lines, and the number of those not printed. */
class BoundedLines {
  readonly #stdout: Host['stdout'] | Host['stderr']
  #count = 0

  constructor(stdout: Host['stdout'] | Host['stderr']) {
    this.#stdout = stdout
  }

  add(line: string): void {
    if (++this.#count <= LINES_MAX) this.#stdout.write(`${oneLine(line)}\n`)
  }

  end(): void {
    if (this.#count > LINES_MAX) this.#stdout.write(`and ${this.#count - LINES_MAX} more\n`)
  }
}

function oneLine(text: string): string {
  const line = text.replaceAll(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return line.length > LINE_LENGTH_MAX ? `${line.slice(0, LINE_LENGTH_MAX)}...` : line
}

/** Runs `action`, and converts system errors, SQLite errors and refusals to errors of the user. @throws StartError */
export async function refusing(path: string, action: (path: string) => Promise<void>): Promise<void> {
  const { RefusedError } = await import('../store/io/store-reader.ts')
  const { failureOf, NoBindingError } = await import('../store/io/sqlite.ts')
  const { systemFailure } = await import('../store/io/system-failure.ts')
  try {
    await action(path)
  } catch (error) {
    if (error instanceof RefusedError) throw new StartError(error.message)
    const failure = systemFailure(error)
    if (failure !== undefined) throw new StartError(`${(error as NodeJS.ErrnoException).path ?? path}: ${failure.reason}`)
    if (error instanceof NoBindingError || 'code' in (error as object))
      throw new StartError(`${path}: ${failureOf(error).reason}`)
    throw error
  }
}
