import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { readRegularFile } from '../../base/io/regular-file.ts'
import { StartError } from '../../base/start-error.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import { type PasswordEntry, SCRAM_ITERATIONS, type ScramCredential } from '../password-file.ts'

const derive = promisify(pbkdf2)

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'

const SALT_BYTES = 16
const KEY_BYTES = 32
const MESSAGE_MAX = 4096

const hmac = (key: Uint8Array, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()

/** Returns a `$scram-sha-256$` line for a new password [RFC 5802 section 3]. */
export async function scramLine(password: string, iterations: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  // RFC 5802 requires SASLprep, which equals this normalisation for all but exotic characters.
  const salted = await derive(password.normalize('NFKC'), salt, iterations, KEY_BYTES, 'sha256')
  const storedKey = sha256(hmac(salted, 'Client Key')).toString('base64')
  const serverKey = hmac(salted, 'Server Key').toString('base64')
  return `$scram-sha-256$${iterations}$${salt.toString('base64')}$${storedKey}$${serverKey}`
}

/** Secret from which fake salts are derived until a lasting one is set: see `lastingSecret`. */
const PROCESS_SECRET = randomBytes(32)

/**
 * Returns a credential for an unknown user, who gets a challenge nevertheless, and the same one every time, so that
 * challenges do not reveal which users exist. Number of rounds and salt length are those of some line in the file.
 */
function fakeCredential(username: string, users: ReadonlyMap<string, PasswordEntry>, secret: Uint8Array): ScramCredential {
  const { iterations, saltBytes } = drawn(shapesOf(users), username, secret)
  let salt = hmac(secret, `salt ${username}`)
  while (salt.length < saltBytes) salt = Buffer.concat([salt, hmac(secret, `more ${salt.length} ${username}`)])
  const key = hmac(secret, `key ${username}`).toString('base64')
  return { iterations, salt: salt.subarray(0, saltBytes).toString('base64'), storedKey: key, serverKey: key }
}

/** What a challenge reveals about a line of the password file. */
interface Shape {
  readonly iterations: number
  readonly saltBytes: number
  /** Number of lines with this shape. */
  readonly count: number
}

const ORDINARY: Shape = { iterations: SCRAM_ITERATIONS, saltBytes: SALT_BYTES, count: 1 }
/** Maximum number of shapes, the most frequent ones: each costs a hash per login. */
const SHAPES_MAX = 16
const shapes = new WeakMap<ReadonlyMap<string, PasswordEntry>, readonly Shape[]>()

function shapesOf(users: ReadonlyMap<string, PasswordEntry>): readonly Shape[] {
  const known = shapes.get(users)
  if (known !== undefined) return known
  const found = new Map<string, Shape>()
  for (const { scram } of users.values()) {
    if (scram === undefined) continue
    const { iterations } = scram
    const saltBytes = Buffer.from(scram.salt, 'base64').length
    const key = `${iterations} ${saltBytes}`
    found.set(key, { iterations, saltBytes, count: (found.get(key)?.count ?? 0) + 1 })
  }
  const most = [...found.values()].sort((a, b) => b.count - a.count).slice(0, SHAPES_MAX)
  shapes.set(users, most)
  return most
}

/**
 * Selects one of the shapes by user name (weighted rendezvous hashing). Each is selected in proportion to its number of
 * lines, and always the same for one name. Adding a line to the file changes the selection for few names: a change
 * would reveal that the user does not exist.
 */
function drawn(some: readonly Shape[], username: string, secret: Uint8Array): Shape {
  let best = ORDINARY
  let lowest = Number.POSITIVE_INFINITY
  for (const shape of some) {
    const { iterations, saltBytes, count } = shape
    const chance = (hmac(secret, `shape ${iterations} ${saltBytes} ${username}`).readUIntBE(0, 6) + 1) / 2 ** 48
    const score = -Math.log(chance) / count
    if (score < lowest) [best, lowest] = [shape, score]
  }
  return best
}

/**
 * Server side of a SCRAM-SHA-256 exchange without channel binding [RFC 5802, RFC 7677]: client-first, then
 * client-final.
 */
export class ScramExchange {
  readonly username: string
  /** The server-first-message. */
  readonly serverFirst: string
  readonly #clientFirstBare: string
  readonly #header: string
  readonly #nonce: string
  readonly #credential: ScramCredential
  readonly #known: boolean

  private constructor(first: ClientFirst, users: ReadonlyMap<string, PasswordEntry>, nonce: string, secret: Uint8Array) {
    const credential = users.get(first.username)?.scram
    // Computed for every user, so that known users take as long as unknown ones.
    const fake = fakeCredential(first.username, users, secret)
    this.username = first.username
    this.#header = first.header
    this.#clientFirstBare = first.bare
    this.#known = credential !== undefined
    this.#credential = credential ?? fake
    this.#nonce = first.nonce + nonce
    this.serverFirst = `r=${this.#nonce},s=${this.#credential.salt},i=${this.#credential.iterations}`
  }

  /**
   * Starts an exchange. Returns `undefined` if `data` is not a client-first-message, or requires channel binding, which
   * is not supported.
   */
  static begin(
    data: Uint8Array,
    users: ReadonlyMap<string, PasswordEntry>,
    nonce: string = randomBytes(18).toString('base64'),
    secret: Uint8Array = PROCESS_SECRET,
  ): ScramExchange | undefined {
    const first = parseFirst(textOf(data))
    return first === undefined ? undefined : new ScramExchange(first, users, nonce, secret)
  }

  /**
   * Returns the server-final-message for a client-final-message that proves the password; `undefined` for any other.
   */
  finish(data: Uint8Array): string | undefined {
    const text = textOf(data) ?? ''
    const parts = /^(c=([A-Za-z0-9+/=]+),r=([!-+\--~]+)),p=([A-Za-z0-9+/=]+)$/.exec(text)
    if (parts === null) return undefined
    const [, withoutProof, binding, nonce, proof] = parts
    if (Buffer.from(binding!, 'base64').toString() !== this.#header || nonce !== this.#nonce) return undefined
    const authMessage = `${this.#clientFirstBare},${this.serverFirst},${withoutProof}`
    const storedKey = Buffer.from(this.#credential.storedKey, 'base64')
    const given = Buffer.from(proof!, 'base64')
    if (given.length !== KEY_BYTES) return undefined
    const signature = hmac(storedKey, authMessage)
    const clientKey = given.map((byte, i) => byte ^ signature[i]!)
    if (!timingSafeEqual(sha256(clientKey), storedKey) || !this.#known) return undefined
    return `v=${hmac(Buffer.from(this.#credential.serverKey, 'base64'), authMessage).toString('base64')}`
  }

  /** True if `hasEmptyPassword` has to compute a hash, which is the case once per credential. */
  get needsHash(): boolean {
    return !empty.has(this.#credential)
  }

  /**
   * Returns whether the password is empty. Call it only after `finish` has succeeded, so that only clients that know
   * the password can cause a hash.
   */
  hasEmptyPassword(): Promise<boolean> {
    return isOfEmptyPassword(this.#credential)
  }
}

/** Whether each credential is that of an empty password; cached, because it takes a hash. */
const empty = new WeakMap<ScramCredential, Promise<boolean>>()

function isOfEmptyPassword(credential: ScramCredential): Promise<boolean> {
  let answer = empty.get(credential)
  if (answer === undefined) {
    const salt = Buffer.from(credential.salt, 'base64')
    answer = derive('', salt, credential.iterations, KEY_BYTES, 'sha256').then((salted) =>
      timingSafeEqual(sha256(hmac(salted, 'Client Key')), Buffer.from(credential.storedKey, 'base64')),
    )
    empty.set(credential, answer)
  }
  return answer
}

interface ClientFirst {
  readonly header: string
  readonly bare: string
  readonly username: string
  readonly nonce: string
}

function parseFirst(text: string | undefined): ClientFirst | undefined {
  // Extensions after the nonce are ignored; a mandatory one (m=) is refused, as the RFC requires.
  const parts = /^([ny],(?:a=([^,]*))?,)(n=([^,]+),r=([!-+\--~]+)(?:,.*)?)$/s.exec(text ?? '')
  if (parts === null) return undefined
  const [, header, authzid, bare, name, nonce] = parts
  if (/=(?!2C|3D)/.test(name!)) return undefined
  // Authorization identities are not supported.
  if (authzid !== undefined && authzid !== name) return undefined
  const username = name!.replaceAll('=2C', ',').replaceAll('=3D', '=')
  return { header: header!, bare: bare!, username, nonce: nonce! }
}

function textOf(data: Uint8Array): string | undefined {
  if (data.length > MESSAGE_MAX) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(data)
  } catch {
    return undefined
  }
}

const SECRET_FILE = 'scram-secret'
const SECRET_BYTES = 32

/**
 * Returns 32 random bytes that survive restarts in a file of the data directory, which is created if missing. Anyone
 * who reads them can distinguish fake challenges from real ones; they grant no access.
 * @throws StartError if the file can be neither read nor created
 */
export function lastingSecret(dataDir: string): Uint8Array {
  const path = join(dataDir, SECRET_FILE)
  try {
    return readSecret(path) ?? createSecret(path)
  } catch (error) {
    throw new StartError(`${path}: ${reasonOf(error)}`)
  }
}

/** Returns `undefined` if there is no file, or if a crash truncated it. */
function readSecret(path: string): Uint8Array | undefined {
  try {
    const bytes = readRegularFile(path)
    return bytes.length === SECRET_BYTES ? bytes : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function createSecret(path: string): Uint8Array {
  const secret = randomBytes(SECRET_BYTES)
  writeFileSync(path, secret, { mode: 0o600 })
  return secret
}
