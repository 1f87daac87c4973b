import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Only the owner may look into what is made. */
const MODE = 0o700

/**
 * Makes a directory and those above it that are missing; gives the topmost that it made, `undefined` if all were there. Rejects with the
 * system's error. Node's own recursive `mkdir` does not end where the system denies a directory below one that exists, as in `/proc`.
 */
export async function makeDirectory(path: string): Promise<string | undefined> {
  const missing: string[] = []
  for (let dir = path; !(await isThere(dir)); dir = dirname(dir)) missing.push(dir)
  for (const dir of missing.toReversed()) await makeOne(dir)
  return missing.at(-1)
}

async function makeOne(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: MODE })
  } catch (error) {
    // Another process may have been quicker.
    if (!(await stat(dir).catch(() => undefined))?.isDirectory()) throw error
  }
}

/** @throws what the system says, if that is not that there is nothing, or that it is no directory */
async function isThere(dir: string): Promise<boolean> {
  try {
    const found = await stat(dir)
    if (!found.isDirectory()) throw Object.assign(new Error(`ENOTDIR: not a directory, '${dir}'`), { code: 'ENOTDIR' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
