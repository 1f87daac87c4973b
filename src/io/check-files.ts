import { AccessFiles } from '../access/io/access-files.ts'
import { type Config, StartError } from '../config.ts'
import { readTlsContext } from '../mqtt/io/tls.ts'
import { tlsOptions } from './listeners.ts'
import { openSensorUsers } from './sensor-users.ts'

/**
 * Reads every file that a start would read, as a start reads it, and gives what is worth a warning.
 * @throws StartError for the first that is wrong
 */
export async function checkFiles(config: Config): Promise<readonly string[]> {
  const { warnings } = new AccessFiles(config)
  openSensorUsers(config)
  for (const listener of config.listeners) {
    const tls = tlsOptions(listener)
    if (tls === undefined) continue
    await readTlsContext(tls).catch((error: unknown) => {
      throw error instanceof StartError ? new StartError(`${listener.origin}: ${error.message}`) : error
    })
  }
  return warnings
}
