import type { Instant } from '../base/machine.ts'
import type { Session } from '../broker/session.ts'
import { FILTER_PROPERTY } from '../broker/subscriber.ts'
import { type Delivery, type Link, type LinkInfo, LOCAL_LISTENER, type Outgoing, OutgoingType } from '../mqtt/link.ts'
import { type Packet, PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { type Message, messageOf } from '../process/messages.ts'
import type { Inside } from '../process/roost.ts'
import { RoostError } from './error.ts'

/**
 * Messages that the program may have taken and not dealt with: of QoS 1 and 2, and of all. More wait in the session's queue, where its
 * limits apply. Fewer than `max_inflight_messages`, which is therefore not reported as reached.
 */
const WINDOW = 16
const BATCH = 64
/** For how long the end of a session may take, in milliseconds: longer means that the store has no room. */
const END_MS = 5_000
/** Bytes of payload in a batch, from which on no more is taken. */
const BATCH_BYTES = 64 * 1024

/** What `notices` name as the address of a client that is part of this program. */
export const LOCAL_PEER = 'this process'

/** A message that was taken over, and how it is acknowledged. */
export interface Taken {
  readonly message: Message
  readonly qos: QoS
  /** 0 for QoS 0. */
  readonly packetId: number
}

export interface LocalClientOptions {
  readonly clientId: string
  readonly filter: string
  readonly qos: QoS
  /** A condition in CEL that messages have to meet. */
  readonly condition: string | undefined
  /** Messages that wait for it at most; undefined: max_queued_messages. */
  readonly maxQueued: number | undefined
  /** Its session outlives it, and what waits in it: until `end`, it never expires. */
  readonly isDurable: boolean
  /** There are messages to take, or the client is closed. Called outside of the server. */
  readonly onReady: () => void
}

/**
 * A client of the broker within this process: a session and a link like those of any client, with one subscription. Messages are
 * taken from it, and each is acknowledged when the program has dealt with it.
 */
export class LocalClient {
  readonly #inside: Inside
  readonly #options: LocalClientOptions
  readonly #window: number
  readonly #link: Link
  #noted = false
  #taken = 0
  /** Why it is closed. */
  closed: RoostError | undefined = undefined
  /** The Reason String of the last answer. */
  #reason: string | undefined
  #answer: { resolve: (reasonCode: number) => void; reject: (error: RoostError) => void } | undefined

  private constructor(inside: Inside, options: LocalClientOptions) {
    this.#inside = inside
    this.#options = options
    this.#window = Math.min(WINDOW, options.maxQueued ?? WINDOW)
    const { server } = inside
    const { maxQueued } = options
    const info: LinkInfo = { kind: 'mqtt', peer: LOCAL_PEER, listener: LOCAL_LISTENER }
    this.#link = this.#run((now) => server.broker.open(now, maxQueued === undefined ? info : { ...info, maxQueued }))
    server.local.own(this.#link.id, () => {
      if (this.#noted) return
      this.#noted = true
      // The server is not reentrant, and this is called within a poll.
      queueMicrotask(this.#ready)
    })
  }

  /** Connects and subscribes. @throws RoostError if either is refused, or the client id is in use */
  static async open(inside: Inside, options: LocalClientOptions): Promise<LocalClient> {
    const { clientId, filter, qos, condition, isDurable } = options
    const old = inside.server.broker.sessions.get('mqtt', clientId)
    const use = old === undefined ? '' : useOf(old)
    if (use !== '') throw new RoostError(`subscribe ${filter}: clientId: ${use}`, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID)
    const client = new LocalClient(inside, options)
    // Messages of a session that is resumed wait until the program takes them.
    client.listen(false)
    const connacked = await client.#ask({
      type: PacketType.CONNECT,
      protocolVersion: 5,
      bridge: false,
      clientId,
      cleanStart: !isDurable,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: { receiveMaximum: client.#window, sessionExpiryInterval: isDurable ? NEVER : 0 },
    })
    if (connacked !== 0) throw client.#fail(client.#refusal(connacked), connacked)
    // Retained messages come with a new subscription, not with each start of the program.
    const retainHandling = isDurable ? 1 : 0
    const subscription = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling } as const
    const granted = await client.#ask({
      type: PacketType.SUBSCRIBE,
      packetId: 1,
      subscriptions: [subscription],
      properties: condition === undefined ? NO_PROPERTIES : { userProperties: [[FILTER_PROPERTY, condition]] },
    })
    if (granted >= 0x80) {
      // What waits in a session from before may still be wanted.
      if (old === undefined) await client.end()
      else client.leave()
      throw new RoostError(`subscribe ${filter}: ${client.#refusal(granted)}`, granted)
    }
    await client.#keepOnly(filter)
    client.listen(true)
    return client
  }

  /** Ends the subscriptions that the session had, if the program now subscribes to something else under its client id. */
  async #keepOnly(filter: string): Promise<void> {
    const { sessions } = this.#inside.server.broker
    const all = sessions.get('mqtt', this.#options.clientId)?.subscriptions?.keys() ?? []
    const filters = Array.from(all).filter((each) => each !== filter)
    if (filters.length === 0) return
    await this.#ask({ type: PacketType.UNSUBSCRIBE, packetId: 1, filters, properties: NO_PROPERTIES })
  }

  #refusal(reasonCode: number): string {
    return this.#reason ?? `refused with reason code 0x${reasonCode.toString(16)}`
  }

  /** Sends a request; resolves to the reason code of its answer. */
  #ask(packet: Packet): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.closed !== undefined) {
        reject(this.closed)
        return
      }
      this.#answer = { resolve, reject }
      this.#run((now) => this.#link.send(now, packet))
    })
  }

  get clientId(): string {
    return this.#options.clientId
  }

  get isDurable(): boolean {
    return this.#options.isDurable
  }

  /** Messages that wait for it and were not taken. */
  get backlog(): number {
    return this.closed === undefined ? this.#link.backlog : 0
  }

  /** Whether the program takes messages now: while it does not, they wait in the queue, and publishers may have to wait. */
  listen(on: boolean): void {
    if (this.closed === undefined) this.#run((now) => this.#link.listen(now, on))
  }

  /** Takes the messages that there are, up to a batch. */
  take(): Taken[] {
    const taken: Taken[] = []
    if (this.closed !== undefined) return taken
    const most = Math.min(BATCH, this.#options.maxQueued ?? BATCH)
    let bytes = 0
    this.#run((now) => {
      while (taken.length < most && this.#taken < this.#window && bytes < BATCH_BYTES) {
        const next = this.#link.poll(now)
        if (next === undefined) break
        if (next.type === OutgoingType.DELIVERY) {
          taken.push(this.#takenOf(next))
          bytes += next.message.payloadLength
        } else this.#handle(now, next)
      }
    })
    return taken
  }

  #takenOf({ message, qos, packetId, retain }: Delivery): Taken {
    if (qos > 0) this.#taken++
    return { message: messageOf(message, qos, retain), qos, packetId }
  }

  /** The program has dealt with these messages. */
  done(messages: readonly Taken[]): void {
    if (this.closed !== undefined || messages.every(({ qos }) => qos === 0)) return
    this.#run((now) => {
      for (const { qos, packetId } of messages) {
        if (qos === 0) continue
        this.#taken--
        this.#link.send(now, responseOf(qos === 1 ? PacketType.PUBACK : PacketType.PUBREC, packetId))
      }
    })
  }

  /**
   * Ends the subscription and its session. Idempotent. Resolves when the end of a durable one is durable.
   * @throws RoostError if the store has no room to record it: it follows when there is room
   */
  async end(): Promise<void> {
    const { clientId, filter, isDurable } = this.#options
    const { sessions } = this.#inside.server.broker
    const session = this.closed === undefined ? sessions.get('mqtt', clientId) : undefined
    this.#disconnect({ sessionExpiryInterval: 0 })
    if (session === undefined || !isDurable) return
    // What waited in it is dropped in pieces.
    const until = performance.now() + END_MS
    while (sessions.get('mqtt', clientId) === session && performance.now() < until) await new Promise(setImmediate)
    const { lastEnd } = sessions
    if (lastEnd === 'full' || sessions.get('mqtt', clientId) === session)
      throw new RoostError(`unsubscribe ${filter}: the store has no room for it at the moment`, ReasonCode.QUOTA_EXCEEDED)
    await this.#inside.durable(lastEnd)
  }

  /** The program takes no more: a session that is not durable ends. Idempotent. */
  leave(): void {
    this.#disconnect(NO_PROPERTIES)
  }

  #disconnect(properties: Properties): void {
    if (this.closed !== undefined) return
    this.#run((now) => this.#link.send(now, { type: PacketType.DISCONNECT, reasonCode: 0, properties }))
    this.#fail('unsubscribed', 0)
  }

  #fail(why: string, reasonCode: number): RoostError {
    this.closed ??= new RoostError(`subscribe ${this.#options.filter}: ${why}`, reasonCode)
    this.#inside.server.local.disown(this.#link.id)
    this.#answer?.reject(this.closed)
    this.#answer = undefined
    return this.closed
  }

  readonly #ready = (): void => {
    this.#noted = false
    if (this.#answer !== undefined && this.closed === undefined) this.#readAnswer()
    else this.#options.onReady()
  }

  #readAnswer(): void {
    this.#run((now) => {
      for (let next = this.#link.poll(now); next !== undefined; next = this.#link.poll(now)) {
        this.#handle(now, next)
        if (this.#answer === undefined) return
      }
    })
  }

  #handle(now: Instant, packet: Outgoing): void {
    if (packet.type === PacketType.CONNACK || packet.type === PacketType.SUBACK || packet.type === PacketType.UNSUBACK) {
      this.#reason = packet.properties.reasonString
      const reasonCode = packet.type === PacketType.CONNACK ? packet.reasonCode : packet.reasonCodes[0]!
      const answer = this.#answer
      this.#answer = undefined
      answer?.resolve(reasonCode)
    } else if (packet.type === PacketType.PUBREL) this.#link.send(now, responseOf(PacketType.PUBCOMP, packet.packetId))
    else if (packet.type === OutgoingType.CLOSE)
      this.#fail(packet.reason ?? `ended by the broker: reason code 0x${packet.reasonCode.toString(16)}`, packet.reasonCode)
  }

  #run<T>(step: (now: Instant) => T): T {
    return this.#inside.loop.run(step)
  }
}

/** Why the program cannot have the session of a client id; '' if it can. */
function useOf({ owner, clientId, link }: Session): string {
  if (owner.listener !== LOCAL_LISTENER) return `${clientId} is a client of the broker, which has a session`
  return link === undefined ? '' : `${clientId} is the client id of another subscription`
}

/** The Session Expiry Interval of a session that does not expire [5.0 section 3.1.2.11.2]. */
const NEVER = 0xffff_ffff

const responseOf = (type: PublishResponse['type'], packetId: number): PublishResponse => ({
  type,
  packetId,
  reasonCode: 0,
  properties: NO_PROPERTIES,
})
