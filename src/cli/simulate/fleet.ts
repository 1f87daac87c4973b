import type { Instant } from '../../base/machine.ts'
import { Timer, Timers } from '../../base/timers.ts'
import { type SensorHabits, SimulatedSensor } from './sensor.ts'
import { Tally } from './tally.ts'

export interface FleetOptions extends SensorHabits {
  readonly sensors: number
  readonly idPrefix: string
  /** Part of the datagrams that are lost, in each direction. */
  readonly loss: number
  /** Time within which the sensors switch themselves on, milliseconds. */
  readonly rampMs: number
}

/** A datagram of one sensor, by its number. */
export interface FleetDatagram {
  readonly sensor: number
  readonly bytes: Uint8Array
}

/** Sensors and the lossy air between them and a gateway, sans-I/O. */
export class Fleet {
  readonly tally = new Tally()
  readonly #options: FleetOptions
  readonly #random: () => number
  readonly #sensors: SimulatedSensor[]
  readonly #timers = new Timers<number>()
  readonly #timerOf: Timer<number>[]
  #phase: 'living' | 'stopping' | 'leaving' = 'living'
  /** Sensors that may have something to send. */
  readonly #pending: number[] = []

  constructor(now: Instant, options: FleetOptions, random: () => number) {
    this.#options = options
    this.#random = random
    const { sensors, idPrefix, rampMs } = options
    const digits = String(sensors).length
    const idOf = (i: number): string => `${idPrefix}${String(i + 1).padStart(digits, '0')}`
    const peer = (): string => idOf(Math.floor(random() * sensors))
    const made = (i: number) => new SimulatedSensor(idOf(i), options, this.tally, random, now + (rampMs * i) / sensors, peer)
    this.#sensors = Array.from({ length: sensors }, (_, i) => made(i))
    this.#timerOf = this.#sensors.map((_, i) => new Timer(i))
    for (let i = 0; i < sensors; i++) this.#arm(i)
  }

  get asleep(): number {
    return this.#sensors.filter(({ isAsleep }) => isAsleep).length
  }

  /** True once all sensors have ended their sessions. */
  get isGone(): boolean {
    return this.#sensors.every(({ isGone }) => isGone)
  }

  /** True once the gateway has answered anything. */
  get isAnswered(): boolean {
    return this.#sensors.some(({ answered }) => answered)
  }

  /**
   * Acknowledged commands that have not arrived: `lost` for sensors that have asked for everything, `unfetched` for those that could
   * not, because the gateway did not answer them.
   */
  get missing(): { readonly lost: number; readonly unfetched: number } {
    const complete = new Set(this.#sensors.filter(({ hasAll }) => hasAll).map(({ clientId }) => clientId))
    const { waiting } = this.tally
    const lost = Array.from(waiting.values()).filter((receiver) => complete.has(receiver)).length
    return { lost, unfetched: waiting.size - lost }
  }

  /** The first sensor whose CONNECT was refused, and the return code. */
  get refused(): { readonly clientId: string; readonly returnCode: number } | undefined {
    const found = this.#sensors.find(({ refused }) => refused !== undefined)
    return found && { clientId: found.clientId, returnCode: found.refused! }
  }

  /** No sensor publishes any more. Once all are asleep, each asks for its messages once more and ends its session. */
  stop(now: Instant): void {
    if (this.#phase !== 'living') return
    this.#phase = 'stopping'
    for (const [i, sensor] of this.#sensors.entries()) {
      sensor.stop()
      this.#arm(i)
    }
    this.#leaveIfOff(now)
  }

  /** A datagram from the gateway; it may be lost. */
  handleDatagram(now: Instant, { sensor, bytes }: FleetDatagram): void {
    if (this.#isLost()) return
    this.tally.datagrams.received++
    this.tally.bytes.received += bytes.length
    this.#sensors[sensor]!.handleDatagram(now, bytes)
    this.#pending.push(sensor)
  }

  handleTimeout(now: Instant): void {
    for (let timer = this.#timers.expired(now); timer !== undefined; timer = this.#timers.expired(now)) {
      this.#sensors[timer.owner]!.handleTimeout(now)
      this.#pending.push(timer.owner)
    }
  }

  nextTimeout(): Instant | undefined {
    return this.#timers.next()
  }

  /** The next datagram that gets through to the gateway. */
  poll(now: Instant): FleetDatagram | undefined {
    for (let sensor = this.#pending[0]; sensor !== undefined; sensor = this.#pending[0]) {
      const bytes = this.#sensors[sensor]!.poll(now)
      if (bytes === undefined) {
        this.#pending.shift()
        this.#arm(sensor)
        this.#leaveIfOff(now)
        continue
      }
      this.tally.datagrams.sent++
      this.tally.bytes.sent += bytes.length
      if (!this.#isLost()) return { sensor, bytes }
    }
    return undefined
  }

  #leaveIfOff(now: Instant): void {
    if (this.#phase !== 'stopping' || this.#sensors.some(({ isOff }) => !isOff)) return
    this.#phase = 'leaving'
    for (const [i, sensor] of this.#sensors.entries()) {
      sensor.leave(now)
      this.#arm(i)
    }
  }

  #isLost(): boolean {
    const isLost = this.#random() < this.#options.loss
    if (isLost) this.tally.datagrams.lost++
    return isLost
  }

  #arm(i: number): void {
    const at = this.#sensors[i]!.nextTimeout()
    if (at === Number.POSITIVE_INFINITY) this.#timers.disarm(this.#timerOf[i]!)
    else this.#timers.arm(this.#timerOf[i]!, at)
  }
}
