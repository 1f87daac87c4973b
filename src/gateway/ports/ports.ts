import { Fifo } from '../../base/fifo.ts'
import type { Instant } from '../../base/machine.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Traffic } from '../../mqtt/traffic.ts'
import { type Message, MsgType, ReturnCode } from '../../mqttsn/messages.ts'
import type { GatewayOptions } from '../gateway-options.ts'
import type { AddressProof } from './address-validation.ts'
import { Airtime } from './airtime.ts'
import type { PortSettings } from './port-settings.ts'
import type { RouteKey } from './route.ts'
import { DEFAULT_PORT, nodeIdLength, portNameOf } from './route.ts'

export interface Datagram {
  readonly route: RouteKey
  readonly bytes: Uint8Array
}

/** A datagram that may have to wait. */
interface Frame extends Datagram {
  /** The client that it is for, possibly behind a forwarder. */
  readonly client: RouteKey
  readonly type: MsgType
  /** Message id; 0 if it has none. */
  readonly msgId: number
  /** The message id if its acknowledgement may validate the address, otherwise 0. */
  readonly provingId: number
  /** See `conveyedTopicId`. */
  readonly topicId: number
  /** It is not retransmitted. */
  readonly once: boolean
}

/** The queues of a port with an airtime budget. */
interface Outlet {
  readonly port: PortSettings
  readonly airtime: Airtime
  /** Acknowledgements, PINGRESP and other replies. */
  readonly urgent: Fifo<Frame>
  /** PUBLISH, REGISTER, ADVERTISE. */
  readonly messages: Fifo<Frame>
}

/** Octets of the forwarder encapsulation without the node id. */
const ENVELOPE = 3
/**
 * Share of an hour's airtime that messages may use. The rest is reserved for replies, for which clients wait with the
 * radio on.
 */
export const MESSAGE_SHARE = 0.9
/** Maximum number of messages that wait for the validation of one address. A client has one at a time. */
const HELD_MAX = 64

/**
 * Outgoing frames of all ports. A frame leaves immediately, when its port has airtime, or when its address is validated.
 * What waits is bounded, because a client with a waiting message does not listen to its link.
 */
export class Ports {
  readonly #byName: ReadonlyMap<string, PortSettings>
  readonly #default: PortSettings
  readonly #proof: AddressProof
  readonly #notice: NoticeSink
  readonly #traffic: Traffic
  readonly #ready = new Fifo<Datagram>()
  readonly #outlets = new Map<string, Outlet>()
  /** Messages that exceed the budget of their address, by client. */
  readonly #held = new Map<RouteKey, Fifo<Frame>>()
  /** Clients whose last message was refused because the queue was full; it will be sent again. */
  readonly #refused = new Set<RouteKey>()
  /** Number of waiting messages per client, for whatever reason. */
  readonly #waiting = new Map<RouteKey, number>()
  /** Clients whose last message has left, or has started to wait for address validation. */
  readonly #changed = new Set<RouteKey>()

