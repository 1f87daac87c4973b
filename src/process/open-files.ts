import { readdirSync, readFileSync, statSync } from 'node:fs'

/**
 * The number of files that this process must be able to open. Node.js opens all modules of an import at the same time; with too low
 * a limit it ends with EMFILE before Roost can say why. 192 are too few today, and 200 are enough.
 */
export const OPEN_FILES_MIN = 256

/**
 * Returns the number of files and sockets that this process may open (`ulimit -n`); undefined if it cannot be
 * determined, as on systems other than Linux.
 */
export function openFilesLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}

const OPEN_FILES = '/proc/self/fd'

/**
 * Number of files and sockets that this process has open. Linux 6.2 and later say it as the size of the directory, in 0.5 ms; to
 * list the directory takes 50 ms with 19,000 of them, in which no client is served.
 */
export function openFilesCount(): number {
  const { size } = statSync(OPEN_FILES)
  // Not counting the one that lists them.
  return size > 0 ? size : readdirSync(OPEN_FILES).length - 1
}

/** Returns why this process cannot start; undefined if it may open enough files. */
export function tooFewOpenFiles(limit: number | undefined): string | undefined {
  if (limit === undefined || limit >= OPEN_FILES_MIN) return undefined
  return `this process may open only ${limit} files and sockets, and Roost needs ${OPEN_FILES_MIN}: raise that (ulimit -n, or LimitNOFILE= of systemd)`
}
