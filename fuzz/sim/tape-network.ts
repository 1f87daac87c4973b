import type { Carrier } from './network.ts'
import type { Schedule } from './schedule.ts'

/** What becomes of one datagram. `twice`: a copy of it comes late. */
export type Fate = 'arrives' | 'lost' | 'late' | 'twice'
export const FATES: readonly Fate[] = ['arrives', 'lost', 'late', 'twice']

const DELAY_MS = 20
/** Behind the next two retransmissions. Longer than anything else that happens to a datagram, and far below the hold-down of QoS 2. */
export const LATE_MS = 25_000

/**
 * A network without chance: each link has a tape, whose next entry decides the next datagram. Past its end the network is perfect, so that what
 * shrinks away of a tape takes its faults along, and a failure ends at the one datagram that matters.
 */
export class TapeNetwork implements Carrier {
  /** Links over which nothing comes. */
  readonly cut = new Set<string>()
  readonly #tapes = new Map<string, Fate[]>()
  readonly #schedule: Schedule

  constructor(schedule: Schedule) {
    this.#schedule = schedule
  }

  wind(link: string, fates: readonly Fate[]): void {
    this.#tapes.set(link, [...(this.#tapes.get(link) ?? []), ...fates])
  }

  /** From now on nothing goes wrong any more. */
  heal(): void {
    this.cut.clear()
    this.#tapes.clear()
  }

  carry(link: string, deliver: () => void): void {
    if (this.cut.has(link)) return
    const fate = this.#tapes.get(link)?.shift() ?? 'arrives'
    if (fate === 'lost') return
    this.#schedule.after(fate === 'late' ? LATE_MS : DELAY_MS, deliver)
    if (fate === 'twice') this.#schedule.after(LATE_MS, deliver)
  }
}
