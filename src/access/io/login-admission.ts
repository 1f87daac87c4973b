import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Instant } from '../../base/machine.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { AuthRequest } from '../../broker/access.ts'
import { type AdmissionBounds, AdmissionQueue, Place } from '../admission-queue.ts'
import { keyOf, Logins } from '../logins.ts'

/**
 * Why a check was not made: too many are waiting, the client has disconnected, or its address was banned in the
 * meantime.
 */
export type NotAdmitted = 'busy' | 'abandoned' | 'banned'

export interface AdmissionOptions {
  readonly logins: Logins
  readonly pending: number
  readonly pendingPerAddress: number
  readonly notice: NoticeSink
  readonly now: () => Instant
  /** Resolves after `ms` milliseconds, or when the client has disconnected. */
  readonly delay: (ms: number, gone: AbortSignal) => Promise<void>
}

export const defaultAdmissionOptions = (): AdmissionOptions => ({
  logins: new Logins(),
  pending: 10_000,
  pendingPerAddress: 500,
  notice: () => {},
  now: () => performance.now(),
  delay: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => {}),
})

interface PendingCheck {
  /** Returns false if nothing was started, because the address was banned in the meantime. */
  start(): boolean
  refuse(why: NotAdmitted): void
}

/**
 * Runs the expensive part of verifying clients, hashes or requests to one service, in fair turns and with limited
 * concurrency.
 */
export class LoginAdmission {
  readonly #options: AdmissionOptions
  readonly #queue: AdmissionQueue<PendingCheck>

  constructor(options: AdmissionOptions, running: Pick<AdmissionBounds, 'running' | 'reserved'>) {
    this.#options = options
    const { pending, pendingPerAddress } = options
    this.#queue = new AdmissionQueue({ ...running, pending, pendingPerAddress })
  }

  get pending(): number {
    return this.#queue.pending
  }

  /** Runs `work` when its turn has come. Rejects if it rejects. */
  run<R>({ info: { peer, listener } }: AuthRequest, signal: AbortSignal, work: () => Promise<R>): Promise<R | NotAdmitted> {
    const { logins, now } = this.#options
    return new Promise((resolve, reject) => {
      const start = (): boolean => {
        signal.removeEventListener('abort', gone)
        if (logins.isBanned(now(), peer)) {
          resolve('banned')
          return false
        }
        const done = (): void => this.#done()
        work().finally(done).then(resolve, reject)
        return true
      }
      const refuse = (why: NotAdmitted): void => {
        signal.removeEventListener('abort', gone)
        resolve(why)
      }
      const level = logins.asked(now(), peer)
      const place = new Place<PendingCheck>({ start, refuse }, listener, keyOf(peer), level)
      const gone = (): void => {
        this.#queue.remove(place)
        refuse('abandoned')
      }
      if (signal.aborted) refuse('abandoned')
      else {
        signal.addEventListener('abort', gone)
        this.#add(place, peer)
      }
    })
  }

  #add(place: Place<PendingCheck>, peer: string): void {
    const refused = this.#queue.add(place)
    if (refused !== undefined) {
      const isOfAddress = refused.address === place.address && this.#queue.pending < this.#options.pending
      const limit = isOfAddress ? 'max_pending_logins_per_address' : 'max_pending_logins'
      const who = refused === place ? { peer } : {}
      this.#options.notice({ code: 'limit-reached', level: 'warn', ...who, reason: 'too many logins wait', limit })
      refused.work.refuse('busy')
    }
    this.#next()
  }

  #done(): void {
    this.#queue.done()
    this.#next()
  }

  #next(): void {
    for (let place = this.#queue.next(); place !== undefined; place = this.#queue.next()) {
      if (!place.work.start()) this.#queue.done()
    }
  }
}
