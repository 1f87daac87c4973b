import { readFileSync } from 'node:fs'
import type { Config } from '../config/config.ts'

/**
 * Descriptors that connections leave free, and one of which refuses the next connection: for files that are read again, the HTTP service,
 * and the store. Where a process may have few, a quarter of them.
 */
const SPARE_DESCRIPTORS = 32

/** Number of files and sockets that this process may have open (`ulimit -n`); undefined where there is no way to know. */
export function openFilesLimit(): number | undefined {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
    return soft === undefined ? undefined : Number(soft)
  } catch {
    return undefined
  }
}

/** Descriptors up to which connections are accepted: the system gives the lowest that is free, so that those below are in use. */
export const descriptorsForConnections = (limit: number): number => limit - Math.min(SPARE_DESCRIPTORS, Math.floor(limit / 4))

/** Warns of a `max_connections` that the system does not allow. */
export function openFilesWarning(
  { maxConnections }: Pick<Config, 'maxConnections'>,
  limit: number | undefined,
): string | undefined {
  if (limit === undefined || maxConnections <= descriptorsForConnections(limit)) return undefined
  return `max_connections is ${maxConnections}, but this process may open only ${limit} files and sockets: raise that (ulimit -n, or LimitNOFILE= of systemd) or lower max_connections`
}
