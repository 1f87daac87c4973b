import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Command, CommanderError, Option as FlagOption } from 'commander'
import { masked } from '../base/masked.ts'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { type Config, DEFAULT_CONFIG, type Given, given, type Layer } from '../config/config.ts'
import { FIXED, fixedKeys, goneOption } from '../config/fixed.ts'
import { loadConfig } from '../config/io/config-file.ts'
import { OPTION_GROUPS } from '../config/options/kinds.ts'
import { FIRST_OPTIONS, flagOf, nameOf as nameInside, type Option, type OptionKey, options } from '../config/options.ts'
import { addBackupCommands } from './backup.ts'
import { addConfigCommand } from './config.ts'
import { addHttpCommands } from './http/commands.ts'
import { addImportCommand } from './import.ts'
import { addPasswdCommand } from './passwd.ts'
import { type Host, serve } from './serve.ts'
import { addSessionsCommand } from './sessions.ts'
import { addSimulateCommand } from './simulate/command.ts'
import { addSnCommand } from './sn/command.ts'
import { addStoreCommand } from './store.ts'

/** Exit code for errors that the user can correct: a flag, a file, a port. */
const USER_ERROR = 2

/**
 * Runs the command line and returns the exit code. An error that the user can correct is printed as one line on
 * standard error.
 */
export async function run(argv: readonly string[], host: Host): Promise<number> {
  try {
    return await runCommand(argv.length === 0 ? ['--help'] : argv, host)
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    if (!(error instanceof CommanderError || error instanceof StartError)) throw error
    host.stderr.write(`${masked(oneLine(error.message))}\n`)
    return USER_ERROR
  }
}

async function runCommand(argv: readonly string[], host: Host): Promise<number> {
  let exitCode = 0
  const program = new Command('roost')
    .description('A UDP MQTT-SN gateway and a full MQTT broker in one process.')
    .version(host.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showSuggestionAfterError(false)
    .exitOverride()
    // Errors are printed once, by `run`.
    .configureOutput({ writeOut: (text) => host.stdout.write(text), writeErr: () => {} })
  // Commands inherit the settings above, so they must be added after them.
  const serveCommand = program
    .command('serve')
    .description('run the broker and the gateway')
    .allowExcessArguments(true)
    .action(async (_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra !== undefined) throw new StartError(`${extra}: expected no argument; see roost serve --help`)
      const warn = (line: string): unknown => host.stderr.write(`warning: ${line}\n`)
      const flags = flagLayer(command)
      for (const line of goneFlags(command)) warn(line)
      const config = loadConfig(flags, host.cwd, warn, host.dataDir)
      const unused = unusedStore(config, host)
      if (unused !== undefined) warn(unused)
      if (flags.get('test_config')?.value === true) await testConfig(config, host)
      else exitCode = await serve(config, host)
    })
  addServeOptions(serveCommand, host)
  addBackupCommands(program, host)
  addConfigCommand(program, host, (code) => {
    exitCode = code
  })
  addImportCommand(program, host)
  addPasswdCommand(program, host)
  addSessionsCommand(program, host)
  addHttpCommands(program, host)
  addSimulateCommand(program, host, (code) => {
    exitCode = code
  })
  addSnCommand(program, host)
  addStoreCommand(program, host, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
  } catch (error) {
    throw error instanceof CommanderError ? explained(error, argv, program) : error
  }
  return exitCode
}

/** A warning of a store in the working directory, where Roost kept it by default before 0.2.0. */
function unusedStore(
  { memory, dataDir }: Config,
  { cwd, dataDir: byDefault = DEFAULT_CONFIG.dataDir }: Host,
): string | undefined {
  const before = resolve(cwd, DEFAULT_CONFIG.dataDir)
  if (memory || dataDir !== resolve(cwd, byDefault) || dataDir === before || !existsSync(join(before, 'roost.db')))
    return undefined
  return `the store in ${before} is not used, but that in ${dataDir}: to use it, start with --data-dir ${DEFAULT_CONFIG.dataDir}`
}

async function testConfig(given: Config, { stdout, stderr }: Host): Promise<void> {
  // Loaded lazily, so that help and errors do not wait for it.
  const { checkFiles } = await import('../process/check-files.ts')
  const { openPoints } = await import('../process/open-points.ts')
  const { hookedConfig } = await import('../process/hook-file.ts')
  const { config } = await hookedConfig(given)
  for (const warning of [...(await checkFiles(config)), ...openPoints(config)]) stderr.write(`warning: ${warning}\n`)
  stdout.write('The configuration is valid.\n')
}

