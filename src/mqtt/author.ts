import { COST, stringBytes } from '../base/memory-costs.ts'
import type { SessionKey, StoredOwner } from '../store/store.ts'

/**
 * The publisher of messages. A session and all messages that it has published share one such object; its names count in memory
 * once, as long as the session or any of the messages exists.
 */
export class Author {
  readonly key: SessionKey
  /** `undefined`: not in the store. */
  readonly owner: StoredOwner | undefined
  readonly bytes: number
  /** Counted sessions and messages that refer to it. */
  places = 0

  constructor(key: SessionKey, owner: StoredOwner | undefined) {
    this.key = key
    this.owner = owner
    this.bytes = key === '' ? 0 : COST.author + stringBytes(key) + ownerBytes(owner)
  }
}

/** The author of the broker's own messages. */
export const NOBODY = new Author('', undefined)

/** Bytes of the names of an owner; rights with the rules that they are parsed to. */
export const ownerBytes = (owner: StoredOwner | undefined): number =>
  textBytes(owner?.username) + textBytes(owner?.address) + RULES_BYTES * textBytes(owner?.rights)

const RULES_BYTES = 3

const textBytes = (text: string | undefined): number => (text === undefined ? 0 : stringBytes(text))

/** The user whose share it counts in: none if the name is not verified, because anyone could claim it. */
export const verifiedUser = ({ username, verified }: StoredOwner): string | undefined => (verified ? username : undefined)

export function isSameOwner(a: StoredOwner | undefined, b: StoredOwner | undefined): boolean {
  if (a === b || a === undefined || b === undefined) return a === b
  const isSameUser = a.username === b.username && a.verified === b.verified && a.rights === b.rights
  return isSameUser && a.listener === b.listener && a.address === b.address
}
