import { Fifo } from '../../base/fifo.ts'
import type { Instant } from '../../base/machine.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Traffic } from '../../mqtt/traffic.ts'
import { type Message, MsgType, ReturnCode } from '../../mqttsn/messages.ts'
import type { GatewayOptions } from '../options.ts'
import type { AddressProof } from './address-validation.ts'
import { Airtime } from './airtime.ts'
import type { Port } from './port.ts'
import type { RouteKey } from './route.ts'
import { DEFAULT_PORT, nodeIdOf, portNameOf } from './route.ts'

export interface Datagram {
  readonly route: RouteKey
  readonly bytes: Uint8Array
}

/** A datagram that may have to wait. */
interface Frame extends Datagram {
  /** Whom it is for, behind a forwarder if need be. */
  readonly client: RouteKey
  readonly type: MsgType
  /** 0 if it has none. */
  readonly msgId: number
  /** The same, if its answer may prove the address, else 0. */
  readonly provingId: number
  /** See `idToldBy`. */
  readonly tells: number
  /** Nobody will send it again. */
  readonly once: boolean
}

/** The way out of one port with an airtime budget. */
interface Outlet {
  readonly port: Port
  readonly airtime: Airtime
  /** Acknowledgements, PINGRESP and other answers. */
  readonly urgent: Fifo<Frame>
  /** PUBLISH, REGISTER, ADVERTISE. */
  readonly messages: Fifo<Frame>
}

/** Octets of a forwarder's envelope without the node id. */
const ENVELOPE = 3
/** Share of an hour's airtime that messages may use up: the rest is for answers, so that nobody waits for one with its radio on. */
export const MESSAGE_SHARE = 0.9
/** Messages that wait for one address to prove itself; a client has one at a time. */
const HELD_MAX = 64

/**
 * The ways out: a frame leaves at once, or when its port has airtime for it, or when its address has proved that it is not forged. What waits is
 * bounded, because a client whose message waits does not listen.
 */
export class Ports {
  readonly #byName: ReadonlyMap<string, Port>
  readonly #default: Port
  readonly #proof: AddressProof
  readonly #notice: NoticeSink
  readonly #traffic: Traffic
  readonly #ready = new Fifo<Datagram>()
  readonly #outlets = new Map<string, Outlet>()
  /** Messages that their address has not earned yet, by client. */
  readonly #held = new Map<RouteKey, Fifo<Frame>>()
  /** Clients whose last message found no place, and comes again. */
  readonly #refused = new Set<RouteKey>()
  /** How many messages for a client wait, for whatever reason. */
  readonly #waiting = new Map<RouteKey, number>()
  /** Clients whose last message has left, or has begun to wait for proof. */
  readonly #changed = new Set<RouteKey>()

  constructor(ports: readonly [Port, ...Port[]], proof: AddressProof, traffic: Traffic, notice: NoticeSink) {
    this.#byName = new Map(ports.map((port) => [port.name, port]))
    this.#default = ports[0]
    this.#proof = proof
    this.#traffic = traffic
    this.#notice = notice
    for (const port of ports) {
      if (port.airtime === undefined) continue
      const outlet = { port, airtime: new Airtime(port.airtime), urgent: new Fifo<Frame>(), messages: new Fifo<Frame>() }
      this.#outlets.set(port.name, outlet)
    }
  }

  [Symbol.iterator](): Iterator<Port> {
    return this.#byName.values()
  }

  /** Frames that wait for airtime, at all ports. */
  get queuedFrames(): number {
    let count = 0
    for (const { urgent, messages } of this.#outlets.values()) count += urgent.length + messages.length
    return count
  }

  /** That of a port which is no longer configured has the habits of the first one. */
  of(route: RouteKey): Port {
    return this.#byName.get(portNameOf(route)) ?? this.#default
  }

  /** Octets of the largest message that one frame can bring there. */
  roomTo(route: RouteKey): number {
    return this.of(route).maxFrame - envelopeOf(route)
  }

  /** A message for this client waits: the next one is better off in the client's queue. */
  isWaiting(client: RouteKey): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(client)
  }

  /** Its last message found no place among those that wait, and comes again. */
  hasRefused(client: RouteKey): boolean {
    return this.#refused.size > 0 && this.#refused.has(client)
  }

  /** It waits for more from its address, and not for airtime. */
  isHeld(client: RouteKey): boolean {
    return this.#held.size > 0 && this.#held.has(client)
  }

  /** A message of so many octets would wait for its address to prove itself. */
  needsProof(now: Instant, client: RouteKey, octets: number): boolean {
    return this.#proof.needsProof(now, client, octets + envelopeOf(client))
  }

