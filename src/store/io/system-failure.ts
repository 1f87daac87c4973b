import { randomFillSync } from 'node:crypto'
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorMap } from 'node:util'

/** An error of the system. */
export interface SystemFailure {
  /** There is no room: ENOSPC or EDQUOT. */
  readonly isFull: boolean
  /** In one line, without a path: `no space left on device (ENOSPC)`. */
  readonly reason: string
}

/** More than a commit needs as a rule: what finds less room is not told from other errors. */
const PROBE_BYTES = 1024 * 1024

/** What the system says to a write in a directory; `undefined` if it succeeds. SQLite does not pass on why a write failed. */
export function probe(dir: string): SystemFailure | undefined {
  const path = join(dir, 'roost.probe')
  try {
    const file = openSync(path, 'w', 0o600)
    try {
      for (let at = 0; at < PROBE_BYTES; ) at += writeSync(file, randomFillSync(Buffer.allocUnsafe(PROBE_BYTES - at)))
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    return undefined
  } catch (error) {
    return systemFailure(error)
  } finally {
    try {
      rmSync(path, { force: true })
    } catch {
      // The directory itself may be what fails.
    }
  }
}

/** `undefined` for an error that does not come from the system. */
export function systemFailure(error: unknown): SystemFailure | undefined {
  const { errno, syscall, message } = error as NodeJS.ErrnoException
  if (errno === undefined || syscall === undefined) return undefined
  // libuv has no name for it.
  if (errno === -constants.errno.EDQUOT) return { isFull: true, reason: 'disk quota exceeded (EDQUOT)' }
  const [code, text] = getSystemErrorMap().get(errno) ?? ['', message]
  return { isFull: errno === -constants.errno.ENOSPC, reason: code === '' ? text : `${text} (${code})` }
}
