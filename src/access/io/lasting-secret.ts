import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'

const FILE = 'scram-secret'
const BYTES = 32

/**
 * Returns 32 random bytes that survive restarts in a file of the data directory, which is created if missing. With
 * them, fake challenges can be told from real ones; they grant no access.
 * @throws StartError if the file can be neither read nor created
 */
export function lastingSecret(dataDir: string): Uint8Array {
  const path = join(dataDir, FILE)
  try {
    return read(path) ?? made(path)
  } catch (error) {
    throw new StartError(`${path}: ${reasonOf(error)}`)
  }
}

/** Returns `undefined` if there is no file, or if a crash truncated it. */
function read(path: string): Uint8Array | undefined {
  try {
    const bytes = readFileSync(path)
    return bytes.length === BYTES ? bytes : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function made(path: string): Uint8Array {
  const secret = randomBytes(BYTES)
  writeFileSync(path, secret, { mode: 0o600 })
  return secret
}
