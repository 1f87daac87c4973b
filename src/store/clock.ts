import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { ClockRecord, Store, StoreRecord, WallClock, WallTime } from './store.ts'

/** The readings of the machine's clocks at one moment. */
export interface ClockReading {
  /** Milliseconds since 1970. */
  readonly wall: number
  /** Changes with each boot of the machine; empty where the system has none. */
  readonly bootId: string
  /** Milliseconds since that boot. */
  readonly uptime: number
}

/** Deviation of the wall clock (ms) from which it counts as having been set. */
export const JUMP_MS = 5_000

/**
 * The store's own time. It advances with the monotonic clock and starts as the wall clock of the first start. When the wall clock
 * is set later, only its offset changes, which is recorded: every stored time keeps its meaning, and no session expires because
 * of a jump.
 *
 * Between two processes of one boot the uptime gives the time that has passed. Across boots only the wall clock can: a forward
 * step counts as time passed, a backward step as none.
 */
export class StoreClock implements WallClock {
  epoch: WallTime
  /** The wall clock at instant 0, in milliseconds since 1970, by its last reading: for times that people read, never for the store. */
  wallEpoch: number
  readonly #store: Store
  readonly #notice: NoticeSink
  #mark: ClockRecord | undefined
  /** The latest time in the store: the current time is not earlier. */
  #latest: WallTime = Number.NEGATIVE_INFINITY
  /** Offset of the wall clock from the store's time. */
  #ahead = 0
  /** The store had no room for the last clock record. */
  #isUnrecorded = false

  constructor(epoch: WallTime, store: Store, notice: NoticeSink) {
    this.epoch = epoch
    this.wallEpoch = epoch
    this.#store = store
    this.#notice = notice
  }

  /** Takes a record of the replay, of any kind; before `recover`. */
  apply(record: StoreRecord): void {
    if (record.type === 'clock') this.#mark = record
    if (record.type === 'clock' || record.type === 'detached' || record.type === 'sn-client')
      this.#latest = Math.max(this.#latest, record.at)
  }

  /** Ends the replay: `epoch` is final from here on. */
  recover(now: Instant, reading: ClockReading): void {
    const { wall, bootId, uptime } = reading
    const mark = this.#mark
    let at = mark === undefined ? wall : mark.at + wall - mark.wall
    const isSameBoot = mark !== undefined && bootId !== '' && mark.bootId === bootId && uptime >= mark.uptime
    if (isSameBoot) {
      const passed = mark.at + uptime - mark.uptime
      this.#tell(at - passed, 'since the last start')
      at = passed
    }
    if (at < this.#latest) {
      const behind = this.#latest - at
      if (behind >= JUMP_MS) {
        const reason = `the wall clock is ${span(behind)} behind the times in the store: the time since counts as none`
        this.#notice({ code: 'clock-backwards', level: 'warn', reason })
      }
      at = this.#latest
    }
    this.epoch = at - now
    this.wallEpoch = wall - now
    this.#ahead = wall - at
    const isKnown = isSameBoot && Math.abs(wall - at - (mark.wall - mark.at)) < JUMP_MS
    if (!isKnown) this.#record({ type: 'clock', at, ...reading })
  }

  /** To be called about once a second. */
  look(now: Instant, reading: ClockReading): void {
    const at = this.epoch + now
    const jump = reading.wall - at - this.#ahead
    this.wallEpoch = reading.wall - now
    if (Math.abs(jump) < JUMP_MS && !this.#isUnrecorded) return
    this.#tell(jump, 'while running')
    if (Math.abs(jump) >= JUMP_MS) this.#ahead += jump
    this.#record({ type: 'clock', at, ...reading })
  }

  #tell(jump: number, when: string): void {
    if (Math.abs(jump) < JUMP_MS) return
    const way = jump > 0 ? 'forward' : 'back'
    const reason = `the wall clock went ${way} by ${span(Math.abs(jump))} ${when}: sessions and messages last as long as before`
    this.#notice({ code: 'clock-jumped', level: 'warn', reason })
  }

  #record(mark: ClockRecord): void {
    this.#isUnrecorded = this.#store.append(mark) === 'full'
  }
}

/** `30 days`, in the largest unit of which there are at least two. */
function span(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds >= 2 * 86_400) return `${Math.round(seconds / 86_400)} days`
  if (seconds >= 2 * 3600) return `${Math.round(seconds / 3600)} hours`
  return seconds >= 120 ? `${Math.round(seconds / 60)} minutes` : `${seconds} seconds`
}