  /** `route`: where the datagram goes; `client`: whom it is for. False if it will never leave. */
  send(now: Instant, route: RouteKey, client: RouteKey, bytes: Uint8Array, message: Message): boolean {
    const port = this.#byName.get(portNameOf(route))
    const provingId = provingIdOf(message)
    const isPlain = port !== undefined && bytes.length <= port.maxFrame && !this.#outlets.has(port.name)
    if (isPlain && this.#proof.spends(route, bytes.length, provingId)) {
      this.#ready.push({ route, bytes })
      return true
    }
    const [type, msgId, tells, once] = [message.type, msgIdOf(message), idToldBy(message), isOnce(message)]
    const frame: Frame = { route, bytes, client, type, msgId, provingId, tells, once }
    if (port === undefined) return this.#drop(frame, `there is no port ${portNameOf(route)} any more`)
    if (bytes.length > port.maxFrame)
      return this.#drop(frame, `${bytes.length} octets are too many for a frame at ${port.name}`, 'sn_max_frame')
    const urgent = isUrgent(frame.type)
    if (!urgent) {
      this.#waiting.set(client, (this.#waiting.get(client) ?? 0) + 1)
      if (this.#held.has(client)) return this.#hold(frame)
    }
    if (this.#admits(now, frame)) return this.#forward(frame)
    return urgent ? this.#drop(frame, 'the address has not proved itself') : this.#hold(frame)
  }

  /** The address was heard, or has proved itself: what waits for that may go. */
  heard(now: Instant, client: RouteKey): void {
    const held = this.#held.get(client)
    if (held === undefined) return
    for (let frame = held.peek(); frame !== undefined && this.#admits(now, frame); frame = held.peek()) {
      held.shift()
      this.#forward(frame)
    }
    if (held.length === 0) this.#held.delete(client)
  }

  /** The client is not there any more, or asleep: what waits for it would reach nobody. Answers still go, but no questions about its will. */
  withdraw(client: RouteKey, why = 'the client went to sleep'): void {
    this.#refused.delete(client)
    this.#outletOf(client)?.urgent.filter((frame) => frame.client !== client || !isPrompt(frame.type))
    if (!this.isWaiting(client)) return
    const gone = (frame: Frame): boolean => {
      if (frame.client !== client) return false
      if (frame.once) this.#drop(frame, `${why} before it could be sent`)
      return true
    }
    for (const frame of this.#held.get(client) ?? []) gone(frame)
    this.#held.delete(client)
    this.#outletOf(client)?.messages.filter((frame) => !gone(frame))
    this.#waiting.delete(client)
    this.#changed.delete(client)
  }

  /**
   * The client begins anew: answers to what it said before would be taken for answers to what it says now, and messages name topic ids that it may have
   * forgotten. Returns the topic ids that it was not told for that.
   */
  forget(client: RouteKey): number[] {
    this.withdraw(client, 'the client has connected anew')
    const untold: number[] = []
    this.#outletOf(client)?.urgent.filter((frame) => {
      if (frame.client === client && frame.tells !== 0) untold.push(frame.tells)
      return frame.client !== client
    })
    return untold
  }

  /** Takes back an answer that still waits: it would be taken for the answer to what the client has said since. */
  unsay(client: RouteKey, type: MsgType): void {
    this.#outletOf(client)?.urgent.filter((frame) => frame.client !== client || frame.type !== type)
  }

  /** An answer of this type to this client still waits. */
  owes(client: RouteKey, type: MsgType): boolean {
    for (const frame of this.#outletOf(client)?.urgent ?? []) if (frame.client === client && frame.type === type) return true
    return false
  }

  /** As `Replies.retract`. */
  retract(client: RouteKey, msgId: number, type: MsgType): void {
    if (!this.isWaiting(client)) return
    const stays = (frame: Frame): boolean => {
      if (frame.client !== client || frame.type !== type || frame.once || frame.msgId !== msgId) return true
      this.#left(frame)
      return false
    }
    this.#outletOf(client)?.messages.filter(stays)
    const held = this.#held.get(client)
    held?.filter(stays)
    if (held?.length === 0) this.#held.delete(client)
  }

  /** The next datagram that may leave. */
  poll(now: Instant): Datagram | undefined {
    const ready = this.#ready.shift()
    if (ready !== undefined) return ready
    for (const { airtime, urgent, messages } of this.#outlets.values()) {
      const lane = urgent.length > 0 ? urgent : messages
      const frame = lane.peek()
      if (frame === undefined || earliestFor(airtime, frame) > now) continue
      lane.shift()
      airtime.spend(now, frame.bytes.length)
      this.#left(frame)
      return frame
    }
    return undefined
  }

  nextTimeout(): Instant | undefined {
    let next: Instant | undefined
    for (const { airtime, urgent, messages } of this.#outlets.values()) {
      const frame = urgent.peek() ?? messages.peek()
      if (frame === undefined) continue
      const at = earliestFor(airtime, frame)
      if (next === undefined || at < next) next = at
    }
    return next
  }

  /** A client for which nothing waits any more, or whose message has begun to wait for proof; each once. */
  nextChanged(): RouteKey | undefined {
    if (this.#changed.size === 0) return undefined
    const client = this.#changed.values().next().value!
    this.#changed.delete(client)
    return client
  }

  clear(): void {
    this.#ready.clear()
    for (const { urgent, messages } of this.#outlets.values()) {
      urgent.clear()
      messages.clear()
    }
    this.#held.clear()
    this.#refused.clear()
    this.#waiting.clear()
    this.#changed.clear()
  }

  #outletOf(client: RouteKey): Outlet | undefined {
    return this.#outlets.get(this.of(client).name)
  }

  #admits(now: Instant, { route, bytes, type, provingId }: Frame): boolean {
    return this.#proof.admits(now, route, bytes.length, isUrgent(type), provingId)
  }

  #hold(frame: Frame): boolean {
    const held = this.#held.get(frame.client) ?? new Fifo<Frame>()
    if (held.length >= HELD_MAX) {
      this.#left(frame)
      return this.#drop(frame, `${HELD_MAX} messages wait for the address to prove itself`)
    }
    held.push(frame)
    this.#held.set(frame.client, held)
    this.#changed.add(frame.client)
    return true
  }

