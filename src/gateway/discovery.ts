import type { Instant } from '../base/machine.ts'
import type { NoticeSink } from '../base/notice.ts'
import { type Advertise, type GwInfo, type Message, MsgType } from '../mqttsn/messages.ts'
import type { DiscoverySettings, PortSettings } from './ports/port-settings.ts'
import type { RouteKey } from './ports/route.ts'
import { broadcastRoute, nodeIdOf, nodeRoute, portNameOf } from './ports/route.ts'

/** What discovery needs from the gateway around it. */
export interface DiscoveryHost {
  readonly gatewayId: number
  /** Sends a message. `radius`: broadcast radius for forwarders, 0 to 3. */
  transmit(route: RouteKey, message: Message, radius?: number): void
  /** True if other gateways may be at this route. */
  mayBeGateway(route: RouteKey): boolean
  /** True if the address is trusted or validated. */
  isProven(route: RouteKey): boolean
  chance(): number
}

/** Maximum number of forwarders that receive ADVERTISE; the least recently heard are dropped. */
const FORWARDERS_MAX = 256
/** Forwarders support 0 to 3; larger values are sent as 3. */
const RADIUS_MAX = 3

/**
 * Another gateway's ADVERTISE is valid for at most this many of our own periods: it states its own duration, and is not
 * authenticated.
 */
const PERIODS_MAX = 3
/** The same limit, in milliseconds, where we have no period ourselves. */
const SILENT_MS = 3_600_000

/**
 * Changed in place at each datagram: a Map whose entry is moved to its end instead gets a new table after a few of them, 110 bytes of garbage
 * in the old generation for each wake of a sensor.
 */
interface Forwarder {
  /** Length of the node ids behind it, in octets. */
  nodeIdLength: number
  /** The number of the last datagram from it. */
  heard: number
}

interface Place {
  readonly port: PortSettings
  readonly options: DiscoverySettings
  advertiseAt: Instant | undefined
  /** A GWINFO that waits for its random delay, and its broadcast radius. */
  answer: { readonly at: Instant; readonly radius: number } | undefined
  /** No further report of unexpected gateways before this time. */
  reportedUntil: Instant | undefined
  /** The other gateways heard here: until when each counts as present, by GwId. */
  readonly others: Map<number, Instant>
}

/** Lets clients find the gateway: ADVERTISE, and GWINFO in answer to SEARCHGW [1.2 section 6.1; rulings A25, A26]. */
export class Discovery {
  readonly #host: DiscoveryHost
  readonly #notice: NoticeSink
  readonly #places: readonly Place[]
  readonly #forwarders = new Map<RouteKey, Forwarder>()
  /** Number of datagrams from forwarders. */
  #forwarded = 0

