import { readFileSync } from 'node:fs'
import type { Config } from '../config/config.ts'

/**
 * Number of descriptors that connections leave free, one of which is needed to refuse the next connection: for files
 * that are reloaded, the HTTP service, and the store. If the process may have few descriptors, a quarter of them.
 */
const SPARE_DESCRIPTORS = 32

/**
 * Returns the number of files and sockets that this process may open (`ulimit -n`); undefined if it cannot be
 * determined.
 */
export function openFilesLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}

/**
 * Returns the highest descriptor up to which connections are accepted. The system assigns the lowest free descriptor,
 * so all those below it are in use.
 */
export const descriptorsForConnections = (limit: number): number => limit - Math.min(SPARE_DESCRIPTORS, Math.floor(limit / 4))

/** Returns a warning if the system does not allow `max_connections`; otherwise undefined. */
export function openFilesWarning(
  { maxConnections }: Pick<Config, 'maxConnections'>,
  limit: number | undefined,
): string | undefined {
  if (limit === undefined || maxConnections <= descriptorsForConnections(limit)) return undefined
  return `max_connections is ${maxConnections}, but this process may open only ${limit} files and sockets: raise that (ulimit -n, or LimitNOFILE= of systemd) or lower max_connections`
}
