import { isDeepStrictEqual } from 'node:util'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
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

/** Levels of the lines that a started Roost writes. */
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]

/** Where log lines go: pino, `console`, or any of their methods. A method that is missing drops the lines of its level. */
export type EmbeddedLog = {
  // biome-ignore lint/suspicious/noExplicitAny: whatever a logger's methods take.
  readonly [level in Level]?: ((...parts: any[]) => unknown) | undefined
} & {
  // biome-ignore lint/suspicious/noExplicitAny: pino has a narrower type of its own.
  readonly isLevelEnabled?: ((level: any) => boolean) | undefined
}

/**
 * Starts broker and gateway within another program, with DEFAULT_CONFIG and any of its keys changed.
 *
 * A key is obeyed or refused: where `listeners` (or `snListeners`) are those of DEFAULT_CONFIG, the listener is the one that the other keys
 * describe, as with the flags of `roost serve`. Where they are given, a key that they do not carry is an error, as is one that is not known.
 *
 * @param log none for no log
 * @throws StartError: one line that names the key
 */
export async function startRoost(config: Config, log: EmbeddedLog = {}, version?: string): Promise<Running> {
  return startProcess(embeddedConfig(config), asLogger(log), version)
}

/** The configuration in which every changed key is in force. @throws StartError */
export function embeddedConfig(config: Config): Config {
  refuseUnknown(config, DEFAULT_CONFIG, '')
  const layer = new Map<OptionKey, Given>()
  for (const option of options) {
    const value = (config as Record<string, unknown>)[option.name]
    if (value === undefined || isDeepStrictEqual(value, (DEFAULT_CONFIG as Record<string, unknown>)[option.name])) continue
    layer.set(option.key, { value: checked(option, value), origin: option.name })
  }
  const { predefinedTopics = [] } = config
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
    ...(own && { listeners: config.listeners }),
    ...(ownSn && { snListeners: config.snListeners }),
  }
}

/** Bounds that count for all listeners together as well. */
const COUNT_GLOBALLY: ReadonlySet<OptionKey> = new Set(['max_connections'] as const)

function refuseUnknown(found: object, known: object, where: string): void {
  const names = Object.keys(known)
  for (const key of Object.keys(found)) {
    if (!names.includes(key)) throw new StartError(`${where}${key}: unknown key${didYouMean(key.replaceAll('_', ''), names)}`)
  }
}

/** Values of some options are other ones inside than in a file: a list that was read, a number for permissions, Infinity for off. */
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
    // Access rules and routes of sensors are found by name.
    if (typeof entry.name !== 'string' || names.has(entry.name))
      throw new StartError(`${list}[${i}].name: expected a name that no other listener has, got ${inWords(entry.name)}`)
    names.add(entry.name)
  }
}

/** That of DEFAULT_CONFIG accepts anonymous clients, because it is on loopback and nothing verifies them: a copy may be neither. */
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

/** A logger with all methods that are used. A method that throws must not end the broker. */
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
  // `console.trace` is something else.
  const isLevelEnabled = (level: Level): boolean =>
    log.isLevelEnabled?.(level) ?? (level !== 'trace' && typeof log[level] === 'function')
  return { ...methods, isLevelEnabled } as unknown as Logger
}
