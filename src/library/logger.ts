import { StartError } from '../base/start-error.ts'
import { inWords } from '../config/config.ts'
import type { Logger } from '../process/log.ts'
import type { Log } from './log.ts'

/** Log levels that Roost uses, with the most detail first. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]

/** Errors alone, on standard error: for a program that has given no logger. */
// biome-ignore lint/suspicious/noConsole: there is no other place for them.
const ERRORS_ONLY: Log = { info: () => {}, warn: () => {}, error: (line: string) => console.error(`roost: ${line}`) }

/** Nothing at all. */
const SILENT: Log = { ...ERRORS_ONLY, error: () => {} }

/**
 * Makes a logger for Roost of the one that a program has given, if any; false: none. Lines below `least` are left out. An exception
 * in one of its methods ends nothing. @throws StartError if it is no logger
 */
export function loggerOf(log: Log | false | undefined, least: string): Logger {
  const target = log === undefined ? ERRORS_ONLY : log === false ? SILENT : log
  if (['info', 'warn', 'error'].some((level) => typeof (target as Log | null)?.[level as 'info'] !== 'function'))
    throw new StartError(`log: expected an object with the functions info, warn and error, got ${inWords(target)}`)
  // pino, and what behaves like it. Others would print the fields, which are in the text already.
  const takesFields = typeof (target as { bindings?: unknown }).bindings === 'function'
  const { isLevelEnabled: ask } = target as { isLevelEnabled?: (level: string) => unknown }
  const from = LEVELS.indexOf(least as Level)
  // `console.trace` prints a stack trace.
  const has = (level: Level): boolean => typeof target[level] === 'function' && !(level === 'trace' && target === console)
  const isLevelEnabled = (level: Level): boolean =>
    from >= 0 && LEVELS.indexOf(level) >= from && has(level) && (typeof ask !== 'function' || ask.call(target, level) !== false)
  const write =
    (level: Level) =>
    (...parts: unknown[]): void => {
      if (!isLevelEnabled(level)) return
      try {
        target[level]?.(...(takesFields || parts.length === 1 ? parts : parts.slice(1)))
      } catch {}
    }
  return { ...Object.fromEntries(LEVELS.map((level) => [level, write(level)])), isLevelEnabled } as unknown as Logger
}
