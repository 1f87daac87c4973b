import { readdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { didYouMean } from '../base/nearest.ts'
import { StartError, settle } from '../config.ts'
import { parseConfigFile } from './config-file.ts'
import { type ConfFiles, readConf } from './mosquitto-conf.ts'
import { importMosquitto } from './mosquitto-import.ts'
import type { Host } from './serve.ts'
import { readText, reasonOf } from './text-file.ts'
import { YamlFile } from './yaml-file.ts'

/** `roost config import <mosquitto.conf>` */
export function addConfigCommand(program: Command, host: Host): void {
  const config = program
    .command('config')
    .description('work with configuration files')
    .allowExcessArguments(true)
    .action((_: unknown, command: Command) => {
      const [extra] = command.args
      if (extra === undefined) command.help()
      else throw new StartError(`${extra}: unknown command${didYouMean(extra, ['import'])}; see roost config --help`)
    })
  config
    .command('import')
    .description("write Mosquitto's configuration as one of Roost; what has no counterpart is told on standard error")
    .argument('<mosquitto.conf>', 'the file, whose include_dir is followed')
    .option('-o, --output <file>', 'write to this file instead of standard output')
    .action((path: string, { output }: { output?: string }) => importConfig(path, output, host))
}

/** @throws StartError for a file that cannot be read or written, and for one that means nothing to Roost. */
function importConfig(path: string, output: string | undefined, { cwd, stdout, stderr }: Host): void {
  const { yaml, findings } = importMosquitto(readConf(resolve(cwd, path), conf(cwd)), resolve(cwd, path))
  if (output === undefined) stdout.write(yaml)
  else write(resolve(cwd, output), yaml, output)
  for (const finding of findings) stderr.write(`${finding}\n`)
  const { global, listeners } = parseConfigFile(new YamlFile(output ?? 'standard output', yaml))
  settle(new Map(), global, listeners)
}

const conf = (cwd: string): ConfFiles => ({
  read: (path, origin) => readText(path, cwd, origin),
  list: (dir, origin) => {
    try {
      return readdirSync(resolve(cwd, dir))
    } catch (error) {
      throw new StartError(`${origin}: cannot read ${dir}: ${reasonOf(error)}`)
    }
  },
})

function write(path: string, text: string, origin: string): void {
  try {
    writeFileSync(path, text)
  } catch (error) {
    throw new StartError(`--output: cannot write ${origin}: ${reasonOf(error)}`)
  }
}
