import type { Instant } from '../base/machine.ts'
import type { Store } from '../store/store.ts'
import type { GatewayClient } from './client/client.ts'

/** Milliseconds until a record is tried again that the store had no room for. */
const AGAIN_MS = 1000
/** Records that are tried again in one turn. */
const PER_TURN = 256

/** What the store had no room for: it is recorded when there is some, so that a restart finds what sensors were told, or have met with. */
export class Unrecorded {
  readonly #store: Store
  readonly #clients = new Set<GatewayClient>()
  /** Clients that were forgotten: a new one with the same id must not find what they have left there. */
  readonly #ended = new Set<string>()
  #due: Instant | undefined = undefined

  constructor(store: Store) {
    this.#store = store
  }

  /** What this client is by now has to be recorded. */
  add(now: Instant, client: GatewayClient): void {
    this.#begin(now)
    this.#clients.add(client)
  }

  /** The client is forgotten; `recorded`: the store knows of it. */
  end(now: Instant, client: GatewayClient): void {
    this.#clients.delete(client)
    if (!client.recorded || this.#append(client.clientId)) return
    this.#begin(now)
    this.#ended.add(client.clientId)
  }

  /** False if the store still has something of a client with this id, which was forgotten. */
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
    }
  }

  #append(clientId: string): boolean {
    return this.#store.append({ type: 'sn-end', clientId }) !== 'full'
  }
}
