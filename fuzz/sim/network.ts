import type { Random } from './random.ts'
import type { Schedule } from './schedule.ts'

export interface NetworkFaults {
  /** Probabilities for one datagram. */
  readonly loss: number
  readonly duplication: number
  /** A datagram that takes the long way comes after others that were sent later. */
  readonly detour: number
}

export const LOSSY: NetworkFaults = { loss: 0.1, duplication: 0.05, detour: 0.05 }
export const PERFECT: NetworkFaults = { loss: 0, duplication: 0, detour: 0 }

const DELAY_MS = [5, 150] as const
const DETOUR_MS = [500, 3000] as const

/** Whatever carries datagrams between one sensor and the gateway. */
export interface Carrier {
  /** `link` is a sensor and a direction: `s1 up`, `s1 down`. */
  carry(link: string, octets: number, deliver: () => void): void
}

/** The radio: decides for each datagram whether, how often and when it arrives. */
export class Network implements Carrier {
  faults: NetworkFaults = LOSSY
  sent = 0
  lost = 0
  duplicated = 0
  readonly #schedule: Schedule
  readonly #random: Random

  constructor(schedule: Schedule, random: Random) {
    this.#schedule = schedule
    this.#random = random
  }

  carry(_link: string, _octets: number, deliver: () => void): void {
    this.sent++
    const { loss, duplication, detour } = this.faults
    if (this.#random.chance(loss)) {
      this.lost++
      return
    }
    const copies = this.#random.chance(duplication) ? 2 : 1
    if (copies === 2) this.duplicated++
    for (let copy = 0; copy < copies; copy++) {
      const [low, high] = this.#random.chance(detour) ? DETOUR_MS : DELAY_MS
      this.#schedule.after(this.#random.between(low, high), deliver)
    }
  }
}
