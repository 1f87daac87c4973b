import type { Role } from './exchange.ts'

/** Shorter tokens could be guessed. */
export const TOKEN_LENGTH_MIN = 32
const TOKEN = /^[\x21-\x7e]+$/

/** Parses a `http_token_file`: `view TOKEN` or `manage TOKEN` on each line; `#` begins a comment. */
export function parseTokens(text: string): ReadonlyMap<string, Role> | { readonly line: number; readonly reason: string } {
  const tokens = new Map<string, Role>()
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const [role, token = '', ...rest] = line.split(/\s+/)
    const broken = (reason: string) => ({ line: i + 1, reason })
    if ((role !== 'view' && role !== 'manage') || rest.length > 0) return broken('expected `view TOKEN` or `manage TOKEN`')
    if (token.length < TOKEN_LENGTH_MIN || !TOKEN.test(token))
      return broken(`expected a token of at least ${TOKEN_LENGTH_MIN} characters`)
    if (tokens.has(token)) return broken('this token comes twice')
    tokens.set(token, role)
  }
  return tokens
}
