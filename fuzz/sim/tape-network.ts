import type { Carrier } from './network.ts'
import type { Schedule } from './schedule.ts'
import type { Setup } from './setup.ts'

/** What becomes of one datagram. `twice`: a copy of it comes late. */
export type Fate = 'arrives' | 'lost' | 'late' | 'twice'
export const FATES: readonly Fate[] = ['arrives', 'lost', 'late', 'twice']

const DELAY_MS = 20
/** Behind the next two retransmissions. Longer than anything else that happens to a datagram, and far below the hold-down of QoS 2. */
export const LATE_MS = 25_000

type Radio = Pick<Setup, 'maxFrame' | 'linkBytesPerSecond'>

/**
 * A network without chance: each link has a tape, whose next entry decides the next datagram. Past its end the network is perfect, so that what
 * shrinks away of a tape takes its faults along, and a failure ends at the one datagram that matters.
 */
export class TapeNetwork implements Carrier {
  readonly #radio: Radio
  /** Links over which nothing comes. */
  readonly cut = new Set<string>()
  readonly #tapes = new Map<string, Fate[]>()
  /** When the last datagram of a slow link is out. */
  readonly #freeAt = new Map<string, number>()
  readonly #schedule: Schedule

  constructor(schedule: Schedule, radio: Radio) {
    this.#schedule = schedule
    this.#radio = radio
  }

  wind(link: string, fates: readonly Fate[]): void {
    this.#tapes.set(link, [...(this.#tapes.get(link) ?? []), ...fates])
  }

  /** From now on nothing goes wrong any more. */
  heal(): void {
    this.cut.clear()
    this.#tapes.clear()
  }

  carry(link: string, octets: number, deliver: () => void): void {
    const sentMs = this.#airMs(link, octets)
    if (this.cut.has(link) || octets > this.#radio.maxFrame) return
    const fate = this.#tapes.get(link)?.shift() ?? 'arrives'
    if (fate === 'lost') return
    this.#schedule.after(sentMs + (fate === 'late' ? LATE_MS : DELAY_MS), deliver)
    if (fate === 'twice') this.#schedule.after(sentMs + LATE_MS, deliver)
  }

  /** From now until it is out, behind whatever is on this link already. */
  #airMs(link: string, octets: number): number {
    const { linkBytesPerSecond } = this.#radio
    if (linkBytesPerSecond === 0) return 0
    const { now } = this.#schedule
    const freeAt = Math.max(now, this.#freeAt.get(link) ?? 0) + Math.ceil((octets * 1000) / linkBytesPerSecond)
    this.#freeAt.set(link, freeAt)
    return freeAt - now
  }
}
