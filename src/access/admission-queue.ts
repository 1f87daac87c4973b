/** A question that waits for its turn. Where it stands in its list is the queue's business. */
export class Place<T> {
  readonly work: T
  readonly listener: string
  readonly address: string
  /** 0 is an address that has asked for nothing lately; the higher, the later its turn. */
  readonly level: number
  older: Place<T> | undefined = undefined
  newer: Place<T> | undefined = undefined
  waits = false

  constructor(work: T, listener: string, address: string, level: number) {
    this.work = work
    this.listener = listener
    this.address = address
    this.level = level
  }
}

export interface AdmissionBounds {
  /** Questions under way at the same time. */
  readonly running: number
  /** Of those, places reserved for addresses of level 0: however long the others' answers take, a new address finds one. */
  readonly reserved: number
  /** Questions that wait, of all addresses together. */
  readonly pending: number
  readonly pendingPerAddress: number
}

/**
 * Who is next to have a password checked, or a service asked about it: what costs so much that only some can be under way at the same time.
 * Listeners take turns. Within a listener the address goes first that has asked least without success; of those that are equal, the newest: where
 * more ask than there is time for, an answer to the newest is worth more than one to a client about to give up.
 *
 *     level 0   a new address            <- next
 *     level 1   it has asked once before
 *     level 11  it has given a wrong password
 */
export class AdmissionQueue<T> {
  readonly #bounds: AdmissionBounds
  /** Listeners with waiting clients; the one served last comes last. */
  readonly #listeners = new Map<string, Levels<T>>()
  readonly #addresses = new Map<string, OfAddress<T>>()
  #pending = 0
  #running = 0

  constructor(bounds: AdmissionBounds) {
    this.#bounds = bounds
  }

  get pending(): number {
    return this.#pending
  }

  get running(): number {
    return this.#running
  }

  /**
   * Takes a place in the queue. Gives the one that found no room: another that has waited longest at the highest level, of its address if that has
   * as many as it may, or this very one; `undefined` if there is room for all.
   */
  add(place: Place<T>): Place<T> | undefined {
    const { pending, pendingPerAddress } = this.#bounds
    const ofAddress = this.#addresses.get(place.address)
    const isAddressFull = (ofAddress?.size ?? 0) >= pendingPerAddress
    let last: Place<T> | undefined
    if (isAddressFull || this.#pending >= pending) {
      last = isAddressFull ? ofAddress?.last() : this.#last()
      if (last === undefined || last.level < place.level) return place
      this.remove(last)
    }
    const levels = this.#listeners.get(place.listener) ?? new Levels<T>()
    this.#listeners.set(place.listener, levels)
    levels.push(place)
    this.#count(place, 1)
    return last
  }

  /** It waits no longer. Without effect once it does not. */
  remove(place: Place<T>): void {
    if (!place.waits) return
    const levels = this.#listeners.get(place.listener)!
    levels.remove(place)
    if (levels.isEmpty) this.#listeners.delete(place.listener)
    this.#count(place, -1)
  }

  /** The next to be asked about, which is under way until `done`. */
  next(): Place<T> | undefined {
    const { running, reserved } = this.#bounds
    if (this.#running >= running) return undefined
    for (const [name, levels] of this.#listeners) {
      const place = levels.next()!
      if (place.level > 0 && this.#running >= running - reserved) continue
      this.#listeners.delete(name)
      this.#listeners.set(name, levels)
      this.remove(place)
      this.#running++
      return place
    }
    return undefined
  }

  done(): void {
    this.#running--
  }

  #last(): Place<T> | undefined {
    let last: Place<T> | undefined
    for (const levels of this.#listeners.values()) {
      const place = levels.last()!
      if (last === undefined || place.level > last.level) last = place
    }
    return last
  }

  #count(place: Place<T>, more: 1 | -1): void {
    this.#pending += more
    const { address } = place
    const ofAddress = this.#addresses.get(address) ?? new OfAddress<T>()
    if (more > 0) ofAddress.add(place)
    else ofAddress.remove(place)
    if (ofAddress.size === 0) this.#addresses.delete(address)
    else this.#addresses.set(address, ofAddress)
  }
}

/** What waits of one address, by level; in each the oldest first. */
class OfAddress<T> {
  readonly #levels: (Set<Place<T>> | undefined)[] = []
  size = 0

  add(place: Place<T>): void {
    const level = this.#levels[place.level] ?? new Set()
    this.#levels[place.level] = level
    level.add(place)
    this.size++
  }

  remove(place: Place<T>): void {
    if (this.#levels[place.level]?.delete(place) === true) this.size--
  }

  last(): Place<T> | undefined {
    return this.#levels
      .findLast((level) => level !== undefined && level.size > 0)
      ?.values()
      .next().value
  }
}

/** What waits at one listener: a list for each level, from the oldest to the newest. */
class Levels<T> {
  readonly #lists: ({ oldest: Place<T>; newest: Place<T> } | undefined)[] = []

  get isEmpty(): boolean {
    return this.#lists.every((list) => list === undefined)
  }

  push(place: Place<T>): void {
    place.waits = true
    const list = this.#lists[place.level]
    if (list === undefined) {
      this.#lists[place.level] = { oldest: place, newest: place }
      return
    }
    place.older = list.newest
    list.newest.newer = place
    list.newest = place
  }

  remove(place: Place<T>): void {
    const { level, older, newer } = place
    const list = this.#lists[level]!
    if (older !== undefined) older.newer = newer
    if (newer !== undefined) newer.older = older
    if (older === undefined && newer === undefined) this.#lists[level] = undefined
    else if (older === undefined) list.oldest = newer!
    else if (newer === undefined) list.newest = older
    place.older = place.newer = undefined
    place.waits = false
  }

  next(): Place<T> | undefined {
    return this.#lists.find((list) => list !== undefined)?.newest
  }

  last(): Place<T> | undefined {
    return this.#lists.findLast((list) => list !== undefined)?.oldest
  }
}
