import { Fifo } from '../../base/fifo.ts'
import { earliest, type Instant } from '../../base/machine.ts'
import type { Memory } from '../../base/memory.ts'
import { COST } from '../../base/memory-costs.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { Timers } from '../../base/timers.ts'
import type { Link, LinkId, LinkInfo, RestingLinks, RestingSession, SensorUplink, Waiting } from '../../mqtt/link.ts'
import type { Properties } from '../../mqtt/properties.ts'
import type { ByteCount } from '../../mqtt/topic-names.ts'
import type { GatewayRecord, Lsn, SessionKey, Store } from '../../store/store.ts'
import { NEVER } from '../connect-packet.ts'
import type { UpstreamLinkSettings } from '../link-owner.ts'
import { Targets } from '../targets.ts'
import type { Upstream } from '../upstream.ts'
import type { UpstreamLink } from '../upstream-link.ts'
import { Farewell, type LastDeeds } from './farewell.ts'
import { clusterConnect } from './naming.ts'
import type { SensorUpstreamOptions } from './options.ts'
import { SensorLink, type SensorLinkHost } from './sensor-link.ts'
import { SensorSession } from './sensor-session.ts'
import type { SessionHost } from './session-host.ts'

interface Parts {
  readonly store: Store
  readonly memory: Memory
  readonly notice: NoticeSink
}

/**
 * The uplink of a gateway in front of a cluster: each sensor has an MQTT session of its own there, and no message is stored here. What
 * the sensor sends is acknowledged when the cluster has acknowledged it, and what it gets is acknowledged there when it has done that.
 */
export class SensorUpstream implements SensorUplink, SensorLinkHost, SessionHost {
  readonly place = 'the cluster'
  settled: NonNullable<SensorUplink['settled']> = () => {}
  readonly options: SensorUpstreamOptions
  readonly settings: UpstreamLinkSettings
  readonly targets: Targets
  readonly upstream: Upstream
  readonly store: Store
  readonly timers = new Timers<SensorSession>()
  readonly sessions = new Map<string, SensorSession>()
  readonly farewells = new Map<string, Farewell>()
  readonly memory: Memory
  readonly notice: NoticeSink
  readonly sessionBytes: number
  readonly filterBytes: ByteCount = { sum: 0 }
  readonly lasting: Properties
  /** Publishing and subscribing cost nothing here. */
  readonly work = 0
  readonly resting: RestingLinks
  readonly #ready = new Fifo<SensorLink>()
  readonly #awaitingDurable = new Set<SensorLink>()
  /** Sessions that the cluster has lost since this was said last, and when it is to be said. */
  #lost = 0
  #tellAt: Instant | undefined = undefined

  constructor(options: SensorUpstreamOptions, upstream: Upstream, { store, memory, notice }: Parts) {
    this.options = options
    this.upstream = upstream
    this.store = store
    this.memory = memory
    this.notice = notice
    memory.count('sessions', () => (this.sessions.size + this.farewells.size) * COST.sensorSession)
    memory.count('subscriptions', () => this.filterBytes.sum)
    const isSecure = options.targets.addresses.some(({ tls }) => tls !== undefined)
    this.sessionBytes = COST.sensorSession + COST.dialled + (isSecure ? COST.tls : 0)
    this.lasting = { sessionExpiryInterval: Math.min(options.sessionExpirySeconds, NEVER) }
    this.targets = new Targets(options.targets, false)
    const { window, maxPacketSize } = options
    this.settings = { name: 'sensors', ofSensor: options, window, maxPacketSize }
    this.resting = new NoRest((key) => this.sessions.get(clientIdOf(key)))
  }

  get hasRoom(): boolean {
    return this.store.hasRoom
  }

  get durable(): Lsn {
    return this.store.durable
  }

  /** Applies one record of the replay; call before the gateway recovers. */
  apply(record: GatewayRecord): void {
    if (record.type === 'sn-subscription') this.sessionOf(record.clientId).filters.restore(record.filter, record.qos)
    else if (record.type === 'sn-subscription-end') this.sessionOf(record.clientId).filters.restore(record.filter, undefined)
    else if (record.type === 'sn-end') this.forgotten(record.clientId)
  }

  open(_now: Instant, info: LinkInfo): Link {
    return new SensorLink(this.upstream.newLinkId(), info, this)
  }

