import type { ClientPattern } from '../base/client-pattern.ts'
import type { ClientIdUse } from '../broker/access.ts'

/** Which users may use which client ids (`clientid_file`). Who has ids may use no others, and those who have none may use what is left. */
export class ClientIdRules {
  readonly #patterns = new Map<string, readonly ClientPattern[]>()
  /** The same patterns without their users: single ids are many, and are looked up. */
  readonly #single = new Set<string>()
  readonly #wild: readonly ClientPattern[]

  constructor(rules: ReadonlyMap<string, readonly ClientPattern[]>) {
    const all = [...rules.values()].flat()
    for (const [user, patterns] of rules) this.#patterns.set(user, patterns)
    for (const { only } of all) if (only !== undefined) this.#single.add(only)
    this.#wild = all.filter(({ only }) => only === undefined)
  }

  /** `username`: the authenticated user; `undefined` for other clients. */
  use(clientId: string, username: string | undefined): ClientIdUse {
    const own = username === undefined ? undefined : this.#patterns.get(username)
    if (own !== undefined) return own.some((pattern) => pattern.fits(clientId)) ? 'own' : 'foreign'
    return this.#single.has(clientId) || this.#wild.some((pattern) => pattern.fits(clientId)) ? 'foreign' : 'free'
  }
}
