import { Timer, Timers } from '../../src/base/timers.ts'

/** What happens when, in virtual time; at the same instant in the order in which it was planned. */
export class Schedule {
  now = 0
  readonly #timers = new Timers<() => void>()

  at(when: number, run: () => void): void {
    this.#timers.arm(new Timer(run), Math.max(when, this.now))
  }

  after(ms: number, run: () => void): void {
    this.at(this.now + ms, run)
  }

  /** Runs everything that is due up to then. */
  runUntil(end: number): void {
    for (let next = this.#timers.next(); next !== undefined && next <= end; next = this.#timers.next()) {
      this.now = next
      for (let timer = this.#timers.expired(next); timer !== undefined; timer = this.#timers.expired(next)) timer.owner()
    }
    this.now = end
  }
}

/** Calls a machine's `handleTimeout` when it wants it, however often it changes its mind. */
export class Alarm {
  readonly #schedule: Schedule
  readonly #next: () => number | undefined
  readonly #ring: () => void
  #planned = Number.POSITIVE_INFINITY

  constructor(schedule: Schedule, next: () => number | undefined, ring: () => void) {
    this.#schedule = schedule
    this.#next = next
    this.#ring = ring
  }

  /** To be called after every input. */
  update(): void {
    const next = this.#next()
    if (next === undefined || next >= this.#planned) return
    this.#planned = next
    this.#schedule.at(next, () => {
      if (this.#planned !== next) return
      this.#planned = Number.POSITIVE_INFINITY
      const due = this.#next()
      if (due !== undefined && due <= this.#schedule.now) this.#ring()
      this.update()
    })
  }
}
