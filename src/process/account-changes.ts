import { setImmediate as nextTurn } from 'node:timers/promises'
import { type AccessFiles, refuseExcludingUsers } from '../access/io/access-files.ts'
import { hashPassword } from '../access/io/password-hash.ts'
import { editPasswordFile, NotWritten } from '../access/io/password-writer.ts'
import { scramLine } from '../access/io/scram.ts'
import { linesOf, withHash, withoutUser } from '../access/password-edit.ts'
import {
  DEFAULT_ITERATIONS,
  type PasswordEntry,
  type PasswordLines,
  parsePasswordLines,
  passwordLines,
  SCRAM_ITERATIONS,
} from '../access/password-file.ts'
import { StartError } from '../base/start-error.ts'
import type { AccountChange, AccountResult } from '../http/accounts.ts'
import type { Server } from '../server.ts'
import type { OpenHttp } from './http.ts'
import type { Loop } from './loop.ts'

/** Changes at most that are being made, or wait for it: each hashes for a tenth of a second. */
const CHANGES_MAX = 8

export interface AccountChangesParts {
  readonly access: AccessFiles
  readonly http: OpenHttp | undefined
  readonly server: Server
  readonly loop: Loop
  /** Runs after everything else that reads these files, so that nothing older takes effect later. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
  isStopping(): boolean
}

type Users = ReadonlyMap<string, PasswordEntry>

/** The hashes of a new password. */
interface Hashes {
  readonly password: string
  readonly scram: string
}

/** Sets passwords and deletes users, as `roost passwd` does, and puts that into force without a reload of other files. */
export class AccountChanges {
  readonly #parts: AccountChangesParts
  #count = 0
  #hashing: Promise<unknown> = Promise.resolve()

  constructor(parts: AccountChangesParts) {
    this.#parts = parts
  }

  /** Never rejects. */
  async change(change: AccountChange): Promise<AccountResult> {
    if (this.#count >= CHANGES_MAX) return { status: 503, error: 'too many passwords are being changed' }
    this.#count++
    try {
      // One at a time, and before the file is locked: logins need the threads, too.
      const hashes = this.#hashing.then(() => hashesOf(change))
      this.#hashing = hashes.catch(() => {})
      const made = await hashes
      return await this.#parts.inTurn(() => this.#make(change, made))
    } finally {
      this.#count--
    }
  }

  async #make(change: AccountChange, hashes: Hashes | undefined): Promise<AccountResult> {
    const { access, http, server, loop, isStopping } = this.#parts
    if (isStopping()) return { status: 503, error: 'Roost is stopping' }
    const { path, name, by } = change
    const isMqtt = access.passwordFiles.has(path)
    const origin = isMqtt ? 'password_file' : 'http_password_file'
    let edited: { readonly users: Users; readonly outcome: 'set' | 'created' | 'deleted' }
    try {
      const edit = (text: string): ReturnType<typeof editOf> => editOf(text, change, hashes, access.passwordFiles.get(path))
      edited = (await editPasswordFile(path, edit, { origin })).value
    } catch (error) {
      if (error instanceof NoUser) return { status: 404, error: error.message }
      if (!(error instanceof StartError)) throw error
      const isFull = error instanceof NotWritten && /^(ENOSPC|EDQUOT)$/.test(error.code)
      return { status: isFull ? 507 : 409, error: error.message }
    }
    const { users, outcome } = edited
    const what = outcome === 'set' ? `the password of user ${name} is set` : `user ${name} is ${outcome}`
    server.notice({
      code: 'operator-action',
      level: 'info',
      ...(by !== undefined && { user: by }),
      reason: `${what} (${origin} ${path})`,
    })
    access.replacePasswords(path, users)
    http?.replacePasswords(path, users)
    if (isMqtt) loop.handle({ kind: 'access-changed' })
    return { outcome }
  }
}

class NoUser extends StartError {}

async function hashesOf({ password }: AccountChange): Promise<Hashes | undefined> {
  if (password === undefined) return undefined
  return {
    password: await hashPassword(Buffer.from(password), DEFAULT_ITERATIONS),
    scram: await scramLine(password, SCRAM_ITERATIONS),
  }
}

/** `inForce`: users of MQTT clients, not all of whom may be excluded. @throws StartError for what makes the change impossible */
async function editOf(
  text: string,
  { path, name, create }: AccountChange,
  hashes: Hashes | undefined,
  inForce: Users | undefined,
) {
  const {
    users,
    broken: [wrong],
  } = await parsed(text)
  if (wrong !== undefined) throw new StartError(`${path}:${wrong.line}: ${wrong.reason}`)
  const known = users.get(name)
  if (known === undefined && (hashes === undefined || !create)) throw new NoUser(`${path}: there is no user ${name}`)
  const edited = hashes === undefined ? withoutUser(text, name) : withNewPassword(text, name, known, hashes)
  if (hashes === undefined) users.delete(name)
  else users.set(name, parsePasswordLines(linesOf(edited, name)).users.get(name)!)
  if (users.size === 0) throw new StartError(`${path}: the last user cannot be deleted: nobody could log in`)
  refuseExcludingUsers(path, inForce, users)
  const outcome: 'set' | 'created' | 'deleted' = hashes === undefined ? 'deleted' : known === undefined ? 'created' : 'set'
  return { text: edited, value: { users, outcome } }
}

/** In several turns of the event loop: 100,000 users take half a second. */
async function parsed(text: string): Promise<PasswordLines> {
  const parsing = passwordLines(text)
  for (;;) {
    const { done, value } = parsing.next()
    if (done === true) return value
    await nextTurn()
  }
}

/** In the lines that the user has: with the old keys for SCRAM, the old password would still do. */
function withNewPassword(text: string, name: string, known: PasswordEntry | undefined, { password, scram }: Hashes): string {
  const withKeys = known?.scram === undefined ? text : withHash(text, name, scram)
  return known !== undefined && known.password === undefined ? withKeys : withHash(withKeys, name, password)
}
