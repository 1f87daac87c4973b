import type { Instant } from '../base/machine.ts'
import type { Lsn, Store } from '../store/store.ts'
import type { GatewayClient } from './client/client.ts'

/** Milliseconds between two attempts to append a record that the store had no room for. */
const AGAIN_MS = 1000
/** Maximum number of records appended per turn. */
const PER_TURN = 256

/**
 * Records that the store had no room for. They are appended when there is room, so that a restart finds the state that was
 * reported to clients or applied to them.
 */
export class Unrecorded {
  readonly #store: Store
  readonly #clients = new Set<GatewayClient>()
  /** Forgotten clients: a new client with the same id must not inherit what they left in the store. */
  readonly #ended = new Set<string>()
  #due: Instant | undefined = undefined
  /** The last record of the end of a client. */
  #lastEnd: Lsn = 0

  constructor(store: Store) {
    this.#store = store
  }

  /** The current state of this client has to be recorded. */
  add(now: Instant, client: GatewayClient): void {
    this.#begin(now)
    this.#clients.add(client)
    client.awaitsRecord = true
  }

  /**
   * Removes a forgotten client from the store, if it has a record there. Returns a record with which that is durable, or 'full' if
   * it follows later.
   */
  end(now: Instant, client: GatewayClient): Lsn | 'full' {
    this.#clients.delete(client)
    if (!client.recorded || this.#append(client.clientId)) return this.#lastEnd
    this.#begin(now)
    this.#ended.add(client.clientId)
    return 'full'
  }

  /** Returns false if the store still contains something of a forgotten client with this id. */
  mayBegin(clientId: string): boolean {
    if (!this.#ended.has(clientId)) return true
    if (!this.#append(clientId)) return false
    this.#ended.delete(clientId)
    return true
  }

  handleTimeout(now: Instant): void {
    if (this.#due === undefined || this.#due > now) return
    this.#due = undefined
    this.#recordSome(now)
    if (this.#clients.size + this.#ended.size > 0) this.#due = now + AGAIN_MS
  }

  nextTimeout(): Instant | undefined {
    return this.#due
  }

  #begin(now: Instant): void {
    this.#due ??= now + AGAIN_MS
  }

  #recordSome(now: Instant): void {
    let left = PER_TURN
    for (const clientId of this.#ended) {
      if (left-- === 0 || !this.#append(clientId)) return
      this.#ended.delete(clientId)
    }
    for (const client of this.#clients) {
      if (left-- === 0 || client.record(now) === 'full') return
      this.#clients.delete(client)
      client.awaitsRecord = false
      client.host.settle(client)
    }
  }

  #append(clientId: string): boolean {
    const lsn = this.#store.append({ type: 'sn-end', clientId })
    if (lsn !== 'full') this.#lastEnd = lsn
    return lsn !== 'full'
  }
}
