/** Up to this many places a ring may be sparse. */
const SPARSE_MAX = 32

/**
 * A Map by packet id, in the order of insertion. Packet ids count up and are acknowledged in about that order, so entries stand
 * in a ring, each at the place of its id: 17 ns to add, find and remove one, where a Map takes 40 to 75, because it is rehashed
 * after every few deletions. Ids that do not count up (what a restart restored, 1 after 65,535) or are far apart are kept in a
 * Map, until there are none; once an entry was moved, all of them are.
 */
export class PacketIdMap<T extends { readonly packetId: number }> {
  #ring: (T | undefined)[] = []
  /** The lowest and the highest id in the ring. */
  #first = 0
  #last = 0
  #size = 0
  #map: Map<number, T> | undefined = undefined
  /** Entries are moved (QoS 2), which a ring cannot do. */
  #moves = false

  get size(): number {
    return this.#size
  }

  get(packetId: number): T | undefined {
    if (this.#map !== undefined) return this.#map.get(packetId)
    if (this.#size === 0) return undefined
    const entry = this.#ring[packetId & (this.#ring.length - 1)]
    return entry !== undefined && entry.packetId === packetId ? entry : undefined
  }

  has(packetId: number): boolean {
    return this.get(packetId) !== undefined
  }

  /** Adds an entry under an id that is not in use. */
  add(entry: T): void {
    if (this.#map !== undefined || !this.#fits(entry.packetId)) this.#asMap().set(entry.packetId, entry)
    else this.#ring[entry.packetId & (this.#ring.length - 1)] = entry
    this.#size++
  }

  /** Makes an entry the last. */
  moveToEnd(entry: T): void {
    this.#moves = true
    const map = this.#asMap()
    map.delete(entry.packetId)
    map.set(entry.packetId, entry)
  }

  delete(packetId: number): void {
    if (!this.has(packetId)) return
    this.#size--
    if (this.#map !== undefined) {
      this.#map.delete(packetId)
      if (this.#size === 0 && !this.#moves) this.#map = undefined
      return
    }
    const ring = this.#ring
    const mask = ring.length - 1
    ring[packetId & mask] = undefined
    if (this.#size === 0) {
      if (ring.length > SPARSE_MAX) this.#ring = []
    } else if (packetId === this.#first) {
      do this.#first++
      while (ring[this.#first & mask] === undefined)
    }
  }

  /** The entries in the order of insertion; they may be deleted meanwhile. */
  values(): Iterable<T> {
    return this.#map !== undefined ? this.#map.values() : this.#inRing()
  }

  #asMap(): Map<number, T> {
    if (this.#map === undefined) {
      this.#map = new Map()
      for (const entry of this.#inRing()) this.#map.set(entry.packetId, entry)
      this.#ring = []
    }
    return this.#map
  }

  #inRing(): T[] {
    const entries: T[] = []
    for (let id = this.#first; entries.length < this.#size; id++) {
      const entry = this.#ring[id & (this.#ring.length - 1)]
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  /** Makes a place for this id in the ring, if it is the next and not far from the first. */
  #fits(packetId: number): boolean {
    if (this.#size === 0) this.#first = packetId
    else if (packetId <= this.#last) return false
    const span = packetId - this.#first + 1
    if (span > this.#ring.length) {
      let length = Math.max(4, this.#ring.length)
      while (length < span) length *= 2
      if (length > SPARSE_MAX && length > 4 * (this.#size + 1)) return false
      const entries = this.#inRing()
      this.#ring = new Array(length).fill(undefined)
      for (const entry of entries) this.#ring[entry.packetId & (length - 1)] = entry
    }
    this.#last = packetId
    return true
  }
}
