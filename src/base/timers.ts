import type { Instant } from './machine.ts'

/** One deadline of one owner. Made once, armed and disarmed as often as needed. */
export class Timer<T> {
  readonly owner: T
  deadline: Instant = 0
  /** Place in the heap, -1 while not armed. */
  place = -1
  /** Breaks ties by the order of arming, so that equal deadlines fire the same way in every run. */
  order = 0

  constructor(owner: T) {
    this.owner = owner
  }

  get armed(): boolean {
    return this.place >= 0
  }
}

/**
 * The deadlines of one room, as an indexed binary heap: the earliest is at hand, arming and disarming cost O(log n).
 *
 * A heap and not a timer wheel, because deadlines stay exact and the order of firing is total, which the simulator's traces need. The cost
 * does not show: what changes with every packet (keep alive) only notes the time, and re-arms when its old deadline comes.
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

  /** Takes out one timer whose deadline has come; to be called until it gives `undefined`. */
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
