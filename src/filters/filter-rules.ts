import { ClientPattern } from '../base/client-pattern.ts'
import type { ConfiguredConditions } from '../broker/conditions.ts'
import { intersection } from '../mqtt/topics.ts'

/** An entry of `filters` in the configuration. What is not given fits everything. */
export interface FilterEntry {
  /** A client id, in which `*` matches any number of characters. */
  readonly client?: string | undefined
  readonly user?: string | undefined
  /** Topic filter: fits subscriptions that match none but its topics. */
  readonly topic?: string | undefined
  /** The condition. */
  readonly filter: string
}

interface Rule {
  readonly client: ClientPattern | undefined
  readonly entry: FilterEntry
}

/** The conditions that the configuration gives to subscriptions; the first entry that fits counts. */
export class FilterRules implements ConfiguredConditions {
  readonly #rules: readonly Rule[]

  constructor(entries: readonly FilterEntry[]) {
    this.#rules = entries.map((entry) => ({
      client: entry.client === undefined ? undefined : new ClientPattern(entry.client),
      entry,
    }))
  }

  conditionFor(clientId: string, username: string | undefined, filter: string): string | undefined {
    return this.#rules.find(
      ({ client, entry: { user, topic } }) =>
        (client === undefined || client.fits(clientId)) &&
        (user === undefined || user === username) &&
        (topic === undefined || intersection(filter, topic) === filter),
    )?.entry.filter
  }
}
