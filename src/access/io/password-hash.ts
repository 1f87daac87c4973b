import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { performance } from 'node:perf_hooks'
import { promisify } from 'node:util'
import { Fifo } from '../../base/fifo.ts'
import type { PasswordEntry, PasswordHash } from '../password-file.ts'

const derive = promisify(pbkdf2)

/** OWASP's figure for PBKDF2 with SHA-512. */
export const DEFAULT_ITERATIONS = 210_000
/** The only length that Mosquitto 2.0 reads. */
const SALT_BYTES = 12
const HASH_BYTES = 64

/** A `$7$` hash of a new password. */
export async function hashPassword(password: Uint8Array, iterations: number): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, iterations, HASH_BYTES, 'sha512')
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`
}

type Users = ReadonlyMap<string, PasswordEntry>

/** The hash of no password, as expensive as the most expensive one in the file. */
export function nobodyAmong(users: Users | undefined): PasswordHash {
  const known = users && nobodies.get(users)
  if (known !== undefined) return known
  let most: PasswordHash | undefined
  for (const { password } of users?.values() ?? [])
    if (password !== undefined && (most === undefined || costOf(password) > costOf(most))) most = password
  const ordinary: PasswordHash = { kind: 'pbkdf2', iterations: DEFAULT_ITERATIONS, salt: NO_HASH, hash: NO_HASH }
  const nobody = most === undefined ? ordinary : { ...most, hash: NO_HASH }
  if (users !== undefined) nobodies.set(users, nobody)
  return nobody
}

const NO_HASH = randomBytes(HASH_BYTES).toString('base64')
const nobodies = new WeakMap<Users, PasswordHash>()

/** In rounds of PBKDF2, next to which one SHA-512 is nothing. */
const costOf = ({ kind, iterations }: PasswordHash): number => (kind === 'pbkdf2' ? iterations : 0)

/** Checks that wait; beyond it newcomers are told to come back. */
const WAITING_MAX = 10_000
/** Successes remembered, and for how long (ms). */
const REMEMBERED_MAX = 10_000
const REMEMBERED_MS = 3_600_000

interface Waiting {
  readonly hash: PasswordHash
  readonly wrongCost: number
  readonly password: Uint8Array
  readonly signal: AbortSignal
  readonly resolve: (verdict: Verdict) => void
}

export type Verdict = 'right' | 'wrong' | 'busy' | 'abandoned'

/**
 * Compares passwords with their hashes, one or two at a time: hashing shares its threads with the store's commits, and a core should stay
 * free for everybody who is connected. A password that was right a short while ago costs no hash again, so that a site that comes back after a
 * power cut is in at once.
 */
export class PasswordChecker {
  readonly #most = Math.max(1, Math.min(2, availableParallelism() - 1))
  readonly #waiting = new Fifo<Waiting>()
  #running = 0
  /** Keyed hashes of what was right, oldest first; the key never leaves the process. */
  readonly #remembered = new Map<string, number>()
  readonly #key = randomBytes(32)

  /**
   * An empty password never matches, even if the hash is that of one: mosquitto_passwd writes such hashes. A wrong one costs as much as `atLeast`,
   * which is `nobodyAmong` the users: the time tells nothing of who is in the file.
   */
  check(hash: PasswordHash, password: Uint8Array, signal: AbortSignal, atLeast: PasswordHash = hash): Promise<Verdict> {
    if (password.length === 0) return Promise.resolve('wrong')
    if (this.#remembers(hash, password)) return Promise.resolve('right')
    if (this.#waiting.length >= WAITING_MAX) return Promise.resolve('busy')
    return new Promise((resolve) => {
      this.#waiting.push({ hash, password, signal, wrongCost: costOf(atLeast), resolve })
      this.#next()
    })
  }

  /** Passwords may have changed. */
  forget(): void {
    this.#remembered.clear()
  }

  #next(): void {
    while (this.#running < this.#most) {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) return
      if (waiting.signal.aborted) waiting.resolve('abandoned')
      else void this.#run(waiting)
    }
  }

  async #run({ hash, password, wrongCost, resolve }: Waiting): Promise<void> {
    this.#running++
    const right = await matches(hash, password).catch(() => false)
    const missing = wrongCost - costOf(hash)
    if (!right && missing > 0) await derive(password, NO_HASH, missing, HASH_BYTES, 'sha512').catch(() => {})
    this.#running--
    if (right) this.#remember(hash, password)
    resolve(right ? 'right' : 'wrong')
    this.#next()
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
