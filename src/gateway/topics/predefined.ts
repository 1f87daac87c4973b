import { ClientPattern } from '../../base/client-pattern.ts'
import type { PredefinedTopicTable } from '../gateway-options.ts'

/**
 * The predefined topic ids of a client [1.2 section 6.7]: all tables whose pattern matches its id. A later table
 * overrides an earlier one.
 */
export class PredefinedTopics {
  readonly #tables: readonly { readonly clients: ClientPattern; readonly topics: ReadonlyMap<number, string> }[]

  constructor(tables: readonly PredefinedTopicTable[]) {
    this.#tables = tables.map(({ pattern, topics }) => ({ clients: new ClientPattern(pattern), topics }))
  }

  nameOf(clientId: string, id: number): string | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { clients, topics } = this.#tables[i]!
      const name = topics.get(id)
      if (name !== undefined && clients.fits(clientId)) return name
    }
    return undefined
  }

  idOf(clientId: string, name: string): number | undefined {
    for (let i = this.#tables.length - 1; i >= 0; i--) {
      const { clients, topics } = this.#tables[i]!
      if (!clients.fits(clientId)) continue
      for (const [id, topic] of topics) if (topic === name && this.nameOf(clientId, id) === name) return id
    }
    return undefined
  }
}
