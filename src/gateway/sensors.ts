import { COUNTED_NOTICES } from '../base/client-figures.ts'
import type { Instant } from '../base/machine.ts'
import type { Notice } from '../base/notice.ts'
import type { RestingLinks, RestingSession, Waiting } from '../mqtt/link.ts'
import type { SessionKey } from '../store/store.ts'
import { lastRoute } from './admission.ts'
import type { ClientHost } from './client/client-host.ts'
import type { RowView } from './client/resting.ts'
import { type Counter, SensorFigures } from './client/sensor-figures.ts'
import type { SensorState } from './client/state-table.ts'
import type { ClientTable } from './client-table.ts'
import { addressOfRoute, nodeTextOf, portNameOf, type RouteKey } from './ports/route.ts'

/** What is known of a sensor. Times are instants of this process; those before it started are as exact as the store's records. */
export interface Sensor {
  /** Its place in the list of all sensors, the cursor of `Sensors.page`. */
  readonly seat: number
  readonly clientId: string
  readonly state: SensorState
  /** When it entered that state; after a restart, the earliest time for which that is known. */
  readonly since: Instant
  readonly lastHeard: Instant
  /** Keep alive of its CONNECT; 0 for none. */
  readonly keepAliveSeconds: number
  /** While it is asleep or awake, otherwise 0. */
  readonly sleepSeconds: number
  /** While it is asleep: when its sleep duration ends. In the past if it is overdue, but not lost yet. */
  readonly nextWake: Instant | undefined
  /** Name of the port at which it was last heard, and its address there, or that of its forwarder; '' if that is not known. */
  readonly port: string
  readonly address: string
  /** Its node id behind a forwarder, in hexadecimal digits. */
  readonly node: string | undefined
  readonly username: string | undefined
  readonly waiting: Waiting
}

/** Since the process started, and in the last day. */
export interface FiguresOfSensor {
  readonly counters: Readonly<Record<Counter, number>>
  /** By quarters of an hour, the current one last: a letter for each (`DAY_LETTERS`). */
  readonly day: string
}

/** A part of the list of all sensors. `next`: where the next part begins; `undefined` after the last one. */
export interface SensorPage {
  readonly sensors: Sensor[]
  readonly next: number | undefined
}

/** What both a client and a row have. */
type Known = Omit<RowView, 'route'>

export type SensorObserver = (clientId: string, isNewOrGone: boolean) => void

const NOTHING: Waiting = { messages: 0, bytes: 0 }

/**
 * The sensors as others may see them. Nothing here has any effect: a sensor at rest stays a row, and no record is appended. A
 * client is a sensor from its first accepted CONNECT until its session ends.
 */
export class Sensors {
  /** When the process started. A sensor that has not been heard since then was last heard when it was last recorded. */
  recoveredAt: Instant = 0
  readonly #clients: ClientTable
  readonly #host: ClientHost
  readonly #links: RestingLinks
  readonly #observers = new Set<SensorObserver>()

  constructor(clients: ClientTable, host: ClientHost, links: RestingLinks) {
    this.#clients = clients
    this.#host = host
    this.#links = links
  }

  /** Number of sensors in each state. */
  get counts(): Readonly<Record<SensorState, number>> {
    return this.#host.sensorStates.counts
  }

  /**
   * The observer is called for each sensor that enters a state, perhaps the one it was in, and each that is new or gone, in the
   * middle of what changes it: it may only take note, and look at the sensor later.
   */
  observe(observer: SensorObserver): void {
    this.#observers.add(observer)
    this.#host.sensorStates.changed = (clientId, isNewOrGone) => {
      for (const each of this.#observers) each(clientId, isNewOrGone)
    }
  }

  unobserve(observer: SensorObserver): void {
    this.#observers.delete(observer)
    if (this.#observers.size === 0) this.#host.sensorStates.changed = undefined
  }

  /** From here on figures of each sensor are kept: 64 bytes each. `wallEpoch`: the wall clock at instant 0, in milliseconds. */
  keepFigures(now: Instant, wallEpoch: number): void {
    const figures = new SensorFigures(now, wallEpoch)
    this.#host.sensorStates.figures = figures
    this.#host.memory.count('sessions', () => figures.bytes)
  }

  /** Figures of a sensor; undefined where none are kept. */
  figuresOf(now: Instant, { seat, state }: Sensor): FiguresOfSensor | undefined {
    const { figures } = this.#host.sensorStates
    return figures && { counters: figures.counters(seat), day: figures.day(now, seat, state) }
  }

  /** Counts what a notice says of a sensor: something for it was dropped, or it was refused something. */
  noticed({ code, client = '', count = 1 }: Notice): void {
    const counter = COUNTED_NOTICES[code]
    if (counter === undefined || !client.startsWith('sn:')) return
    const seat = this.#clients.seatOf(client.slice('sn:'.length))
    if (seat >= 0) this.#host.sensorStates.figures?.count(seat, counter, count)
  }

  get(clientId: string): Sensor | undefined {
    const seat = this.#clients.seatOf(clientId)
    return seat < 0 ? undefined : this.#at(seat)
  }

  /** The sensors of the seats from `seat` on, `most` of them at most. 0.5 us each. */
  page(seat: number, most: number): SensorPage {
    const end = Math.min(seat + most, this.#clients.seatCount)
    const sensors: Sensor[] = []
    for (let at = seat; at < end; at++) {
      const sensor = this.#at(at)
      if (sensor !== undefined) sensors.push(sensor)
    }
    return { sensors, next: end < this.#clients.seatCount ? end : undefined }
  }

  /** True for a client without a link that has not sent DISCONNECT: its link has ended, or was not restored after a restart. */
  isLost(clientId: string): boolean {
    const client = this.#clients.isAtRest(clientId) ? undefined : this.#clients.get(clientId)
    return client !== undefined && client.link === undefined && client.state !== 'disconnected'
  }

  #at(seat: number): Sensor | undefined {
    const found = this.#clients.look(seat)
    if (found === undefined) return undefined
    if ('row' in found) return this.#sensor(seat, found.session.clientId, 'asleep', found.row, found.row.route, found.session)
    if (found.reported === undefined) return undefined
    return this.#sensor(seat, found.clientId, found.reported, found, lastRoute(found), found.key)
  }

  /** With every property in place: an object that is put together by spreading takes ten times as long. */
  #sensor(
    seat: number,
    clientId: string,
    state: SensorState,
    known: Known,
    route: RouteKey,
    session: SessionKey | RestingSession,
  ): Sensor {
    const { since } = known
    const lastHeard = this.#lastHeard(known)
    const sleepSeconds = state === 'asleep' || state === 'awake' ? known.sleepSeconds : 0
    return {
      seat,
      clientId,
      state,
      since,
      lastHeard,
      keepAliveSeconds: known.durationSeconds,
      sleepSeconds,
      nextWake: state === 'asleep' ? Math.max(lastHeard, since) + sleepSeconds * 1000 : undefined,
      port: route === '' ? '' : portNameOf(route),
      address: addressOfRoute(route),
      node: nodeTextOf(route),
      username: known.username,
      waiting: this.#links.waiting(session) ?? NOTHING,
    }
  }

  /** For supervision, a restart counts as a sign of life; here it does not. */
  #lastHeard({ lastHeard, recordedAt }: Known): Instant {
    return lastHeard > this.recoveredAt ? lastHeard : Math.min(lastHeard, recordedAt - this.#host.clock.epoch)
  }
}
