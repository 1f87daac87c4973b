import { createHash, randomBytes } from 'node:crypto'

/** Sessions at a time; a further one ends the one that was used least recently. */
const SESSIONS_MAX = 256
/** Milliseconds without a request after which a session has ended: 12 hours. */
const IDLE_MS = 12 * 3_600_000

export interface Login {
  /** Undefined for a token. */
  readonly user: string | undefined
  /** What the login was checked by: the session is valid as long as that has not changed. */
  readonly proof: string
}

interface Session {
  readonly login: Login
  usedAt: number
}

/** Logins of browsers, which remember them by a cookie. They end with the process. */
export class BrowserSessions {
  /** By the hash of their id: looking one up takes the same time however much of an id is right. The least recently used is first. */
  readonly #sessions = new Map<string, Session>()

  get count(): number {
    return this.#sessions.size
  }

  begin(now: number, login: Login): string {
    const id = randomBytes(32).toString('base64url')
    this.#sessions.set(keyOf(id), { login, usedAt: now })
    if (this.#sessions.size > SESSIONS_MAX) this.#sessions.delete(this.#sessions.keys().next().value!)
    return id
  }

  find(now: number, id: string): Login | undefined {
    const key = keyOf(id)
    const session = this.#sessions.get(key)
    if (session === undefined) return undefined
    this.#sessions.delete(key)
    if (now - session.usedAt > IDLE_MS) return undefined
    session.usedAt = now
    this.#sessions.set(key, session)
    return session.login
  }

  end(id: string): void {
    this.#sessions.delete(keyOf(id))
  }
}

const keyOf = (id: string): string => createHash('sha256').update(id).digest('base64')