  #forward(frame: Frame): boolean {
    const outlet = this.#outlets.get(portNameOf(frame.route))
    if (outlet === undefined) {
      this.#ready.push(frame)
      this.#left(frame)
      return true
    }
    const { airtime, urgent, messages, port } = outlet
    const isAnswer = isUrgent(frame.type)
    const lane = isAnswer ? urgent : messages
    if (lane.length < port.maxQueued && airtime.fits(frame.bytes.length, shareOf(frame))) {
      lane.push(frame)
      if (!isAnswer) this.#refused.delete(frame.client)
      return true
    }
    if (!isAnswer && !frame.once) this.#refused.add(frame.client)
    this.#left(frame)
    return this.#drop(frame, `too much waits for airtime at ${port.name}`, 'sn_max_queued_frames')
  }

  /** It waits no longer. */
  #left({ client, type }: Frame): void {
    const waiting = this.#waiting.get(client)
    if (waiting === undefined || isUrgent(type)) return
    if (waiting > 1) this.#waiting.set(client, waiting - 1)
    else {
      this.#waiting.delete(client)
      this.#changed.add(client)
    }
  }

  /** QoS 1 and 2 come again by their exchange; what was sent once is gone. */
  #drop({ client: peer, type, once }: Frame, reason: string, limit?: string): false {
    if (once) this.#traffic.publishDropped++
    const what = `${once ? 'PUBLISH with QoS 0' : nameOf(type)} not sent: ${reason}`
    this.#notice({ code: 'message-dropped', level: 'warn', peer, reason: what, ...(limit !== undefined && { limit }) })
    return false
  }
}

const shareOf = ({ type }: Frame): number => (isUrgent(type) ? 1 : MESSAGE_SHARE)
const earliestFor = (airtime: Airtime, frame: Frame): Instant => airtime.earliest(frame.bytes.length, shareOf(frame))
/** Octets that a forwarder's envelope takes there. */
function envelopeOf(route: RouteKey): number {
  const nodeId = nodeIdOf(route)
  return nodeId === undefined ? 0 : ENVELOPE + nodeId.length
}

const msgIdOf = (message: Message): number => ('msgId' in message ? message.msgId : 0)
const isOnce = (message: Message): boolean => message.type === MsgType.PUBLISH && message.qos <= 0
/** 0 if its answer cannot prove an address. With QoS 2 it cannot: the receiver remembers the ids, so they are not chosen for an address. */
const provingIdOf = (message: Message): number =>
  message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos === 1) ? message.msgId : 0
/** The topic id that this answer tells, else 0. That of a SUBACK may be a predefined one or a short name. */
export const idToldBy = (message: Message): number =>
  (message.type === MsgType.REGACK || message.type === MsgType.SUBACK) && message.returnCode === ReturnCode.ACCEPTED
    ? message.topicId
    : 0
const nameOf = (type: MsgType): string => Object.entries(MsgType).find(([, value]) => value === type)![0]

const isPrompt = (type: MsgType): boolean => type === MsgType.WILLTOPICREQ || type === MsgType.WILLMSGREQ

/** What ends something for a client that waits with its radio on. */
const isUrgent = (type: MsgType): boolean => type !== MsgType.PUBLISH && type !== MsgType.REGISTER && type !== MsgType.ADVERTISE

/** The port of --sn-host and --sn-port. */
export const plainPort = ({ tRetryMs, nRetry, maxDatagram }: GatewayOptions): Port => ({
  name: DEFAULT_PORT,
  maxFrame: maxDatagram,
  retry: { tRetryMs, nRetry, backoff: 1, jitter: 0 },
  maxQueued: 0,
})
