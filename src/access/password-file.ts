/** Number of iterations that OWASP recommends for PBKDF2 with SHA-512. */
export const DEFAULT_ITERATIONS = 210_000
/** Minimum number of iterations of SCRAM-SHA-256 according to RFC 7677. */
export const SCRAM_ITERATIONS = 4096

/** A salted hash in the format of mosquitto_passwd: `$7$` is PBKDF2 with SHA-512, `$6$` one round of SHA-512. */
export interface PasswordHash {
  readonly kind: 'pbkdf2' | 'sha512'
  /** Number of iterations; 1 for `sha512`. */
  readonly iterations: number
  /** Base64, as is the hash of 64 bytes. */
  readonly salt: string
  readonly hash: string
}

/** The SCRAM-SHA-256 credential of a password [RFC 5802]; all fields but the count in base64. */
export interface ScramCredential {
  readonly iterations: number
  readonly salt: string
  readonly storedKey: string
  readonly serverKey: string
}

export interface PasswordEntry {
  readonly password: PasswordHash | undefined
  readonly scram: ScramCredential | undefined
  /** The user's lines in the file, which change whenever the password does. */
  readonly text: string
}

export interface PasswordError {
  readonly line: number
  readonly reason: string
}

/** Maximum number of iterations. More would only burn processor time at every login. */
const ITERATIONS_MAX = 10_000_000
const HASH_BYTES = 64
const KEY_BYTES = 32

/** The contents of a password file. */
export interface PasswordLines {
  /** Includes the users of invalid lines, who are refused (`isRefused`). */
  readonly users: Map<string, PasswordEntry>
  /** Invalid lines, in the order of the file. */
  readonly broken: readonly PasswordError[]
}

/**
 * True for a user whose line in the file is invalid: no password matches, and no other way to authenticate is tried.
 */
export const isRefused = ({ password, scram }: PasswordEntry): boolean => password === undefined && scram === undefined

/**
 * True if a copy of the file would give away an ordinary password in less time than one with a hash of `roost passwd`:
 * one round of SHA-512, or few rounds, as by mosquitto_passwd.
 */
export const isWeak = ({ password, scram }: PasswordEntry): boolean =>
  (password !== undefined && (password.kind === 'sha512' || password.iterations < DEFAULT_ITERATIONS)) ||
  (scram !== undefined && scram.iterations < SCRAM_ITERATIONS)

/** Returns the users of a `password_file`, or its first invalid line. */
export function parsePasswords(text: string): ReadonlyMap<string, PasswordEntry> | PasswordError {
  const { users, broken } = parsePasswordLines(text)
  return broken[0] ?? users
}

/**
 * Parses a `password_file` in the format of mosquitto_passwd, with additional lines for SCRAM: `<user>:<hash>`. The
 * user of an invalid line is refused; it never becomes a user without a password.
 */
export function parsePasswordLines(text: string): PasswordLines {
  const parsing = passwordLines(text)
  for (;;) {
    const { done, value } = parsing.next()
    if (done === true) return value
  }
}

/** About five milliseconds of work. */
const LINES_PER_TURN = 1000

/** The same in steps, so that a large file can be parsed in several turns of the event loop. */
export function* passwordLines(text: string): Generator<void, PasswordLines> {
  const users = new Map<string, PasswordEntry>()
  const broken: PasswordError[] = []
  for (const [i, raw] of text.split('\n').entries()) {
    if (i % LINES_PER_TURN === LINES_PER_TURN - 1) yield
    const line = raw.replace(/\r$/, '')
    if (line.trim() === '' || line.startsWith('#')) continue
    const colon = line.indexOf(':')
    const user = colon < 0 ? line : line.slice(0, colon)
    const hash = colon < 0 ? '' : line.slice(colon + 1)
    const known = users.get(user)
    const entry = colon < 1 ? 'expected <user>:<hash>' : withLine(known, user, hash)
    if (typeof entry === 'string') {
      broken.push({ line: i + 1, reason: entry })
      users.set(user, { password: undefined, scram: undefined, text: hash })
      // Valid lines before or after it do not make up for an invalid one.
    } else users.set(user, known !== undefined && isRefused(known) ? known : entry)
  }
  return { users, broken }
}

/** Returns the entry with one more line, or the reason why that line is invalid. */
function withLine(known: PasswordEntry | undefined, user: string, hash: string): PasswordEntry | string {
  const parsed = parseHash(hash)
  if (typeof parsed === 'string') return `${parsed} for user ${user}`
  const isScram = 'storedKey' in parsed
  if (known !== undefined && (isScram ? known.scram : known.password) !== undefined) return `user ${user} comes twice`
  return {
    password: isScram ? known?.password : parsed,
    scram: isScram ? parsed : known?.scram,
    text: known === undefined ? hash : `${known.text}\n${hash}`,
  }
}

function parseHash(text: string): PasswordHash | ScramCredential | string {
  const [empty, scheme, ...parts] = text.split('$')
  if (empty !== '' || scheme === undefined) return 'no hash'
  switch (scheme) {
    case '7': {
      const [iterations = '', salt = '', hash = ''] = parts
      if (parts.length !== 3 || !isCount(iterations)) return 'a broken $7$ hash'
      if (!isBase64(salt) || !isBase64(hash, HASH_BYTES)) return 'a broken $7$ hash'
      return { kind: 'pbkdf2', iterations: Number(iterations), salt, hash }
    }
    case '6': {
      const [salt = '', hash = ''] = parts
      if (parts.length !== 2 || !isBase64(salt) || !isBase64(hash, HASH_BYTES)) return 'a broken $6$ hash'
      return { kind: 'sha512', iterations: 1, salt, hash }
    }
    case 'scram-sha-256': {
      const [iterations = '', salt = '', storedKey = '', serverKey = ''] = parts
      const whole = parts.length === 4 && isCount(iterations) && isBase64(salt)
      if (!whole || !isBase64(storedKey, KEY_BYTES) || !isBase64(serverKey, KEY_BYTES)) return 'a broken $scram-sha-256$ line'
      return { iterations: Number(iterations), salt, storedKey, serverKey }
    }
    default:
      // The text may be a password, which must not get into the log.
      return 'a hash that is neither $7$ nor $6$ nor $scram-sha-256$'
  }
}

const isCount = (text: string): boolean => /^[1-9]\d{0,7}$/.test(text) && Number(text) <= ITERATIONS_MAX

/** Returns whether the text is base64 of `bytes` bytes, or of at least one byte if `bytes` is undefined. */
function isBase64(text: string, bytes?: number): boolean {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text) || text.length % 4 !== 0) return false
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0
  return bytes === undefined || (text.length / 4) * 3 - padding === bytes
}
