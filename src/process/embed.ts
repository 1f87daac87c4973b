import { isDeepStrictEqual } from 'node:util'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { bridgesOfObjects } from '../config/bridges.ts'
import {
  authenticates,
  type Config,
  certificateRole,
  DEFAULT_CONFIG,
  type Given,
  inWords,
  isLoopback,
  resolveConfig,
} from '../config/config.ts'
import { type Option, type OptionKey, options } from '../config/options.ts'
import type { Logger } from './log.ts'
import { type Running, startProcess } from './roost.ts'

/** Log levels that Roost uses. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]

/**
 * A logger: pino, `console`, or any subset of their methods. If a method is missing, lines of its level are dropped.
 */
export type EmbeddedLog = {
  // biome-ignore lint/suspicious/noExplicitAny: whatever a logger's methods take.
  readonly [level in Level]?: ((...parts: any[]) => unknown) | undefined
} & {
  // biome-ignore lint/suspicious/noExplicitAny: pino has a narrower type of its own.
  readonly isLevelEnabled?: ((level: any) => boolean) | undefined
}

/**
 * Starts broker and gateway inside another program, with DEFAULT_CONFIG and any of its keys changed.
 *
 * Every key either takes effect or is an error. If `listeners` (or `snListeners`) are those of DEFAULT_CONFIG, the
 * listener is the one described by the other keys, as with the flags of `roost serve`. If they are set, a changed key
 * that their entries do not repeat is an error, as is an unknown key.
 *
 * @param log no log if absent
 * @throws StartError: one line that names the key
 */
export async function startRoost(config: Config, log: EmbeddedLog = {}, version?: string): Promise<Running> {
  return startProcess(embeddedConfig(config), asLogger(log), version)
}

/** Returns the configuration with every changed key in effect. @throws StartError */
export function embeddedConfig(config: Config): Config {
  refuseUnknown(config, DEFAULT_CONFIG, '')
  if (config.logFile !== undefined) throw new StartError('logFile: has no effect here: pass a log that writes to it')
  const layer = new Map<OptionKey, Given>()
  for (const option of options) {
    const value = (config as Record<string, unknown>)[option.name]
    if (value === undefined || isDeepStrictEqual(value, (DEFAULT_CONFIG as Record<string, unknown>)[option.name])) continue
    layer.set(option.key, { value: checked(option, value), origin: option.name })
  }
  const { predefinedTopics = [], bridges = [] } = config
  const settled = resolveConfig(layer, new Map())
  const own = !isDeepStrictEqual(config.listeners, DEFAULT_CONFIG.listeners)
  const ownSn = !isDeepStrictEqual(config.snListeners, DEFAULT_CONFIG.snListeners)
  if (own) checkEntries('listeners', config.listeners, DEFAULT_CONFIG.listeners[0]!)
  if (ownSn) checkEntries('snListeners', config.snListeners, DEFAULT_CONFIG.snListeners[0]!)
  refuseOpen(settled, own ? config.listeners : [], ownSn ? config.snListeners : [])
  for (const option of options) {
    if (!layer.has(option.key)) continue
    if (own && option.listener !== undefined && !COUNT_GLOBALLY.has(option.key))
      refuseIneffective(option.name, settled, config.listeners, 'listeners')
    if (ownSn && option.snListener !== undefined) refuseIneffective(option.name, settled, config.snListeners, 'snListeners')
  }
  return {
    ...settled,
    predefinedTopics,
    bridges: bridgesOfObjects(bridges),
    ...(own && { listeners: config.listeners }),
    ...(ownSn && { snListeners: config.snListeners }),
  }
}

/** Limits that apply to all listeners together as well. */
const COUNT_GLOBALLY: ReadonlySet<OptionKey> = new Set(['max_connections'] as const)

function refuseUnknown(found: object, known: object, where: string): void {
  const names = Object.keys(known)
  for (const key of Object.keys(found)) {
    if (!names.includes(key)) throw new StartError(`${where}${key}: unknown key${didYouMean(key.replaceAll('_', ''), names)}`)
  }
}

/**
 * Validates a value. Some resolved values differ from those in a file: a parsed list, a number for permissions,
 * Infinity for off.
 */
function checked(option: Option, value: unknown): unknown {
  const parsed = option.schema.safeParse(value)
  if (parsed.success) return parsed.data
  const isInner = value === Number.POSITIVE_INFINITY || Array.isArray(value) || option.placeholder === 'mode'
  if (!isInner) throw new StartError(`${option.name}: expected ${option.expected}, got ${inWords(value)}`)
  return value
}

function checkEntries(list: string, entries: readonly { readonly name: string }[], known: object): void {
  if (entries.length === 0) throw new StartError(`${list}: expected at least one listener, got none`)
  const names = new Set<string>()
  for (const [i, entry] of entries.entries()) {
    refuseUnknown(entry, known, `${list}[${i}].`)
    // Access rules and routes of sensors are looked up by name.
    if (typeof entry.name !== 'string' || names.has(entry.name))
      throw new StartError(`${list}[${i}].name: expected a name that no other listener has, got ${inWords(entry.name)}`)
    names.add(entry.name)
  }
}

/**
 * Refuses unprotected listeners. The listener of DEFAULT_CONFIG accepts anonymous clients, because it is on loopback
 * and has no authentication; neither need be true of a modified copy.
 */
function refuseOpen(
  config: Pick<Config, 'allowAnonymous'> & Parameters<typeof authenticates>[0],
  listeners: Config['listeners'],
  snListeners: Config['snListeners'],
): void {
  if (config.allowAnonymous === true) return
  for (const [i, entry] of listeners.entries()) {
    const isLocal = entry.socketPath !== undefined || isLoopback(entry.host)
    const isVerified = authenticates(entry) || certificateRole(entry) !== 'none'
    if (entry.allowAnonymous && (!isLocal || isVerified))
      throw new StartError(
        `listeners[${i}].allowAnonymous: is true: set it to false, or allowAnonymous of the configuration to true`,
      )
  }
  if (config.allowAnonymous === false || authenticates(config)) return
  for (const [i, { device, host }] of snListeners.entries()) {
    if (device === undefined && !isLoopback(host))
      throw new StartError(`snListeners[${i}].host: ${host} is not loopback: set allowAnonymous, or a way to authenticate`)
  }
}

function refuseIneffective(name: string, settled: object, entries: readonly object[], list: string): void {
  const inEntry = list === 'listeners' ? name : name.replace(/^sn([A-Z])/, (_, letter: string) => letter.toLowerCase())
  const value = (settled as Record<string, unknown>)[name]
  if (entries.some((entry) => !isDeepStrictEqual((entry as Record<string, unknown>)[inEntry], value)))
    throw new StartError(`${name}: has no effect on ${list} that are given: set ${inEntry} in each of them, or leave ${list} out`)
}

/** Completes the logger with all methods that Roost uses. An exception in a method must not end the broker. */
function asLogger(log: EmbeddedLog): Logger {
  const safe = (level: Level) => {
    if (typeof log[level] !== 'function') return () => {}
    return (...parts: unknown[]): void => {
      try {
        log[level]?.(...parts)
      } catch {}
    }
  }
  const methods = Object.fromEntries(LEVELS.map((level) => [level, safe(level)]))
  // `console.trace` prints a stack trace, so it does not enable the level trace.
  const isLevelEnabled = (level: Level): boolean =>
    log.isLevelEnabled?.(level) ?? (level !== 'trace' && typeof log[level] === 'function')
  return { ...methods, isLevelEnabled } as unknown as Logger
}
