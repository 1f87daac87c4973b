/** Levels of nesting at most; a request of the API needs 4. V8 takes a second for half a million of them. */
const DEPTH_MAX = 32
/** Fields and items at most: a thousand user properties are 3,000. */
const VALUES_MAX = 20_000

const DECODER = new TextDecoder('utf-8', { fatal: true })

/** Parses a JSON body, or says what is wrong with it. A megabyte takes a few milliseconds, whatever is in it. */
export function parseJsonBody(bytes: Uint8Array): { readonly value: unknown } | { readonly error: string } {
  let text: string
  try {
    text = DECODER.decode(bytes)
  } catch {
    return { error: 'the body is not UTF-8' }
  }
  const error = structureError(text)
  if (error !== '') return { error }
  try {
    return { value: JSON.parse(text) }
  } catch {
    return { error: 'the body is no JSON' }
  }
}

function structureError(text: string): string {
  let depth = 0
  let values = 0
  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i)
    if (character === QUOTE) i = endOfString(text, i)
    else if (character === COMMA || character === BRACKET || character === BRACE) {
      if (++values > VALUES_MAX) return `the body has more than ${VALUES_MAX} values`
      if (character !== COMMA && ++depth > DEPTH_MAX) return `the body is nested more than ${DEPTH_MAX} levels deep`
    } else if (character === END_BRACKET || character === END_BRACE) depth--
  }
  return ''
}

/** The place of the quote that ends the string which begins here. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++
    if (backslashes % 2 === 0) return end
  }
  return text.length
}

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [BRACKET, END_BRACKET, BRACE, END_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d]