function addServeOptions(command: Command, { dataDir = DEFAULT_CONFIG.dataDir }: Host): void {
  command.addOption(new FlagOption('--help-all', 'print this help with every option').helpGroup('Options:'))
  const withDefault = (option: Option): Option => (option.key === 'data_dir' ? { ...option, default: dataDir } : option)
  const isFirst = ({ key }: Option): boolean => FIRST_OPTIONS.includes(key)
  const first = FIRST_OPTIONS.map((key) =>
    flagOption(withDefault(options.find((option) => option.key === key)!)).helpGroup(FIRST_HEADING),
  )
  const others = options.filter((option) => !isFirst(option)).map((option) => flagOption(withDefault(option)).hideHelp())
  for (const flag of [...first, ...others]) command.addOption(flag)
  for (const key of fixedKeys) command.addOption(new FlagOption(`${flagOf(key)} <number>`).hideHelp())
  let all = false
  command.on('option:help-all', () => {
    all = true
    for (const flag of others) flag.hideHelp(false)
    command.help()
  })
  command.addHelpText('after', () => (all ? AFTER_HELP : `${GROUPS_HELP}\n${AFTER_HELP}`))
}

const FIRST_HEADING = 'The ten that everyone needs first:'
const GROUPS_HELP = `
All the others, by --help-all and in docs/configuration.md:
${Object.entries(OPTION_GROUPS)
  .map(([group, about]) => `  ${group.padEnd(20)}${about}`)
  .join('\n')}`
const AFTER_HELP = `
Each is also a key of the file that --config names: --max-queued-messages is max_queued_messages there. roost config
example prints such a file, and roost serve --test-config checks it.`

/**
 * Returns a warning for each flag that is no longer an option.
 * @throws StartError for a value other than that of the constant
 */
function goneFlags(command: Command): string[] {
  return fixedKeys.flatMap((key) => {
    const raw: unknown = command.getOptionValue(nameInside(key))
    if (raw === undefined) return []
    return [goneOption(key, Number(raw) === FIXED[key].value ? FIXED[key].value : raw, flagOf(key))]
  })
}

function flagOption({ flag, placeholder, about, group, default: byDefault, repeated }: Option): FlagOption {
  const option = new FlagOption(placeholder === undefined ? flag : `${flag} <${placeholder}>`, about)
  if (repeated === true) option.argParser((value: string, before?: string[]) => [...(before ?? []), value])
  return (byDefault === undefined || byDefault === false ? option : option.default(byDefault)).helpGroup(`${group}:`)
}

/** Returns the validated flags of the command line. */
function flagLayer(command: Command): Layer {
  const layer = new Map<OptionKey, Given>()
  for (const option of options) {
    if (command.getOptionValueSource(option.name) !== 'cli') continue
    const raw: unknown = command.getOptionValue(option.name)
    layer.set(option.key, given(option, typeof raw === 'string' ? fromText(option, raw) : raw, option.flag))
  }
  return layer
}

/** Converts the text of a flag to the type of its option, so that flags and file are validated alike. */
function fromText(option: Option, text: string): string | number | boolean {
  if (option.placeholder === 'true|false' && /^(true|false)$/.test(text)) return text === 'true'
  return option.placeholder === 'number' && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
}

/** Rewrites Commander's errors in the style of our own. */
function explained(error: CommanderError, argv: readonly string[], program: Command): Error {
  const command = commandOf(argv, program)
  const wrong = /'(.*)'/s.exec(error.message)?.[1] ?? ''
  switch (error.code) {
    case 'commander.unknownOption': {
      const flag = wrong.replace(/=.*/s, '')
      const flags = flagsOf(command)
      if (flags.includes(flag)) return new StartError(`${flag}: takes no value`)
      return new StartError(`${flag}: unknown option${didYouMean(flag, flags)}; see ${nameOf(command)} --help`)
    }
    case 'commander.unknownCommand': {
      const names = program.commands.map((known) => known.name())
      return new StartError(`${wrong}: unknown command${didYouMean(wrong, names)}; see roost --help`)
    }
    case 'commander.optionMissingArgument':
      return new StartError(`${wrong.split(/[ ,]/)[0]}: expected a value, got nothing`)
    default:
      return error
  }
}

/** Returns the flags that may be suggested: not the former options. */
const flagsOf = (command: Command): string[] => [
  ...command.options.map(({ long }) => long ?? '').filter((flag) => !fixedKeys.some((key) => flagOf(key) === flag)),
  '--help',
]
const nameOf = (command: Command): string => (command.parent === null ? '' : `${nameOf(command.parent)} `) + command.name()

/** Returns the innermost command named by the arguments. */
function commandOf([word, ...rest]: readonly string[], command: Command): Command {
  const inner = command.commands.find((known) => known.name() === word)
  return inner === undefined ? command : commandOf(rest, inner)
}

const oneLine = (message: string): string => message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')
