import type { Instant } from '../../../src/base/machine.ts'
import type { Notice } from '../../../src/base/notice.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import type { Lsn } from '../../../src/store/store.ts'
import { PacketStreams } from '../packet-streams.ts'
import type { Site } from '../site.ts'
import type { Station } from '../station.ts'
import type { TcpClient } from '../tcp-client.ts'
import { SiteChecker } from './checker.ts'

/** For a stream to end that the server has given up. */
const SLACK_MS = 1000

interface StationWill {
  /** Its will is kept, as CONNACK said; `asked`: CONNACK has not come yet. */
  kept: 'no' | 'asked' | 'yes'
  /** When it has to be published at the latest, and may be at the earliest; none if it need not, or must not. */
  due: Instant | undefined
  from: Instant | undefined
  /** What has ended it, and the record with which a store knows of that. */
  over: 'published' | 'goodbye' | undefined
  recorded: Lsn
  /** Its next conversation begins, and the will of the one before still waits for room: it goes first. */
  before: boolean
  /** It was published in the turn in which the server gives its stream up. */
  ahead: boolean
}

/**
 * The will of a TCP client is published once after its delay, or at the end of its session if that is sooner, unless its client is back by then, and never
 * after a DISCONNECT with reason code 0 [5.0 section 3.1.2.5, MQTT-3.1.3-9, MQTT-3.14.4-3].
 */
export class WillInTime extends SiteChecker {
  readonly name = 'will exactly once or not at all'
  readonly #up = new PacketStreams('client')
  readonly #down = new PacketStreams('server')
  readonly #wills = new Map<string, StationWill>()

  constructor(site: Site) {
    super(site)
    for (const { id, will } of site.stations) {
      if (will === undefined) continue
      this.#wills.set(id, {
        kept: 'no',
        due: undefined,
        from: undefined,
        over: undefined,
        recorded: 0,
        before: false,
        ahead: false,
      })
    }
  }

  chunkIn(tcp: TcpClient, bytes: Uint8Array): void {
    const will = this.#wills.get(this.stationOf(tcp).id)
    if (will === undefined) return
    for (const packet of this.#up.read(tcp, bytes)) {
      if (packet.type === PacketType.CONNECT) {
        const before = will.from !== undefined && will.over === undefined
        Object.assign(will, { kept: 'asked', due: undefined, over: undefined, before })
      } else if (packet.type === PacketType.DISCONNECT && packet.reasonCode === 0) {
        will.kept = 'no'
        this.#over(will, 'goodbye', 1)
      }
    }
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    const will = this.#wills.get(this.stationOf(tcp).id)
    if (will === undefined) return
    for (const packet of this.#down.read(tcp, bytes)) {
      if (packet.type !== PacketType.CONNACK) continue
      if (packet.reasonCode === 0)
        Object.assign(will, { kept: 'yes', due: undefined, from: undefined, over: undefined, recorded: 0, before: false })
      else will.kept = 'no'
    }
  }

  closed(tcp: TcpClient, by: 'client' | 'server'): void {
    const station = this.stationOf(tcp)
    const will = this.#wills.get(station.id)
    if (will !== undefined) will.ahead = false
    // The server may have known it for a while.
    if (will !== undefined) this.#lost(station, will, by === 'client' ? 0 : SLACK_MS)
  }

  #lost({ willDelayMs }: Station, will: StationWill, known: number): void {
    if (will.kept === 'no') return
    will.before = false
    const { schedule, runsAt } = this.site.world
    const at = Math.max(schedule.now, runsAt) + willDelayMs
    will.from = Math.min(will.from ?? at, at - known)
    if (will.kept === 'yes') will.due = at
    will.kept = 'no'
  }

  notice({ code, client, reason = '' }: Notice): void {
    // Without retaining it, it is published all the same.
    if (code === 'will-refused' && reason.startsWith('it is not retained')) return
    if (client === undefined || !client.startsWith('mqtt:')) return
    const id = client.slice('mqtt:'.length)
    const will = this.#wills.get(id)
    if (will === undefined) return
    // A bound was reached, and told.
    if (code === 'will-refused') will.due = undefined
    if (code !== 'will-published' && code !== 'will-refused') return
    // Of one that is not lost it is so because the process stops, or gives its stream up.
    const was = will.kept
    if (was === 'yes') will.kept = 'no'
    if (code === 'will-refused') return
    const { schedule } = this.site.world
    if (will.over === 'published') this.tell(`the will of ${id} was published again`)
    else if (will.over === 'goodbye') this.tell(`the will of ${id} was published although it had said goodbye`)
    else if (will.from === undefined && was !== 'no' && this.#isAtOnce(id)) will.ahead = true
    // At the end of its session, when that has come sooner than its time.
    else if (this.site.operator.ended.has(client)) will.due = undefined
    else if (will.from === undefined) this.tell(`the will of ${id} was published, and it is not lost`)
    else if (schedule.now < will.from) this.tell(`the will of ${id} was published ${will.from - schedule.now} ms early`)
    if (will.before) will.before = false
    else this.#over(will, 'published', 0)
  }

  #isAtOnce(id: string): boolean {
    return this.site.stations.some((station) => station.id === id && station.willDelayMs === 0)
  }

  stops(): void {
    const { now } = this.site.world.schedule
    for (const { id, willDelayMs } of this.site.stations) {
      const will = this.#wills.get(id)
      if (will?.kept === 'yes' && willDelayMs === 0) will.from ??= now
    }
  }

  /** `ahead`: its record is still to come. */
  #over(will: StationWill, over: 'published' | 'goodbye', ahead: number): void {
    const { store } = this.site.world
    // A goodbye has no record while the store is full; a will is not published without one.
    const isRefused = over === 'goodbye' && store.refuse
    Object.assign(will, { due: undefined, over, recorded: isRefused ? Number.POSITIVE_INFINITY : store.appended + ahead })
  }

  look(): void {
    const { schedule, runsAt } = this.site.world
    for (const [id, { ahead }] of this.#wills) if (ahead) this.tell(`the will of ${id} was published, and it is not lost`)
    if (this.storeMayWait()) return
    for (const [id, { due }] of this.#wills)
      if (due !== undefined && schedule.now > Math.max(due, runsAt) + SLACK_MS)
        this.tell(`the will of ${id} was due at ${due} ms, and was not published`)
  }

  /** A new process finds everybody gone, and counts from there what it does not know better. */
  crashed(survived: Lsn): void {
    const { now } = this.site.world.schedule
    for (const station of this.site.stations) {
      const will = this.#wills.get(station.id)
      if (will === undefined) continue
      will.ahead = false
      if (will.due !== undefined) will.due = now + station.willDelayMs
      this.#lost(station, will, 0)
      const { recorded } = will
      // The next process counts its records anew.
      will.recorded = 0
      if (recorded <= survived) continue
      // It may happen again, or for the first time.
      Object.assign(will, { over: undefined, from: Math.min(will.from ?? now, now) })
    }
  }
}
