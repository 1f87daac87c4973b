import { isRefused, isWeak, type PasswordEntry } from '../../access/password-file.ts'
import type { AccountFile } from '../accounts.ts'
import type { HttpContext } from '../context.ts'
import { ENTRIES_PER_TURN, type HttpRequest, type HttpResponse, type HttpWork, json, NEXT_TURN, problem } from '../exchange.ts'
import { BAD_CURSOR, cursorAfter, type Page, pageOf } from '../pages.ts'
import type { UserKind } from './users-specs.ts'

/** Characters of a page, because a name may have 64 Ki. */
const PAGE_CHARACTERS = 1024 * 1024

/** One user, before anything about it is written out. */
interface UserEntry {
  /** Its place in the list: by kind, file and name. */
  readonly key: string
  readonly name: string
  readonly json: () => object
}

/**
 * `GET /api/v1/users`. Names in files are in no order, so each page looks at all of them, over several turns, and keeps the first
 * ones behind its cursor: a user who is there all the time is listed once, also if files are read again between the pages.
 */
export function listUsers(context: HttpContext, request: HttpRequest): HttpResponse | HttpWork {
  const { role, query } = request
  // Which names have a password is something that neither logins nor challenges reveal.
  if (context.accounts.isOpen && role !== 'manage')
    return problem(403, 'the names of users are shown only after a login: set http_password_file or http_token_file')
  const page = pageOf(request)
  return page === undefined ? problem(400, BAD_CURSOR) : list(context, page, query, role === 'manage')
}

function* list(context: HttpContext, page: Page, { q, kind }: HttpRequest['query'], passwords: boolean): HttpWork {
  const part = q?.toLowerCase()
  const first = new FirstEntries(page)
  let examined = 0
  for (const entry of entriesOf(context, kind as UserKind | undefined, passwords)) {
    if (++examined % ENTRIES_PER_TURN === 0) yield NEXT_TURN
    if (part === undefined || entry.name.toLowerCase().includes(part)) first.add(entry)
  }
  const { entries, isLast } = first
  const users: object[] = []
  let characters = 0
  for (const { name, json: write } of entries) {
    if (characters > PAGE_CHARACTERS) break
    characters += name.length
    users.push(write())
  }
  const isAll = isLast && users.length === entries.length
  const keys = entries.slice(0, users.length).map(({ key }) => key)
  return json({ users, ...(!isAll && { cursor: cursorAfter(page, keys, keys.at(-1)!) }) })
}

/** The first entries of a page, in order, out of any number in no order. */
class FirstEntries {
  readonly #page: Page
  readonly #most: number
  /** One more than the page has, to know whether there is another one. */
  readonly #first: UserEntry[] = []

  constructor(page: Page) {
    this.#page = page
    this.#most = page.skip + page.limit + 1
  }

  add(entry: UserEntry): void {
    const { after } = this.#page
    if (after !== undefined && entry.key <= after) return
    const last = this.#first.at(-1)
    if (this.#first.length === this.#most && last !== undefined && entry.key >= last.key) return
    let [low, high] = [0, this.#first.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#first[middle]!.key < entry.key) low = middle + 1
      else high = middle
    }
    // Of the rules of sensors that have the same user, the first one counts.
    if (this.#first[low]?.key === entry.key) return
    this.#first.splice(low, 0, entry)
    if (this.#first.length > this.#most) this.#first.pop()
  }

  get entries(): readonly UserEntry[] {
    const { skip, limit } = this.#page
    return this.#first.slice(skip, skip + limit)
  }

  get isLast(): boolean {
    return this.#first.length < this.#most
  }
}

function* entriesOf({ accounts, sensors }: HttpContext, kind: UserKind | undefined, passwords: boolean): Iterable<UserEntry> {
  for (const [i, file] of accounts.files.entries()) {
    if (kind !== undefined && kind !== file.kind) continue
    for (const [name, entry] of file.users) {
      const role = file.kind === 'mqtt' ? undefined : accounts.managers.has(name) ? 'manage' : 'view'
      yield { key: keyOf(i, name), name, json: () => accountJson(file, name, entry, role, passwords) }
    }
  }
  if (kind === undefined || kind === 'sn') yield* sensorEntries(sensors, accounts.files.length)
}

function* sensorEntries({ rules, file, username }: HttpContext['sensors'], place: number): Iterable<UserEntry> {
  for (const { user, line } of rules.rules) {
    if (user === 'deny') continue
    const { name } = user
    yield { key: keyOf(place, name), name, json: () => ({ ...sensorUser(name), option: 'sn_users', file, line }) }
  }
  for (const [i, [option, name]] of [
    ['sn_username', username] as const,
    ['qos_m1_username', rules.qosM1Username] as const,
  ].entries())
    if (name !== undefined) yield { key: keyOf(place + 1 + i, name), name, json: () => ({ ...sensorUser(name), option }) }
}

const sensorUser = (name: string): object => ({ id: `sn:${name}`, name, kind: 'sn' })

/** Files have fewer digits than there are in a number of this length. */
const keyOf = (place: number, name: string): string => `${String(place).padStart(4, '0')} ${name}`

function accountJson(
  { kind, path, listeners }: AccountFile,
  name: string,
  entry: PasswordEntry,
  role: 'view' | 'manage' | undefined,
  passwords: boolean,
): object {
  const { password, scram } = entry
  return {
    id: `${kind}:${name}`,
    name,
    kind,
    option: kind === 'mqtt' ? 'password_file' : 'http_password_file',
    file: path,
    listeners: kind === 'mqtt' ? listeners : undefined,
    role,
    refused: isRefused(entry) || undefined,
    // `view` users do not see how hard a password is to guess.
    password: passwords
      ? {
          methods: [...(password === undefined ? [] : ['password']), ...(scram === undefined ? [] : ['scram-sha-256'])],
          rounds: password?.iterations,
          weak: isWeak(entry),
        }
      : undefined,
  }
}
