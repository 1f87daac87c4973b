import type { Lsn, StoredReceipt } from '../store/store.ts'

/**
 * The QoS 2 packet ids of a client whose messages were accepted and not yet released by PUBREL, with the Lsn of each receipt
 * [5.0 section 4.3.3].
 */
export class Receipts {
  /** Ids that this connection has used. */
  #open = new Map<number, Lsn>()
  /** Ids of earlier connections: they count against our Receive Maximum when they are sent again [5.0 section 4.9]. */
  #carried = new Map<number, Lsn>()
  /** Of messages of a bridge from before a restart. */
  #fingerprints: Map<number, number> | undefined = undefined

  get size(): number {
    return this.#open.size + this.#carried.size
  }

  /** The number of ids that count against our Receive Maximum. */
  get open(): number {
    return this.#open.size
  }

  get packetIds(): number[] {
    return [...this.#open.keys(), ...this.#carried.keys()]
  }

  isOpen(packetId: number): boolean {
    return this.#open.has(packetId)
  }

  /** An id of an earlier connection, which has not come again. */
  isCarried(packetId: number): boolean {
    return this.#carried.has(packetId)
  }

  fingerprintOf(packetId: number): number | undefined {
    return this.#fingerprints?.get(packetId)
  }

  get(packetId: number): Lsn | undefined {
    return this.#open.get(packetId) ?? this.#carried.get(packetId)
  }

  add(packetId: number, lsn: Lsn): void {
    this.#open.set(packetId, lsn)
  }

  restore({ packetId, fingerprint }: StoredReceipt): void {
    this.#open.set(packetId, 0)
    if (fingerprint === undefined) return
    this.#fingerprints ??= new Map()
    this.#fingerprints.set(packetId, fingerprint)
  }

  /** The client sends the message again: from now on its id counts. */
  repeated(packetId: number): void {
    const lsn = this.#carried.get(packetId)
    if (lsn === undefined) return
    this.#carried.delete(packetId)
    this.#open.set(packetId, lsn)
  }

  /** False if the id is not there. */
  release(packetId: number): boolean {
    if (this.#fingerprints?.delete(packetId) === true && this.#fingerprints.size === 0) this.#fingerprints = undefined
    return this.#open.delete(packetId) || this.#carried.delete(packetId)
  }

  /** A new connection begins. There may be 65,535 ids: the fewer are moved to the others. */
  carry(): void {
    const [fewer, more] = this.#open.size < this.#carried.size ? [this.#open, this.#carried] : [this.#carried, this.#open]
    for (const [packetId, lsn] of fewer) more.set(packetId, lsn)
    this.#carried = more
    this.#open = new Map()
  }
}
