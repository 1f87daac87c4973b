import { readFileSync } from 'node:fs'
import { cwd } from 'node:process'
import { StartError } from '../base/start-error.ts'
import { startProcess } from '../process/roost.ts'
import { EventQueue } from './events.ts'
import { loggerOf } from './logger.ts'
import { inKeys, resolveOptions } from './options.ts'
import type { Roost } from './roost.ts'
import { RunningRoost } from './running-roost.ts'
import type { StartOptions } from './start-options.ts'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }

/**
 * Starts a broker and gateway in this process.
 * @throws StartError: one line that names the key, or the place in the configuration file
 */
export async function start(options: StartOptions = {}): Promise<Roost> {
  const { config, hooks, warnings } = resolveOptions(options, cwd())
  const log = loggerOf(options.log, config.logLevel)
  for (const warning of warnings) log.warn(warning)
  try {
    const events = new EventQueue((line) => log.error(line))
    const running = await startProcess(config, log, { version, hooks, events, onNotice: events.onNotice })
    return new RunningRoost(running, log, events)
  } catch (error) {
    throw error instanceof StartError ? new StartError(inKeys(error.message)) : error
  }
}