  endUnused(_now: Instant, key: SessionKey): boolean {
    const session = this.sessions.get(clientIdOf(key))
    if (session === undefined) return true
    if (session.link !== undefined || session.filters.size > 0) return false
    this.forgotten(session.clientId)
    return true
  }

  /**
   * An operator ends the session of a sensor at the cluster, wherever the sensor is. Returns what is still to do for that;
   * undefined if nothing is. The gateway forgets the sensor afterwards.
   */
  end(now: Instant, clientId: string, username: string | undefined): Farewell | undefined {
    const session = this.sessions.get(clientId)
    const farewell = this.farewells.get(clientId)
    if (session?.upstream !== undefined) session.disconnect(now, true)
    else if (farewell !== undefined) farewell.endSession()
    else {
      const owner = { linkName: `sn:${clientId}`, upstreamReady: () => {} }
      const link = this.upstream.open(now, this.settings, this.targets, owner)
      link.send(now, clusterConnect(this.options, clientId, username))
      this.partWith(now, clientId, link, { will: undefined, leavesWill: false, endsSession: true })
    }
    return this.farewells.get(clientId)
  }

  partWith(now: Instant, clientId: string, link: UpstreamLink, deeds: LastDeeds): void {
    const farewell = new Farewell(link, deeds, this.upstream, (at) => {
      this.farewells.delete(clientId)
      this.settled(at, clientId)
    })
    this.farewells.set(clientId, farewell)
    farewell.begin(now)
  }

  owesWill(clientId: string): boolean {
    return this.farewells.get(clientId)?.owesWill === true
  }

  nextReadyLink(): LinkId | undefined {
    const link = this.#ready.shift()
    if (link === undefined) return undefined
    link.ready = false
    return link.id
  }

  /** The gateway has forgotten the sensor. */
  forgotten(clientId: string): void {
    this.sessions.get(clientId)?.filters.clear()
    this.sessions.delete(clientId)
  }

  handleTimeout(now: Instant): void {
    if (this.#tellAt !== undefined && now >= this.#tellAt) this.#tellLost()
    for (let timer = this.timers.expired(now); timer !== undefined; timer = this.timers.expired(now)) timer.owner.timedOut(now)
  }

  nextTimeout(): Instant | undefined {
    return earliest(this.timers.next(), this.#tellAt)
  }

  sessionLost(now: Instant): void {
    this.#lost++
    this.#tellAt ??= now + TELL_AFTER_MS
  }

  #tellLost(): void {
    const reason = `the cluster has lost sessions: sensors are subscribed again, but what was queued for them there is gone`
    this.notice({ code: 'upstream-session-lost', level: 'warn', reason, count: this.#lost })
    this.#lost = 0
    this.#tellAt = undefined
  }

  /** `store.durable` has advanced. */
  handleDurable(): void {
    for (const link of this.#awaitingDurable) this.markReady(link)
    this.#awaitingDurable.clear()
  }

  // --- For links and sessions

  sessionOf(clientId: string): SensorSession {
    let session = this.sessions.get(clientId)
    if (session === undefined) {
      session = new SensorSession(clientId, this)
      this.sessions.set(clientId, session)
    }
    return session
  }

  markReady(link: SensorLink): void {
    if (link.ready) return
    link.ready = true
    this.#ready.push(link)
  }

  awaitDurable(link: SensorLink): void {
    this.#awaitingDurable.add(link)
  }
}

/** Milliseconds in which sessions that are lost are told together: with a node of the cluster thousands may be. */
const TELL_AFTER_MS = 1_000

const clientIdOf = (key: SessionKey): string => key.slice('sn:'.length)

/** Clients of this gateway stay objects: next to a connection of its own for each, rows would save little. */
class NoRest implements RestingLinks {
  needed: RestingLinks['needed'] = () => {}
  readonly #session: (key: SessionKey) => SensorSession | undefined

  constructor(session: (key: SessionKey) => SensorSession | undefined) {
    this.#session = session
  }

  stateOf(): undefined {
    return undefined
  }

  rest(): RestingSession {
    throw new Error('no link rests')
  }

  resume(): Link {
    throw new Error('no link rests')
  }

  waiting(session: SessionKey | RestingSession): Waiting | undefined {
    const found = typeof session === 'string' ? this.#session(session) : undefined
    return found?.held
  }
}
