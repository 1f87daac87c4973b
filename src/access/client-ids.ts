import type { ClientPattern } from '../base/client-pattern.ts'
import type { ClientIdUse } from '../broker/access.ts'

/**
 * The client ids that users may use (`clientid_file`). A user with ids of its own may use no others; all other clients
 * may use the ids that remain.
 */
export class ClientIdRules {
  readonly #patterns = new Map<string, readonly ClientPattern[]>()
  /** Patterns without a wildcard, for lookup: there are many of them. */
  readonly #single = new Set<string>()
  readonly #wild: readonly ClientPattern[]

  constructor(rules: ReadonlyMap<string, readonly ClientPattern[]>) {
    const all = [...rules.values()].flat()
    for (const [user, patterns] of rules) this.#patterns.set(user, patterns)
    for (const { only } of all) if (only !== undefined) this.#single.add(only)
    this.#wild = all.filter(({ only }) => only === undefined)
  }

  /** Returns how this id relates to the client. `username`: the authenticated user; `undefined` for other clients. */
  use(clientId: string, username: string | undefined): ClientIdUse {
    const own = username === undefined ? undefined : this.#patterns.get(username)
    if (own !== undefined) return own.some((pattern) => pattern.fits(clientId)) ? 'own' : 'foreign'
    return this.#single.has(clientId) || this.#wild.some((pattern) => pattern.fits(clientId)) ? 'foreign' : 'free'
  }
}
