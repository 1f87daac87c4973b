import { DEPTH_MAX, LENGTH_MAX } from './bounds.ts'

/** Where a condition is not valid: a place in its text, from 0, and why. */
export interface Fault {
  readonly at: number
  readonly reason: string
}

/**
 * What can be said of a condition before it is parsed: the parser takes seconds for brackets inside each other a hundred times.
 * Brackets and `?` are counted outside of strings and comments.
 */
export function layoutFault(text: string): Fault | undefined {
  if (text.trim() === '') return { at: 0, reason: 'it is empty' }
  if (text.length > LENGTH_MAX) return { at: LENGTH_MAX, reason: `it is longer than ${LENGTH_MAX} characters` }
  let depth = 0
  let choices = 0
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!
    if (char === '"' || char === "'") at = endOfString(text, at)
    else if (char === '/' && text[at + 1] === '/') at = endOfLine(text, at)
    else if (char === '(' || char === '[' || char === '{') depth++
    else if (char === ')' || char === ']' || char === '}') depth--
    else if (char === '?') choices++
    if (depth > DEPTH_MAX) return { at, reason: `more than ${DEPTH_MAX} brackets inside each other` }
    if (choices > DEPTH_MAX) return { at, reason: `more than ${DEPTH_MAX} times ?` }
  }
  return undefined
}

/** The place of the last character of a string that begins at `from`; that of the text if it does not end. */
function endOfString(text: string, from: number): number {
  const quote = text[from]!
  const isRaw = /(?:^|[^\w])[bB]?[rR][bB]?$/.test(text.slice(Math.max(0, from - 3), from))
  const end = text.startsWith(quote.repeat(3), from) ? quote.repeat(3) : quote
  for (let at = from + end.length; at < text.length; at++) {
    if (text[at] === '\\' && !isRaw) at++
    else if (text.startsWith(end, at)) return at + end.length - 1
  }
  return text.length
}

function endOfLine(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}