  constructor(ports: Iterable<PortSettings>, host: DiscoveryHost, notice: NoticeSink) {
    this.#host = host
    this.#notice = notice
    this.#places = Array.from(ports).flatMap((port) =>
      port.discovery === undefined
        ? []
        : [
            {
              port,
              options: port.discovery,
              advertiseAt: undefined,
              answer: undefined,
              reportedUntil: undefined,
              others: new Map<number, Instant>(),
            },
          ],
    )
  }

  /** Starts advertising. A gateway in standby listens first. */
  start(now: Instant): void {
    for (const place of this.#places) {
      const { tAdvSeconds, nAdv, standby } = place.options
      if (tAdvSeconds > 0) place.advertiseAt = standby ? now + nAdv * tAdvSeconds * 1000 : now
    }
  }

  /** Handles SEARCHGW: answers immediately, or after a random delay if the answer is a broadcast anyway (ruling A25). */
  searched(now: Instant, route: RouteKey, port: PortSettings, radius: number): void {
    const place = this.#places.find((each) => each.port === port)
    if (place?.options.broadcast === 'medium' && nodeIdOf(route) === undefined) {
      const at = now + this.#host.chance() * place.options.tGwinfoMs
      place.answer ??= { at, radius }
    } else this.#host.transmit(route, this.#gwInfo, Math.min(radius, RADIUS_MAX))
  }

  /** Handles ADVERTISE of another gateway. A multicast group also returns our own, which is ignored. */
  advertised(now: Instant, route: RouteKey, port: PortSettings, { gwId, duration }: Advertise): void {
    const place = this.#places.find((each) => each.port === port)
    if (place === undefined || gwId === this.#host.gatewayId) return
    const { others, options } = place
    const mostMs = options.tAdvSeconds === 0 ? SILENT_MS : PERIODS_MAX * options.tAdvSeconds * 1000
    if (!this.#host.mayBeGateway(route)) {
      if ((place.reportedUntil ?? now) > now) return
      place.reportedUntil = now + mostMs
      const reason = `gateway ${gwId} advertises itself at ${port.name} from where none is expected, and does not count (gateway_networks)`
      this.#notice({ code: 'gateway-heard', level: 'warn', peer: route, reason })
      return
    }
    const until = now + Math.min(options.nAdv * duration * 1000, mostMs)
    if ((others.get(gwId) ?? 0) <= now)
      this.#notice({
        code: 'gateway-heard',
        level: 'info',
        peer: route,
        reason: `gateway ${gwId} advertises itself at ${port.name}`,
      })
    others.set(gwId, until)
    if (options.standby && place.advertiseAt !== undefined) place.advertiseAt = Math.max(place.advertiseAt, until)
  }

  /** A node behind a forwarder was heard. */
  forwarded(forwarder: RouteKey, nodeIdLength: number): void {
    const heard = ++this.#forwarded
    const known = this.#forwarders.get(forwarder)
    if (known === undefined) {
      if (this.#forwarders.size >= FORWARDERS_MAX) this.#forwarders.delete(this.#leastRecentlyHeard())
      this.#forwarders.set(forwarder, { nodeIdLength, heard })
    } else {
      known.nodeIdLength = nodeIdLength
      known.heard = heard
    }
  }

  #leastRecentlyHeard(): RouteKey {
    let route = ''
    let least = Number.POSITIVE_INFINITY
    for (const [forwarder, { heard }] of this.#forwarders)
      if (heard < least) {
        route = forwarder
        least = heard
      }
    return route
  }

  handleTimeout(now: Instant): void {
    for (const place of this.#places) {
      if (place.answer !== undefined && place.answer.at <= now) {
        place.answer = undefined
        this.#host.transmit(broadcastRoute(place.port.name), this.#gwInfo)
      }
      if (place.advertiseAt !== undefined && place.advertiseAt <= now) this.#advertise(now, place)
    }
  }

  nextTimeout(): Instant | undefined {
    let next: Instant | undefined
    for (const { answer, advertiseAt } of this.#places) {
      for (const at of [answer?.at, advertiseAt]) if (at !== undefined && (next === undefined || at < next)) next = at
    }
    return next
  }

  #advertise(now: Instant, place: Place): void {
    const { port, options, others } = place
    for (const [gwId, until] of others) {
      if (until > now) continue
      others.delete(gwId)
      this.#notice({ code: 'gateway-gone', level: 'info', reason: `gateway ${gwId} is not heard at ${port.name} any more` })
    }
    place.advertiseAt = now + options.tAdvSeconds * 1000
    const message: Message = { type: MsgType.ADVERTISE, gwId: this.#host.gatewayId, duration: options.tAdvSeconds }
    this.#host.transmit(broadcastRoute(port.name), message)
    for (const [forwarder, { nodeIdLength }] of this.#forwarders) {
      if (!this.#host.isProven(forwarder) || portNameOf(forwarder) !== port.name) continue
      // A node id of all ones addresses every node, as in IEEE 802.15.4.
      this.#host.transmit(nodeRoute(forwarder, new Uint8Array(nodeIdLength).fill(0xff)), message, options.radius)
    }
  }

  get #gwInfo(): GwInfo {
    return { type: MsgType.GWINFO, gwId: this.#host.gatewayId, gwAddr: undefined }
  }
}
