import { Command, CommanderError, Option as FlagOption } from 'commander'
import { masked } from '../base/masked.ts'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { type Config, type Given, given, type Layer } from '../config/config.ts'
import { loadConfig } from '../config/io/config-file.ts'
import { type Option, type OptionKey, options } from '../config/options.ts'
import { addConfigCommand } from './config.ts'
import { addPasswdCommand } from './passwd.ts'
import { type Host, serve } from './serve.ts'
import { addSessionsCommand } from './sessions.ts'
import { addSnCommand } from './sn/command.ts'
import { addStoreCommand } from './store.ts'

/** Exit code for what the user can mend: a flag, a file, a port. */
const USER_ERROR = 2

/** The whole command line: gives the exit code. A user's error is one line on standard error. */
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
    // Errors are written once, by `run`.
    .configureOutput({ writeOut: (text) => host.stdout.write(text), writeErr: () => {} })
  // Commands take over the settings above, so they are added below them.
  const serveCommand = program
    .command('serve')
    .description('run the broker and the gateway')
    .allowExcessArguments(true)
    .action(async (_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra !== undefined) throw new StartError(`${extra}: expected no argument; see roost serve --help`)
      const flags = flagLayer(command)
      const config = loadConfig(flags, host.cwd)
      if (flags.get('test_config')?.value === true) await testConfig(config, host)
      else exitCode = await serve(config, host)
    })
  for (const option of options) serveCommand.addOption(flagOption(option))
  serveCommand.addHelpText(
    'after',
    '\nEvery option but --config can stand in the file that --config names: --max-connections as max_connections.',
  )
  addConfigCommand(program, host, (code) => {
    exitCode = code
  })
  addPasswdCommand(program, host)
  addSessionsCommand(program, host)
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

async function testConfig(config: Config, { stdout, stderr }: Host): Promise<void> {
  // Loaded only now, so that help and errors need not wait for it.
  const { checkFiles } = await import('../process/check-files.ts')
  const { openPoints } = await import('../process/open-points.ts')
  for (const warning of [...(await checkFiles(config)), ...openPoints(config)]) stderr.write(`warning: ${warning}\n`)
  stdout.write('The configuration is valid.\n')
}

function flagOption({ flag, placeholder, about, group, default: byDefault }: Option): FlagOption {
  const option = new FlagOption(placeholder === undefined ? flag : `${flag} <${placeholder}>`, about)
  return (byDefault === undefined || byDefault === false ? option : option.default(byDefault)).helpGroup(`${group}:`)
}

/** The flags that were really there, checked. */
function flagLayer(command: Command): Layer {
  const layer = new Map<OptionKey, Given>()
  for (const option of options) {
    if (command.getOptionValueSource(option.name) !== 'cli') continue
    const raw: unknown = command.getOptionValue(option.name)
    layer.set(option.key, given(option, typeof raw === 'string' ? fromText(option, raw) : raw, option.flag))
  }
  return layer
}

/** A flag's text in the type that the option takes, so that flags and file go through the same check. */
function fromText(option: Option, text: string): string | number | boolean {
  if (option.placeholder === 'true|false' && /^(true|false)$/.test(text)) return text === 'true'
  return option.placeholder === 'number' && /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text
}

/** Commander's errors, in the words of ours. */
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

const flagsOf = (command: Command): string[] => [...command.options.map(({ long }) => long ?? ''), '--help']
const nameOf = (command: Command): string => (command.parent === null ? '' : `${nameOf(command.parent)} `) + command.name()

/** The innermost command that the words name. */
function commandOf([word, ...rest]: readonly string[], command: Command): Command {
  const inner = command.commands.find((known) => known.name() === word)
  return inner === undefined ? command : commandOf(rest, inner)
}

const oneLine = (message: string): string => message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')
