/**
 * Gives each entry a small number for as long as it is there, its seat, so that all entries can be listed in parts while others
 * come and go: who is there all the time is listed once, because a seat never changes. An example: after a part that ended at seat
 * 100, the next begins there, whatever was deleted. A seat becomes free when its entry leaves, and the next one takes it.
 */
export class Seats<T> {
  readonly #entries: (T | undefined)[] = []
  #vacant: number[] = []

  /** One above the highest seat: where a list ends. */
  get end(): number {
    return this.#entries.length
  }

  at(seat: number): T | undefined {
    return this.#entries[seat]
  }

  add(entry: T): number {
    const seat = this.#vacant.pop() ?? this.#entries.length
    this.#entries[seat] = entry
    return seat
  }

  delete(seat: number): void {
    this.#entries[seat] = undefined
    this.#vacant.push(seat)
    if (this.#vacant.length < this.#entries.length) return
    this.#entries.length = 0
    this.#vacant = []
  }
}
