import { readdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { resolveConfig } from '../config/config.ts'
import { exampleConfig } from '../config/example.ts'
import { parseConfigFile } from '../config/io/config-file.ts'
import { type ConfFiles, readConf } from '../config/io/mosquitto-conf.ts'
import { type ImportSummary, importMosquitto } from '../config/io/mosquitto-import.ts'
import { readTextFile, reasonOf } from '../config/io/text-file.ts'
import { YamlFile } from '../config/io/yaml-file.ts'
import { withoutControls } from '../config/io/yaml-lines.ts'
import type { Host } from './serve.ts'

/** Adds `roost config import <mosquitto.conf>` and `roost config example`. */
export function addConfigCommand(program: Command, host: Host, exitWith: (code: number) => void): void {
  const config = program
    .command('config')
    .description('work with configuration files')
    .allowExcessArguments(true)
    .action((_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra === undefined) command.help()
      else throw new StartError(`${extra}: unknown command${didYouMean(extra, ['example', 'import'])}; see roost config --help`)
    })
  config
    .command('example')
    .description('print an annotated configuration file of a typical site')
    .allowExcessArguments(false)
    .action(() => {
      host.stdout.write(exampleConfig())
    })
  config
    .command('import')
    .description('translate mosquitto.conf into a configuration of Roost; findings and a summary go to standard error')
    .argument('<mosquitto.conf>', 'the file; its include_dir is followed')
    .option('-o, --output <file>', 'write to this file instead of standard output; it must not exist')
    .option('--force', 'overwrite the output file')
    .option('--accept-losses', `exit with 0 even if options that protect a listener are lost, instead of ${PROTECTION_LOST}`)
    .action((path: string, flags: ImportFlags) => exitWith(importConfig(path, flags, host)))
}

/** Exit code of an import that lost an option which protects a listener, or might. */
const PROTECTION_LOST = 3

interface ImportFlags {
  readonly output?: string
  readonly force?: true
  readonly acceptLosses?: true
}

/**
 * Imports a mosquitto.conf and returns the exit code.
 * @throws StartError for a file that cannot be read or written, or a result that Roost would not accept
 */
function importConfig(path: string, { output, force, acceptLosses }: ImportFlags, { cwd, stdout, stderr }: Host): number {
  const { yaml, findings, summary } = importMosquitto(readConf(resolve(cwd, path), conf(cwd)), resolve(cwd, path))
  if (output === undefined) stdout.write(yaml)
  else write(resolve(cwd, output), yaml, output, force === true)
  for (const finding of findings) stderr.write(`${finding}\n`)
  const { global, listeners } = parseConfigFile(new YamlFile(output ?? 'standard output', yaml))
  resolveConfig(new Map(), global, listeners)
  for (const line of summaryLines(summary)) stderr.write(`${line}\n`)
  return summary.losesProtection && acceptLosses !== true ? PROTECTION_LOST : 0
}

function summaryLines({ carriedOver, attention, lost, losesProtection, state, verifiesUsers }: ImportSummary): string[] {
  const lines = [
    `Carried over: ${carriedOver} ${carriedOver === 1 ? 'setting' : 'settings'}.`,
    `Needs attention: ${attention === 0 ? 'nothing' : `${attention} ${attention === 1 ? 'finding' : 'findings'} above`}.`,
    `Lost: ${lost.length === 0 ? 'no setting' : lost.map(withoutControls).join(', ')}.`,
  ]
  if (state !== undefined)
    lines.push(
      `Not imported: sessions, queued and retained messages in ${withoutControls(state)}. To bring them over, stop Mosquitto, and then:`,
      `roost import ${quoted(withoutControls(state))}${verifiesUsers ? ' --users-verified' : ''}`,
    )
  if (losesProtection)
    lines.push(
      'Some of the lost options protect a listener, or may: such listeners are on 127.0.0.1 (--accept-losses exits with 0).',
    )
  return lines
}

/** For a shell. */
const quoted = (path: string): string => (/^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`)

const conf = (cwd: string): ConfFiles => ({
  read: (path, origin) => readTextFile(path, cwd, origin),
  list: (dir, origin) => {
    try {
      return readdirSync(resolve(cwd, dir))
    } catch (error) {
      throw new StartError(`${origin}: cannot read ${dir}: ${reasonOf(error)}`)
    }
  },
})

function write(path: string, text: string, origin: string, overwrite: boolean): void {
  try {
    writeFileSync(path, text, { flag: overwrite ? 'w' : 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new StartError(`--output: ${origin} exists already; --force overwrites it`)
    throw new StartError(`--output: cannot write ${origin}: ${reasonOf(error)}`)
  }
}
