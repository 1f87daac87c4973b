import type { Instant } from '../base/machine.ts'
import { type Packet, PacketType, type PublishResponse } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { ByteCount } from '../mqtt/topic-names.ts'
import { messageBytes } from './message-bytes.ts'

/** A message, and what it counts: the local session may give it other properties. */
interface Open {
  readonly message: Publish
  readonly bytes: number
}

/**
 * Messages of a remote broker that were handed to the local session and are not answered yet. Their number is limited by the window
 * of the remote session.
 */
export class Deliveries {
  readonly #send: (now: Instant, packet: Packet) => void
  /** QoS 1 and 2, by packet id, in the order in which they came. */
  readonly #open = new Map<number, Open>()
  /** Packet ids whose PUBREL was handed over. */
  readonly #releasing = new Set<number>()
  /** The local session had no room for them. */
  #postponed: number[] = []
  /**
   * From a new session of the remote broker: the first has a packet id of the one before that is still open here. Those behind it wait
   * too, or a retained message would come after its deletion, and so does PUBREL for one that waits.
   */
  #behind: (Publish | PublishResponse)[] = []

  readonly #sum: ByteCount

  /** `sum`: what is held counts here too. */
  constructor(send: (now: Instant, packet: Packet) => void, sum: ByteCount) {
    this.#send = send
    this.#sum = sum
  }

  /** Nothing is under way. */
  get isOver(): boolean {
    return this.#open.size === 0 && this.#releasing.size === 0
  }

  deliver(now: Instant, message: Publish): void {
    const { qos, packetId } = message
    if (qos === 0) this.#send(now, message)
    else if (this.#behind.length > 0 || this.#isInUse(packetId)) {
      message.own()
      this.#sum.sum += messageBytes(message)
      this.#behind.push(message)
    } else this.#hand(now, message)
  }

  #isInUse(packetId: number): boolean {
    return this.#open.has(packetId) || this.#releasing.has(packetId)
  }

  #hand(now: Instant, message: Publish): void {
    const bytes = messageBytes(message)
    this.#sum.sum += bytes
    this.#open.set(message.packetId, { message, bytes })
    this.#send(now, message)
  }

  /** PUBREL of the remote broker. */
  released(now: Instant, packet: PublishResponse): void {
    if (this.#behind.some(({ packetId }) => packetId === packet.packetId)) this.#behind.push(packet)
    else this.#release(now, packet)
  }

  #release(now: Instant, packet: PublishResponse): void {
    this.#releasing.add(packet.packetId)
    this.#send(now, packet)
  }

  /** The local session has answered. */
  answered(now: Instant, { type, packetId }: PublishResponse): void {
    if (type === PacketType.PUBCOMP) this.#releasing.delete(packetId)
    else {
      this.#sum.sum -= this.#open.get(packetId)?.bytes ?? 0
      this.#open.delete(packetId)
    }
    for (let next = this.#behind[0]; next !== undefined; next = this.#behind[0]) {
      if (next.type === PacketType.PUBLISH && this.#isInUse(next.packetId)) return
      this.#behind.shift()
      if (next.type === PacketType.PUBLISH) {
        this.#sum.sum -= messageBytes(next)
        this.#hand(now, next)
      } else this.#release(now, next)
    }
  }

  /** The local session cannot take the message now: it gets it again with `retry`. */
  postpone(packetId: number): void {
    this.#postponed.push(packetId)
    // The chunk that it came in need not be kept.
    this.#open.get(packetId)?.message.own()
  }

  retry(now: Instant): void {
    const postponed = this.#postponed
    this.#postponed = []
    for (const packetId of postponed) {
      const open = this.#open.get(packetId)
      if (open !== undefined) this.#send(now, open.message)
    }
  }

  /** The local session is open again: it gets everything that it has not answered. */
  again(now: Instant): void {
    this.#postponed = []
    for (const { message } of this.#open.values()) {
      message.dup = true
      this.#send(now, message)
    }
    for (const packetId of this.#releasing) this.#send(now, release(packetId))
  }

  /** Both sessions are new. */
  forget(): void {
    for (const { bytes } of this.#open.values()) this.#sum.sum -= bytes
    for (const each of this.#behind) if (each.type === PacketType.PUBLISH) this.#sum.sum -= messageBytes(each)
    this.#open.clear()
    this.#releasing.clear()
    this.#postponed = []
    this.#behind = []
  }
}

const release = (packetId: number): PublishResponse => ({
  type: PacketType.PUBREL,
  packetId,
  reasonCode: 0,
  properties: NO_PROPERTIES,
})
