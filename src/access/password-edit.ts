/** Returns why no line of a password file can be for this user; '' if one can. */
export function userNameError(name: string): string {
  if (name === '') return 'expected a user name'
  if (/[:\p{Cc}]/u.test(name)) return `user ${JSON.stringify(name)}: a name contains no colon and no control character`
  if (name.startsWith('#')) return `user ${name}: a line that starts with # is a comment`
  return Buffer.byteLength(name) > 65_535 ? 'user: longer than MQTT allows' : ''
}

/** Places of the user's lines, without their ends. Without looking at the others, of which there may be 100,000. */
function* placesOf(text: string, user: string): Generator<readonly [start: number, end: number]> {
  const head = `${user}:`
  for (let at = text.indexOf(head); at >= 0; at = text.indexOf(head, at + 1)) {
    if (at > 0 && text[at - 1] !== '\n') continue
    const end = text.indexOf('\n', at)
    yield [at, end < 0 ? text.length : end]
  }
}

/** Returns all lines of the user. */
export const linesOf = (text: string, user: string): string =>
  Array.from(placesOf(text, user), ([start, end]) => `${text.slice(start, end)}\n`).join('')

const isScram = (hash: string): boolean => hash.startsWith('$scram-')

/**
 * Returns the text of a password file with `hash` in the place of the user's hash of the same kind (SCRAM or not), or in a line at
 * the end. Everything else stays as it is, comments and blank lines too.
 */
export function withHash(text: string, user: string, hash: string): string {
  for (const [start, end] of placesOf(text, user)) {
    const from = start + user.length + 1
    if (isScram(text.slice(from, end)) !== isScram(hash)) continue
    return text.slice(0, from) + hash + text.slice(text[end - 1] === '\r' ? end - 1 : end)
  }
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${user}:${hash}\n`
}

/** Returns the text without all lines of the user. */
export function withoutUser(text: string, user: string): string {
  let left = ''
  let from = 0
  for (const [start, end] of placesOf(text, user)) {
    left += text.slice(from, start)
    from = end + 1
  }
  return left + text.slice(from)
}
