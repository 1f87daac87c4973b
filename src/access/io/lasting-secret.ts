import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'

const FILE = 'scram-secret'
const BYTES = 32

/**
 * Random bytes that stay the same from one start to the next: 32 in a file of the data directory, which is made when there is none. Whoever has it can
 * tell made-up challenges from real ones; it opens nothing. @throws StartError if it can be neither read nor made
 */
export function lastingSecret(dataDir: string): Uint8Array {
  const path = join(dataDir, FILE)
  try {
    return read(path) ?? made(path)
  } catch (error) {
    throw new StartError(`${path}: ${reasonOf(error)}`)
  }
}

/** `undefined` also for one that a crash has cut short. */
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
