import type { Instant } from './machine.ts'

/** A deadline of an owner. Created once, armed and disarmed as often as needed. */
export class Timer<T> {
  readonly owner: T
  deadline: Instant = 0
  /** Position in the heap; -1 while not armed. */
  place = -1
  /** Breaks ties by the order of arming, so that equal deadlines expire in the same order in every run. */
  order = 0

  constructor(owner: T) {
    this.owner = owner
  }

  get armed(): boolean {
    return this.place >= 0
  }
}

/**
 * A set of deadlines as an indexed binary heap: the earliest is available immediately, arming and disarming cost O(log
 * n).
 *
 * A heap rather than a timer wheel, because deadlines stay exact and the order of expiry is total, as the simulator's
 * traces require. The cost is negligible: where a deadline changes with every packet (keep alive), only the time is
 * noted, and the timer is re-armed when the old deadline expires.
 */
export class Timers<T> {
  readonly #heap: Timer<T>[] = []
  #order = 0

  get size(): number {
    return this.#heap.length
  }

  /** Arms the timer, or moves it if it is armed. */
  arm(timer: Timer<T>, deadline: Instant): void {
    const moved = timer.place >= 0
    timer.deadline = deadline
    timer.order = this.#order++
    if (!moved) {
      timer.place = this.#heap.length
      this.#heap.push(timer)
    }
    this.#rise(timer)
    if (moved) this.#sink(timer)
  }

  disarm(timer: Timer<T>): void {
    const place = timer.place
    if (place < 0) return
    timer.place = -1
    const last = this.#heap.pop()!
    if (last === timer) return
    this.#heap[place] = last
    last.place = place
    this.#rise(last)
    this.#sink(last)
  }

  /** The earliest deadline. */
  next(): Instant | undefined {
    return this.#heap[0]?.deadline
  }

  /** The timer with the earliest deadline. */
  first(): Timer<T> | undefined {
    return this.#heap[0]
  }

  /** Removes and returns a timer whose deadline has come; call until it returns `undefined`. */
  expired(now: Instant): Timer<T> | undefined {
    const first = this.#heap[0]
    if (first === undefined || first.deadline > now) return undefined
    this.disarm(first)
    return first
  }

  #rise(timer: Timer<T>): void {
    const heap = this.#heap
    while (timer.place > 0) {
      const parent = heap[(timer.place - 1) >> 1]!
      if (before(parent, timer)) return
      this.#swap(parent, timer)
    }
  }

  #sink(timer: Timer<T>): void {
    const heap = this.#heap
    for (;;) {
      const left = heap[timer.place * 2 + 1]
      if (left === undefined) return
      const right = heap[timer.place * 2 + 2]
      const child = right !== undefined && before(right, left) ? right : left
      if (before(timer, child)) return
      this.#swap(timer, child)
    }
  }

  #swap(a: Timer<T>, b: Timer<T>): void {
    const place = a.place
    a.place = b.place
    b.place = place
    this.#heap[a.place] = a
    this.#heap[b.place] = b
  }
}

const before = <T>(a: Timer<T>, b: Timer<T>): boolean =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order)
