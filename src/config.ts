import { type Option, type OptionKey, options, type Settings } from './base/options.ts'

/** One predefined topic id table [1.2 section 6.5]: the clients that it is for, and what their ids mean. */
export interface PredefinedTopicTable {
  /** A client id; `*` stands for any number of any characters. */
  readonly pattern: string
  /** Topic names by topic id, 1 to 65534. */
  readonly topics: ReadonlyMap<number, string>
}

/** In the order of the file. Where several patterns match a client and give the same id, the last one counts. */
export type PredefinedTopics = readonly PredefinedTopicTable[]

/** All that Roost needs to know to start. Relative paths are relative to the working directory. */
export type Config = Omit<Settings, 'config' | 'testConfig' | 'predefinedTopics'> & {
  readonly predefinedTopics: PredefinedTopics
}

/** An error of the person who starts Roost: one line that names the flag or the place in a file. */
export class StartError extends Error {}

/** One option's value, and where it came from: `--port`, or `roost.yaml:3:7: port`. */
export interface Given {
  readonly value: unknown
  readonly origin: string
}

/** Checked values of one source of options. */
export type Layer = ReadonlyMap<OptionKey, Given>

/** Checks one value as it was written. @throws StartError */
export function given(option: Option, raw: unknown, origin: string): Given {
  const parsed = option.schema.safeParse(raw)
  if (!parsed.success || raw === undefined) throw new StartError(`${origin}: expected ${option.expected}, got ${inWords(raw)}`)
  return { value: parsed.data, origin }
}

/** A value that was not expected, short enough for an error's one line. */
export function inWords(raw: unknown): string {
  if (raw === undefined || raw === null) return 'nothing'
  if (Array.isArray(raw)) return 'a list'
  if (typeof raw === 'object') return 'a map'
  const text = typeof raw === 'string' ? JSON.stringify(raw) : String(raw)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

/**
 * Puts the layers on top of each other: flags win over the file, the file wins over the defaults. `memory` and `data_dir` are one
 * choice, so the flag for the one also wins over the file's other.
 *
 * @throws StartError for options that contradict each other.
 */
export function settle(flags: Layer, file: Layer): Settings {
  for (const layer of [flags, file]) {
    const dataDir = layer.get('data_dir')
    const memory = layer.get('memory')
    if (dataDir !== undefined && memory?.value === true) {
      throw new StartError(`${memory.origin}: excludes ${dataDir.origin}; leave one of them out`)
    }
  }
  const merged = new Map<OptionKey, Given>([...file, ...flags])
  if (flags.has('data_dir')) merged.delete('memory')
  refuseStrangers(merged)
  return Object.fromEntries(
    options.map(({ key, name, schema, default: byDefault }) => [
      name,
      merged.has(key) ? merged.get(key)?.value : schema.parse(byDefault),
    ]),
  ) as unknown as Settings
}

/** Nobody opens a broker without passwords to a network by accident. */
function refuseStrangers(merged: Layer): void {
  if (merged.get('allow_anonymous')?.value === true) return
  for (const key of ['host', 'sn_host'] as const) {
    const host = merged.get(key)
    if (host === undefined || isLoopback(String(host.value))) continue
    throw new StartError(
      `${host.origin}: ${host.value} is not loopback, and anybody who reaches it could connect without a password: to permit that, add --allow-anonymous`,
    )
  }
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  return /^(localhost|::1|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.test(host)
}

/** What Roost runs with when nobody says anything. */
export const DEFAULT_CONFIG: Config = toConfig(settle(new Map(), new Map()), [])

export function toConfig(settings: Settings, predefinedTopics: PredefinedTopics): Config {
  const { config: _, testConfig: __, ...rest } = settings
  return { ...rest, predefinedTopics }
}
