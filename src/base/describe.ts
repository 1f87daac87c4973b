import { quoted } from './quoted.ts'

/** What a description of a packet may show beside its fields. */
export interface Shown {
  /** Name of the topic that the packet's topic id or topic alias stands for. */
  readonly topic?: string | undefined
  /** Also shows payloads, messages of wills, their properties and user properties. Passwords and authentication data never. */
  readonly payloads?: boolean
}

/** Maximum number of characters of a name, and of octets of a payload, that are shown. */
const NAME_MAX = 256
const PAYLOAD_MAX = 64
/** Maximum number of items of a list that are shown. */
const ITEMS_MAX = 16

const PLAIN = /^[\w./:@$%+#*-]+$/

/** Returns a name in quotes, with everything escaped that a terminal would obey, and truncated if it is long. */
export const name = (value: string): string =>
  value.length > NAME_MAX ? `${quoted(value.slice(0, NAME_MAX))}...` : quoted(value)

/** As `name`, but a name of letters, digits and the like stands without quotes. */
export const plainName = (value: string): string => (PLAIN.test(value) && value.length <= NAME_MAX ? value : name(value))

/** `topic="a/b"` */
export const field = (key: string, value: string): string => `${key}=${name(value)}`

/** Returns the names of the flags that are set. */
export const flags = (named: Readonly<Record<string, boolean>>): string[] => Object.keys(named).filter((key) => named[key])

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

/** Returns the size of a payload, and with `payloads` its beginning: as text if that is printable, otherwise as hex. */
export function payload(bytes: Uint8Array, { payloads = false }: Shown): string {
  const size = `${bytes.length} ${bytes.length === 1 ? 'byte' : 'bytes'}`
  if (!payloads || bytes.length === 0) return size
  const shown = bytes.subarray(0, PAYLOAD_MAX)
  const printable = shown.every((byte) => byte >= 0x20 && byte < 0x7f)
  const more = bytes.length > PAYLOAD_MAX ? '...' : ''
  return `${size} ${printable ? JSON.stringify(String.fromCharCode(...shown)) : `0x${hex(shown)}`}${more}`
}

/** Returns the items, separated by commas; of a long list the beginning, and the number of the others. */
export function list<T>(items: readonly T[], describe: (item: T) => string): string {
  const shown = items.slice(0, ITEMS_MAX).map(describe)
  if (items.length > ITEMS_MAX) shown.push(`and ${items.length - ITEMS_MAX} more`)
  return shown.join(', ')
}
