import type { Lsn, SessionKey, Store } from '../store/store.ts'

/** Records that sessions have ended, later if the store has no room. */
export class SessionEnds {
  readonly #store: Store
  /** Sessions whose end is not recorded yet: a new session under the same key must not inherit their records. */
  readonly #unrecorded = new Set<SessionKey>()
  #last: Lsn = 0

  constructor(store: Store) {
    this.#store = store
  }

  /** The last record; 'full' while some wait for room. */
  get last(): Lsn | 'full' {
    this.#catchUp()
    return this.#unrecorded.size > 0 ? 'full' : this.#last
  }

  record(key: SessionKey): void {
    this.#catchUp()
    if (this.#unrecorded.size > 0 || !this.#append(key)) this.#unrecorded.add(key)
  }

  /** Whether the store still has records of an ended session under this key. */
  isUnrecorded(key: SessionKey): boolean {
    this.#catchUp()
    return this.#unrecorded.has(key)
  }

  #catchUp(): void {
    for (const key of this.#unrecorded) {
      if (!this.#append(key)) return
      this.#unrecorded.delete(key)
    }
  }

  #append(key: SessionKey): boolean {
    const lsn = this.#store.append({ type: 'session-end', key })
    if (lsn === 'full') return false
    this.#last = lsn
    return true
  }
}
