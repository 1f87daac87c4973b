import { COST, stringBytes } from '../base/memory-costs.ts'
import type { SessionKey, StoredOwner } from '../store/store.ts'

/**
 * Who published a message. A session and all that it publishes have one such object, and its names are in the account of memory once, for as long as the
 * session or any of the messages is there.
 */
export class Author {
  readonly key: SessionKey
  /** `undefined`: the store did not say. */
  readonly owner: StoredOwner | undefined
  readonly bytes: number
  /** Sessions and messages that have it, of those in the account. */
  places = 0

  constructor(key: SessionKey, owner: StoredOwner | undefined) {
    this.key = key
    this.owner = owner
    this.bytes = key === '' ? 0 : COST.author + stringBytes(key) + ownerBytes(owner)
  }
}

/** What the broker itself publishes. */
export const NOBODY = new Author('', undefined)

/** What the names of an owner take; rights with the rules that they are parsed to. */
export const ownerBytes = (owner: StoredOwner | undefined): number =>
  textBytes(owner?.username) + textBytes(owner?.address) + RULES_BYTES * textBytes(owner?.rights)

const RULES_BYTES = 3

const textBytes = (text: string | undefined): number => (text === undefined ? 0 : stringBytes(text))

/** Whose share it counts for: a user name that nobody has vouched for is everybody's to take. */
export const verifiedUser = ({ username, verified }: StoredOwner): string | undefined => (verified ? username : undefined)

export function isSameOwner(a: StoredOwner | undefined, b: StoredOwner | undefined): boolean {
  if (a === b || a === undefined || b === undefined) return a === b
  const isSameUser = a.username === b.username && a.verified === b.verified && a.rights === b.rights
  return isSameUser && a.listener === b.listener && a.address === b.address
}
