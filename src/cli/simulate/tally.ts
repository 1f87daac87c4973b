/** What a fleet of simulated sensors has seen. Messages are counted at the sensors, and datagrams at their radios. */
export class Tally {
  /** Readings that were published, acknowledged by the gateway, and given up by their sensor. */
  published = 0
  acknowledged = 0
  givenUp = 0
  /** Commands from sensor to sensor that the gateway has acknowledged; those that arrived, and arrived again. */
  commands = 0
  arrived = 0
  duplicates = 0
  /** Acknowledged commands that have not arrived yet: their text, and the sensor that they are for. */
  readonly waiting = new Map<string, string>()
  /** Commands that arrived before the acknowledgement of their publisher, which may have been lost. */
  readonly early = new Set<string>()
  retransmissions = 0
  /** Exchanges that ended without an answer from the gateway, and answers that were refusals. */
  timeouts = 0
  refusals = 0
  datagrams = { sent: 0, received: 0, lost: 0 }
  /** Of UDP payloads, lost datagrams included. */
  bytes = { sent: 0, received: 0 }
  /** Time for which radios were on, milliseconds. */
  awakeMs = 0
  readonly #wakes: number[] = []
  #wakeCount = 0

  get wakes(): number {
    return this.#wakeCount
  }

  /** An awake period without anything to publish took so long, from PINGREQ to PINGRESP. */
  woke(ms: number): void {
    // The latest are kept, in a ring.
    this.#wakes[this.#wakeCount++ % WAKES_MAX] = ms
  }

  /** A quantile of the duration of awake periods in milliseconds; undefined before the first. */
  wakeQuantile(part: number): number | undefined {
    const sorted = this.#wakes.toSorted((a, b) => a - b)
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]
  }

  /** A command was acknowledged to its publisher. */
  commanded(text: string, receiver: string): void {
    this.commands++
    if (!this.early.delete(text)) this.waiting.set(text, receiver)
  }

  /** A command has reached its sensor for the first time. */
  received(text: string): void {
    this.arrived++
    if (!this.waiting.delete(text)) this.early.add(text)
  }
}

/** Awake periods that quantiles are computed from. */
const WAKES_MAX = 100_000