  constructor(ports: readonly [PortSettings, ...PortSettings[]], proof: AddressProof, traffic: Traffic, notice: NoticeSink) {
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

  [Symbol.iterator](): Iterator<PortSettings> {
    return this.#byName.values()
  }

  /** Number of frames that wait for airtime at all ports. */
  get queuedFrames(): number {
    let count = 0
    for (const { urgent, messages } of this.#outlets.values()) count += urgent.length + messages.length
    return count
  }

  /** The airtime in milliseconds of each port that has a data rate: of the last hour, what it used, and what is left to it. */
  airtime(now: Instant): Map<string, { readonly used: number; readonly left: number }> {
    return new Map(Array.from(this.#outlets, ([name, { airtime }]) => [name, airtime.usage(now)]))
  }

  /** False for a route of a port that is no longer configured. */
  has(route: RouteKey): boolean {
    return this.#byName.has(portNameOf(route))
  }

  /** When the message that waits for this client may be sent at the earliest, behind those before it; undefined if none does. */
  earliestTo(client: RouteKey): Instant | undefined {
    const outlet = this.#outletOf(client)
    let octets = 0
    for (const { bytes } of outlet?.urgent ?? []) octets += bytes.length
    for (const frame of outlet?.messages ?? []) {
      octets += frame.bytes.length
      if (frame.client === client) return outlet!.airtime.earliest(octets, MESSAGE_SHARE)
    }
    return undefined
  }

  /** Returns the port of a route; the first port if that one is no longer configured. */
  of(route: RouteKey): PortSettings {
    return this.#byName.get(portNameOf(route)) ?? this.#default
  }

  /** Maximum size in octets of a message that fits into one frame on this route. */
  roomTo(route: RouteKey): number {
    return this.of(route).maxFrame - envelopeOf(route)
  }

  /** True while a message for this client waits. The next one is better kept in the session's queue. */
  isWaiting(client: RouteKey): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(client)
  }

  /** True if the last message for this client was refused because the queue was full; it will be sent again. */
  hasRefused(client: RouteKey): boolean {
    return this.#refused.size > 0 && this.#refused.has(client)
  }

  /** True while a message for this client waits for address validation rather than for airtime. */
  isHeld(client: RouteKey): boolean {
    return this.#held.size > 0 && this.#held.has(client)
  }

  /** True if no message for this client waits or was refused. Replies may wait: they are sent whatever its state is. */
  isQuiet(client: RouteKey): boolean {
    return !this.isWaiting(client) && !this.hasRefused(client) && !this.isHeld(client)
  }

  /** True if a message of `octets` octets would wait for address validation. */
  needsProof(now: Instant, client: RouteKey, octets: number): boolean {
    return this.#proof.needsProof(now, client, octets + envelopeOf(client))
  }

  /** Queues a frame. `route`: where the datagram is sent; `client`: its recipient. Returns false if it will never be sent. */
  send(now: Instant, route: RouteKey, client: RouteKey, bytes: Uint8Array, message: Message): boolean {
    const port = this.#byName.get(portNameOf(route))
    const provingId = provingIdOf(message)
    const isPlain = port !== undefined && bytes.length <= port.maxFrame && !this.#outlets.has(port.name)
    if (isPlain && this.#proof.spends(route, bytes.length, provingId)) {
      this.#ready.push({ route, bytes })
      return true
    }
    const [type, msgId, topicId, once] = [message.type, msgIdOf(message), conveyedTopicId(message), isOnce(message)]
    // The frame may wait: a part of the pool would keep all of it in memory.
    const frame: Frame = { route, bytes: new Uint8Array(bytes), client, type, msgId, provingId, topicId, once }
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

  /** The address was heard, or validated: sends what this allows. */
  heard(now: Instant, client: RouteKey): void {
    const held = this.#held.get(client)
    if (held === undefined) return
    for (let frame = held.peek(); frame !== undefined && this.#admits(now, frame); frame = held.peek()) {
      held.shift()
      this.#forward(frame)
    }
    if (held.length === 0) this.#held.delete(client)
  }

  /**
   * The client is asleep or gone, and would not receive what is queued for it: removes messages and will prompts, but no
   * replies.
   */
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
   * The client reconnects. It would take replies to earlier requests for replies to new ones, and messages use topic ids
   * that it may have lost. Returns the topic ids in removed replies, which the client never received.
   */
  forget(client: RouteKey): number[] {
    this.withdraw(client, 'the client has connected again')
    const unsent: number[] = []
    this.#outletOf(client)?.urgent.filter((frame) => {
      if (frame.client === client && frame.topicId !== 0) unsent.push(frame.topicId)
      return frame.client !== client
    })
    return unsent
  }

  /** Removes queued replies of this type: the client would take them for replies to a later request. */
  cancel(client: RouteKey, type: MsgType): void {
    this.#outletOf(client)?.urgent.filter((frame) => frame.client !== client || frame.type !== type)
  }

  /** True if a reply of this type to this client is still queued. */
  hasQueued(client: RouteKey, type: MsgType): boolean {
    for (const frame of this.#outletOf(client)?.urgent ?? []) if (frame.client === client && frame.type === type) return true
    return false
  }

  /** See `Replies.retract`. */
  retract(client: RouteKey, msgId: number, type: MsgType): boolean {
    if (!this.isWaiting(client)) return false
    const stays = (frame: Frame): boolean => {
      if (frame.client !== client || frame.type !== type || frame.once || frame.msgId !== msgId) return true
      this.#left(frame)
      return false
    }
    const gone = this.#outletOf(client)?.messages.filter(stays) ?? 0
    const held = this.#held.get(client)
    const goneHeld = held?.filter(stays) ?? 0
    if (held?.length === 0) this.#held.delete(client)
    return gone + goneHeld > 0
  }

  /** Returns the next datagram that may be sent. */
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

  /**
   * Returns a client for which nothing waits any more, or whose message has started to wait for address validation; each
   * once.
   */
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

  /** The frame no longer waits. */
  #left({ client, type }: Frame): void {
    const waiting = this.#waiting.get(client)
    if (waiting === undefined || isUrgent(type)) return
    if (waiting > 1) this.#waiting.set(client, waiting - 1)
    else {
      this.#waiting.delete(client)
      this.#changed.add(client)
    }
  }

  /** Drops a frame. QoS 1 and 2 are retransmitted by their exchange; anything sent only once is lost. */
  #drop({ client: peer, type, once }: Frame, reason: string, limit?: string): false {
    if (once) this.#traffic.publishDropped++
    const what = `${once ? 'PUBLISH with QoS 0' : nameOf(type)} not sent: ${reason}`
    this.#notice({ code: 'message-dropped', level: 'warn', peer, reason: what, ...(limit !== undefined && { limit }) })
    return false
  }
}

const shareOf = ({ type }: Frame): number => (isUrgent(type) ? 1 : MESSAGE_SHARE)
const earliestFor = (airtime: Airtime, frame: Frame): Instant => airtime.earliest(frame.bytes.length, shareOf(frame))
/** Octets of the forwarder encapsulation on this route. */
function envelopeOf(route: RouteKey): number {
  const length = nodeIdLength(route)
  return length === 0 ? 0 : ENVELOPE + length
}

const msgIdOf = (message: Message): number => ('msgId' in message ? message.msgId : 0)
const isOnce = (message: Message): boolean => message.type === MsgType.PUBLISH && message.qos <= 0
/**
 * The message id, or 0 if its acknowledgement cannot validate an address. That of QoS 2 cannot: the receiver remembers
 * the ids, so they are not chosen per address.
 */
const provingIdOf = (message: Message): number =>
  message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos === 1) ? message.msgId : 0
/** The topic id that this reply conveys, otherwise 0. That of a SUBACK may be a predefined id or a short name. */
export const conveyedTopicId = (message: Message): number =>
  (message.type === MsgType.REGACK || message.type === MsgType.SUBACK) && message.returnCode === ReturnCode.ACCEPTED
    ? message.topicId
    : 0
const nameOf = (type: MsgType): string => Object.entries(MsgType).find(([, value]) => value === type)![0]

const isPrompt = (type: MsgType): boolean => type === MsgType.WILLTOPICREQ || type === MsgType.WILLMSGREQ

/** True for a reply that a client waits for with its radio on. */
const isUrgent = (type: MsgType): boolean => type !== MsgType.PUBLISH && type !== MsgType.REGISTER && type !== MsgType.ADVERTISE

/** The port of --sn-host and --sn-port. */
export const plainPort = ({ tRetryMs, nRetry, maxDatagram }: GatewayOptions): PortSettings => ({
  name: DEFAULT_PORT,
  maxFrame: maxDatagram,
  retry: { tRetryMs, nRetry, backoff: 1, jitter: 0 },
  maxQueued: 0,
})
