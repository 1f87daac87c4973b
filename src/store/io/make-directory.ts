import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Only the owner may look into what is made. */
const MODE = 0o700

/**
 * Makes a directory and those above it that are missing; returns the topmost that it made, `undefined` if all were there. Node's
 * own recursive `mkdir` does not end where the system denies a directory below one that exists, as in `/proc`. @throws the
 * system's error
 */
export function makeDirectory(path: string): string | undefined {
  const missing: string[] = []
  for (let dir = path; !isThere(dir); dir = dirname(dir)) missing.push(dir)
  for (const dir of missing.toReversed()) makeOne(dir)
  return missing.at(-1)
}

function makeOne(dir: string): void {
  try {
    mkdirSync(dir, { mode: MODE })
  } catch (error) {
    // Another process may have been quicker.
    if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) throw error
  }
}

/** @throws what the system says, if that is not that there is nothing, or that it is no directory */
function isThere(dir: string): boolean {
  const found = statSync(dir, { throwIfNoEntry: false })
  if (found === undefined) return false
  if (!found.isDirectory()) throw Object.assign(new Error(`ENOTDIR: not a directory, '${dir}'`), { code: 'ENOTDIR' })
  return true
}
