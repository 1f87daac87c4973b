import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { AccessFiles } from '../access/io/access-files.ts'
import { StartError } from '../base/start-error.ts'
import type { Config } from '../config/config.ts'
import { openSensorUsers } from '../config/io/sensor-users.ts'
import { reasonOf } from '../config/io/text-file.ts'
import type { BridgeConfig } from '../config/options/bridges.ts'
import type { UpstreamConfig } from '../config/options/upstream.ts'
import { HttpUsers } from '../http/io/http-users.ts'
import { readTls } from '../http/io/tls.ts'
import { readAuthorities, readCertificate, readTlsContext } from '../mqtt/io/tls.ts'
import { bridgeOptions } from './bridge-options.ts'
import { conditionOptions } from './conditions.ts'
import { openContent } from './content.ts'
import { tlsOptions } from './listeners.ts'
import { upstreamOptions } from './upstream-options.ts'

/** File of a store written by a version before SQLite. */
const LMDB_FILE = 'data.mdb'

/**
 * Reads every file that a start would read, in the same way, and checks that the start could write where it has to. A
 * store that is in use is not touched. Returns warnings.
 * @throws StartError for the first error
 */
export async function checkFiles(config: Config): Promise<readonly string[]> {
  const warnings = [...new AccessFiles(config).warnings, ...checkHttp(config)]
  openSensorUsers(config)
  conditionOptions(config)
  await openContent(config)
  if (!config.memory) checkDataDirectory(config.dataDir)
  if (config.traceFile !== undefined) checkWritable(dirname(resolve(config.traceFile)), '--trace-file')
  if (config.logFile !== undefined) checkWritable(dirname(resolve(config.logFile)), '--log-file')
  for (const bridge of config.bridges) {
    bridgeOptions(config, bridge)
    await checkTls(bridge)
  }
  if (config.upstream !== undefined) {
    upstreamOptions(config, config.upstream)
    await checkTls(config.upstream)
  }
  for (const listener of config.listeners) {
    if (listener.socketPath !== undefined) checkWritable(dirname(resolve(listener.socketPath)), listener.origin)
    const tls = tlsOptions(listener)
    if (tls === undefined) continue
    await readTlsContext(tls).catch((error: unknown) => {
      throw error instanceof StartError ? new StartError(`${listener.origin}: ${error.message}`) : error
    })
  }
  return warnings
}

/** Reads what is read when a far side is dialled. */
async function checkTls({ cafile, capath, certfile, keyfile, origin }: BridgeConfig | UpstreamConfig): Promise<void> {
  try {
    await readAuthorities(cafile, capath)
    if (certfile !== undefined && keyfile !== undefined) readCertificate(certfile, keyfile)
  } catch (error) {
    throw error instanceof StartError ? new StartError(`${origin}: ${error.message}`) : error
  }
}

/** Files of the HTTP service. */
function checkHttp(config: Config): readonly string[] {
  if (!config.http) return []
  const { httpCertfile: certfile, httpKeyfile: keyfile } = config
  if (certfile !== undefined && keyfile !== undefined) readTls({ certfile, keyfile })
  return new HttpUsers(config, 'view').warnings
}

function checkDataDirectory(dir: string): void {
  if (existsSync(join(dir, LMDB_FILE))) throw new StartError(`--data-dir: ${join(dir, LMDB_FILE)} is a store of an older version`)
  // A start creates missing directories, so the nearest existing one must be writable.
  let there = resolve(dir)
  while (!existsSync(there)) there = dirname(there)
  checkWritable(there, '--data-dir')
}

function checkWritable(dir: string, origin: string): void {
  try {
    if (!statSync(dir).isDirectory()) throw new StartError(`${origin}: ${dir} is not a directory`)
    accessSync(dir, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`${origin}: cannot write to ${dir}: ${reasonOf(error)}`)
  }
}
