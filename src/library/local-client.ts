import type { Instant } from '../base/machine.ts'
import { FILTER_PROPERTY } from '../broker/subscriber.ts'
import { type Delivery, type Link, type LinkInfo, LOCAL_LISTENER, type Outgoing, OutgoingType } from '../mqtt/link.ts'
import { type Packet, PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { type Message, messageOf } from '../process/messages.ts'
import type { Inside } from '../process/roost.ts'
import { RoostError } from './error.ts'

/**
 * Messages that the program may have taken and not dealt with: of QoS 1 and 2, and of all. More wait in the session's queue, where its
 * limits apply. Fewer than `max_inflight_messages`, which is therefore not reported as reached.
 */
const WINDOW = 16
const BATCH = 64
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

  /** Connects and subscribes. @throws RoostError if either is refused */
  static async open(inside: Inside, options: LocalClientOptions): Promise<LocalClient> {
    const client = new LocalClient(inside, options)
    const connacked = await client.#ask({
      type: PacketType.CONNECT,
      protocolVersion: 5,
      bridge: false,
      clientId: options.clientId,
      cleanStart: true,
      keepAlive: 0,
      will: undefined,
      username: undefined,
      password: undefined,
      properties: { receiveMaximum: client.#window },
    })
    if (connacked !== 0) throw client.#fail(client.#refusal(connacked), connacked)
    const { filter, qos, condition } = options
    const subscription = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const
    const granted = await client.#ask({
      type: PacketType.SUBSCRIBE,
      packetId: 1,
      subscriptions: [subscription],
      properties: condition === undefined ? NO_PROPERTIES : { userProperties: [[FILTER_PROPERTY, condition]] },
    })
    if (granted < 0x80) return client
    client.close()
    throw new RoostError(`subscribe ${filter}: ${client.#refusal(granted)}`, granted)
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

  /** Ends the subscription and its session. Idempotent. */
  close(): void {
    if (this.closed !== undefined) return
    this.#run((now) => this.#link.send(now, { type: PacketType.DISCONNECT, reasonCode: 0, properties: NO_PROPERTIES }))
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
    if (packet.type === PacketType.CONNACK || packet.type === PacketType.SUBACK) {
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

const responseOf = (type: PublishResponse['type'], packetId: number): PublishResponse => ({
  type,
  packetId,
  reasonCode: 0,
  properties: NO_PROPERTIES,
})
