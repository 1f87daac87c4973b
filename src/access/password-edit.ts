/** Returns why no line of a password file can be for this user; '' if one can. */
export function userNameError(name: string): string {
  if (name === '') return 'expected a user name'
  if (/[:\p{Cc}]/u.test(name)) return `user ${JSON.stringify(name)}: a name contains no colon and no control character`
  if (name.startsWith('#')) return `user ${name}: a line that starts with # is a comment`
  return Buffer.byteLength(name) > 65_535 ? 'user: longer than MQTT allows' : ''
}

const isOf = (line: string, user: string): boolean => line.startsWith(`${user}:`)
const isScram = (line: string, user: string): boolean => line.startsWith(`${user}:$scram-`)

/**
 * Returns the text of a password file with `hash` in the place of the user's hash of the same kind (SCRAM or not), or in a line at
 * the end. Everything else stays as it is, comments and blank lines too.
 */
export function withHash(text: string, user: string, hash: string): string {
  const line = `${user}:${hash}`
  const lines = text.split('\n')
  const at = lines.findIndex((old) => isOf(old, user) && isScram(old, user) === isScram(line, user))
  if (at >= 0) return lines.with(at, lines[at]!.endsWith('\r') ? `${line}\r` : line).join('\n')
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${line}\n`
}

/** Returns the text without all lines of the user. */
export const withoutUser = (text: string, user: string): string =>
  text
    .split('\n')
    .filter((line) => !isOf(line, user))
    .join('\n')
