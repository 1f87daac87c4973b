import { didYouMean } from '../base/nearest.ts'
import type { QoS } from '../mqtt/publish.ts'

/** What a program has given in place of what was expected. */
export const typeName = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value)

/** A topic or the like as an error names it: errors are lines for people, and a topic may have 65535 bytes. */
export const short = (text: string): string => (text.length > 100 ? `${text.slice(0, 100)}...` : text)

/** Checks an optional object of options. `where` begins the message. @throws TypeError that names the option */
export function optionsOf<T extends object>(where: string, options: T | undefined, keys: readonly (keyof T & string)[]): T {
  if (options === undefined) return {} as T
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new TypeError(`${where}: expected an object of options, got ${typeName(options)}`)
  for (const key of Object.keys(options))
    if (!(keys as readonly string[]).includes(key))
      throw new TypeError(`${where}: ${key}: unknown option${didYouMean(key, keys)}`)
  return options
}

/** 0 if absent. @throws TypeError */
export function qosOf(where: string, qos: unknown): QoS {
  if (qos === undefined) return 0
  if (qos !== 0 && qos !== 1 && qos !== 2) throw new TypeError(`${where}: qos: expected 0, 1 or 2, got ${String(qos)}`)
  return qos
}
