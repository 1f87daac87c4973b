import { Fifo } from '../../base/fifo.ts'
import type { Instant } from '../../base/machine.ts'
import {
  type Answer,
  type EventStream,
  type HttpResponse,
  type HttpWork,
  isWork,
  type Pause,
  problem,
  ROOM_MS,
} from '../exchange.ts'
import type { HttpHost } from './http-host.ts'

/** Long answers at most that are made at the same time, because each holds what it has found so far: a megabyte or two. */
export const LONG_MAX = 16

/**
 * Requests that take several turns of the event loop. However many there are, one of them has a step in each turn, so that they
 * share its time among themselves and leave the rest to clients.
 */
export class Steps {
  readonly #host: HttpHost
  readonly #waiting = new Fifo<() => void>()
  #next: NodeJS.Immediate | undefined
  #long = 0
  readonly #later = new Fifo<() => void>()

  constructor(host: HttpHost) {
    this.#host = host
  }

  /** Number of requests whose next step is due. */
  get waiting(): number {
    return this.#waiting.length
  }

  /**
   * Carries out a request, of which `begin` returns the answer or the work. `isGone`: nobody waits for the answer any more; then it
   * ends early, and `undefined` is returned.
   */
  async run(begin: (now: Instant) => Answer, isGone: () => boolean): Promise<HttpResponse | EventStream | undefined> {
    await this.#turn()
    let work: HttpWork | undefined
    const answer = this.#host.run((now) => {
      const begun = begin(now)
      if (!isWork(begun)) return begun
      work = begun
      return begun.next(now)
    })
    if (work === undefined) return answer as HttpResponse | EventStream
    const first = answer as IteratorResult<Pause, HttpResponse>
    return first.done !== true && first.value.kind === 'turn'
      ? this.#inPlace(() => this.#goOn(work!, first, isGone))
      : this.#goOn(work, first, isGone)
  }

  /** Runs a long request when there are fewer than `LONG_MAX` others. */
  async #inPlace<T>(run: () => Promise<T>): Promise<T> {
    // A request that ends passes its place on.
    if (this.#long < LONG_MAX) this.#long++
    else await new Promise<void>((resolve) => this.#later.push(resolve))
    try {
      return await run()
    } finally {
      const next = this.#later.shift()
      if (next === undefined) this.#long--
      else next()
    }
  }

  async #goOn(
    work: HttpWork,
    first: IteratorResult<Pause, HttpResponse>,
    isGone: () => boolean,
  ): Promise<HttpResponse | undefined> {
    for (let step = first; ; step = this.#host.run((now) => work.next(now))) {
      if (step.done === true) return step.value
      const late = await this.#pause(step.value)
      if (late === undefined) await this.#turn()
      const { notReady } = this.#host
      const answer = notReady === undefined ? late : problem(503, notReady)
      if (answer === undefined && !isGone()) continue
      work.return(NOTHING)
      return answer
    }
  }

  /** Returns the answer instead if it takes too long. */
  async #pause(pause: Pause): Promise<HttpResponse | undefined> {
    if (pause.kind === 'reload') pause.result = await this.#host.reload()
    else if (pause.kind === 'account') pause.result = await this.#host.changeAccount(pause.change)
    else if (pause.kind === 'room') await new Promise((resolve) => setTimeout(resolve, ROOM_MS))
    else if (pause.kind === 'durable' && !(await this.#host.durable(pause.lsn)))
      return problem(
        503,
        `${pause.late ?? 'it is done'}, but the store cannot keep it yet: after a crash it may have to be done again`,
      )
    return undefined
  }

  #turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
      this.#next ??= setImmediate(this.#step)
    })
  }

  readonly #step = (): void => {
    this.#waiting.shift()?.()
    this.#next = this.#waiting.length === 0 ? undefined : setImmediate(this.#step)
  }
}

/** Nobody reads it. */
const NOTHING = problem(503, 'given up')
