/** A check that waits for its turn. Its links in the list are managed by the queue. */
export class Place<T> {
  readonly work: T
  readonly listener: string
  readonly address: string
  /** 0 for an address without recent checks; a higher level is served later. */
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
  /** Maximum number of checks in progress. */
  readonly running: number
  /**
   * Number of these that are reserved for addresses of level 0: however long other checks take, a new address finds a
   * place.
   */
  readonly reserved: number
  /** Maximum number of waiting checks, for all addresses together. */
  readonly pending: number
  readonly pendingPerAddress: number
}

/**
 * Decides which client is next to have its password checked, or a service queried about it: work so expensive that only
 * some of it can be in progress at a time. Listeners take turns. Within a listener the address with the fewest
 * unsuccessful checks goes first. Among equals the newest goes first: under overload, an answer to the newest is worth
 * more than one to a client about to give up.
 *
 *     level 0   a new address            <- next
 *     level 1   one check before
 *     level 11  a wrong password before
 */
export class AdmissionQueue<T> {
  readonly #bounds: AdmissionBounds
  /** Listeners with waiting clients; the one served most recently is last. */
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
   * Adds a check to the queue. Returns the check for which there is no room: the one that has waited longest at the
   * highest level, among those of the same address if that has reached its limit; or this check itself. Returns
   * `undefined` if there is room for all.
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

  /** Removes a check from the queue. No effect if it does not wait. */
  remove(place: Place<T>): void {
    if (!place.waits) return
    const levels = this.#listeners.get(place.listener)!
    levels.remove(place)
    if (levels.isEmpty) this.#listeners.delete(place.listener)
    this.#count(place, -1)
  }

  /** Returns the next check, which is in progress until `done`; `undefined` if none can start. */
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

/** The waiting checks of one address by level, oldest first within each level. */
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

/** The waiting checks of one listener: a list per level, from oldest to newest. */
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
