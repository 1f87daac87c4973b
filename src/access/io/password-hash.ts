import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { DEFAULT_ITERATIONS, type PasswordEntry, type PasswordHash } from '../password-file.ts'

const derive = promisify(pbkdf2)

/** Salt length in bytes, the only one that Mosquitto 2.0 accepts. */
const SALT_BYTES = 12
const HASH_BYTES = 64

/** Returns a `$7$` hash of a new password. */
export async function hashPassword(password: Uint8Array, iterations: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, iterations, HASH_BYTES, 'sha512')
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`
}

type Users = ReadonlyMap<string, PasswordEntry>

/** Returns a hash that no password matches, as expensive as the most expensive one in the file. */
export function decoyHash(users: Users | undefined): PasswordHash {
  const known = users && decoys.get(users)
  if (known !== undefined) return known
  let most: PasswordHash | undefined
  for (const { password } of users?.values() ?? [])
    if (password !== undefined && (most === undefined || costOf(password) > costOf(most))) most = password
  const ordinary: PasswordHash = { kind: 'pbkdf2', iterations: DEFAULT_ITERATIONS, salt: NO_HASH, hash: NO_HASH }
  const decoy = most === undefined ? ordinary : { ...most, hash: NO_HASH }
  if (users !== undefined) decoys.set(users, decoy)
  return decoy
}

const NO_HASH = randomBytes(HASH_BYTES).toString('base64')
const decoys = new WeakMap<Users, PasswordHash>()

/** Returns the cost of a hash in rounds of PBKDF2; a single SHA-512 is negligible. */
const costOf = ({ kind, iterations }: PasswordHash): number => (kind === 'pbkdf2' ? iterations : 0)

/** Maximum number of remembered successes, and their lifetime in milliseconds. */
const REMEMBERED_MAX = 10_000
const REMEMBERED_MS = 3_600_000

export type Verdict = 'right' | 'wrong'

/**
 * Compares passwords with their hashes. A password that matched recently is not hashed again, so that clients reconnect
 * without delay after a power cut.
 */
export class PasswordChecker {
  /** Keyed hashes of passwords that matched, oldest first. The key never leaves the process. */
  readonly #remembered = new Map<string, number>()
  readonly #key = randomBytes(32)

  /**
   * Compares a password with a hash. An empty password never matches, even if the hash is that of one, as
   * mosquitto_passwd may write it. A wrong password costs as much as `atLeast`, which is `decoyHash` the users, so
   * that the time does not reveal which users exist. `inTurn` runs the hashing when its turn has come, and may refuse
   * to.
   */
  async check<R>(
    hash: PasswordHash,
    password: Uint8Array,
    inTurn: (work: () => Promise<Verdict>) => Promise<Verdict | R>,
    atLeast: PasswordHash = hash,
  ): Promise<Verdict | R> {
    if (password.length === 0) return 'wrong'
    if (this.#remembers(hash, password)) return 'right'
    return inTurn(() => this.#hash(hash, password, costOf(atLeast)))
  }

  /** Forgets all successes, because passwords may have changed. */
  forget(): void {
    this.#remembered.clear()
  }

  async #hash(hash: PasswordHash, password: Uint8Array, wrongCost: number): Promise<Verdict> {
    const isRight = await matches(hash, password).catch(() => false)
    const missing = wrongCost - costOf(hash)
    if (!isRight && missing > 0) await derive(password, NO_HASH, missing, HASH_BYTES, 'sha512').catch(() => {})
    if (isRight) this.#remember(hash, password)
    return isRight ? 'right' : 'wrong'
  }

  #remembers(hash: PasswordHash, password: Uint8Array): boolean {
    const until = this.#remembered.get(this.#mark(hash, password))
    return until !== undefined && until > performance.now()
  }

  #remember(hash: PasswordHash, password: Uint8Array): void {
    const mark = this.#mark(hash, password)
    this.#remembered.delete(mark)
    this.#remembered.set(mark, performance.now() + REMEMBERED_MS)
    if (this.#remembered.size <= REMEMBERED_MAX) return
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest)
      return
    }
  }

  #mark(hash: PasswordHash, password: Uint8Array): string {
    return createHmac('sha256', this.#key).update(`${hash.salt}$${hash.hash}$`).update(password).digest('base64')
  }
}

async function matches({ kind, iterations, salt, hash }: PasswordHash, password: Uint8Array): Promise<boolean> {
  const wanted = Buffer.from(hash, 'base64')
  const salted = Buffer.from(salt, 'base64')
  const got =
    kind === 'pbkdf2'
      ? await derive(password, salted, iterations, HASH_BYTES, 'sha512')
      : createHash('sha512').update(password).update(salted).digest()
  return timingSafeEqual(got, wanted)
}
