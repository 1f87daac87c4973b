import { decodeUtf8, utf8Error } from '../base/bytes.ts'

/**
 * Bytes of a JSON payload that is looked into: a larger one takes too much of a turn of the event loop. 64 KiB take about half a
 * millisecond to parse.
 */
export const JSON_BYTES_MAX = 64 * 1024
/** Lists and objects within each other: whatever walks through the value by recursion must not reach the end of the stack. */
export const JSON_DEPTH_MAX = 32

/** What a payload says, or a line about why it says nothing. */
export type Content = { readonly value: unknown } | { readonly problem: string }

const NOT_JSON: Content = { problem: 'is not valid JSON' }
const TOO_LARGE: Content = { problem: `has more than ${JSON_BYTES_MAX} bytes, the most that is looked into` }
const TOO_DEEP: Content = { problem: `has more than ${JSON_DEPTH_MAX} lists and objects within each other` }

/** Parses a payload as JSON (RFC 8259, so UTF-8). */
export function parseJson(payload: Uint8Array): Content {
  const { length } = payload
  if (length > JSON_BYTES_MAX) return TOO_LARGE
  if (utf8Error(payload, 0, length) !== '') return NOT_JSON
  if (isTooDeep(payload)) return TOO_DEEP
  try {
    // It does not recurse, and its message would repeat the payload.
    return { value: JSON.parse(decodeUtf8(payload, 0, length)) }
  } catch {
    return NOT_JSON
  }
}

const [QUOTE, BACKSLASH, LIST, LIST_END, MAP, MAP_END] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d]

function isTooDeep(payload: Uint8Array): boolean {
  let opened = 0
  for (let i = 0; i < payload.length; i++) if (payload[i] === LIST || payload[i] === MAP) opened++
  return opened > JSON_DEPTH_MAX && depthOf(payload) > JSON_DEPTH_MAX
}

function depthOf(payload: Uint8Array): number {
  let depth = 0
  let most = 0
  let inText = false
  for (let i = 0; i < payload.length; i++) {
    const byte = payload[i]!
    if (inText) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inText = false
    } else if (byte === QUOTE) inText = true
    else if (byte === LIST || byte === MAP) most = Math.max(most, ++depth)
    else if (byte === LIST_END || byte === MAP_END) depth--
  }
  return most
}
