import { type Delivery, type Outgoing, OutgoingType } from '../../mqtt/link.ts'
import { PacketType, type PublishResponse } from '../../mqtt/packets.ts'
import type { Publish } from '../../mqtt/publish.ts'
import { responseOf } from '../outbound.ts'

/**
 * What the sensor has got of the cluster and has not answered, by packet id: the message, or 'released' for PUBREL. A sensor that
 * connects anew has perhaps forgotten it, and gets it again; the cluster would repeat it on another stream only.
 */
export class Handed {
  #open: Map<number, Publish | 'released'> | undefined = undefined
  /** Packet ids of what has to be handed out again. */
  #again: number[] | undefined = undefined

  /** To be handed out again. */
  get waiting(): number {
    return this.#again?.length ?? 0
  }

  get size(): number {
    return this.#open?.size ?? 0
  }

  delivered(message: Publish): void {
    this.#open ??= new Map()
    this.#open.set(message.packetId, message)
  }

  released(packetId: number): void {
    this.#open ??= new Map()
    this.#open.set(packetId, 'released')
  }

  /** PUBACK, PUBREC or PUBCOMP of the sensor. */
  answered({ packetId }: PublishResponse): void {
    this.#open?.delete(packetId)
    if (this.#open?.size === 0) this.#open = undefined
  }

  /** A new conversation with the sensor begins. What the cluster does not know is left to it, which may send it again. */
  restart(isKnown: (packetId: number) => boolean): void {
    for (const packetId of this.#open?.keys() ?? []) if (!isKnown(packetId)) this.#open?.delete(packetId)
    this.#again = this.#open === undefined ? undefined : [...this.#open.keys()]
  }

  clear(): void {
    this.#open = undefined
    this.#again = undefined
  }

  /** The next one that is to be handed out again. */
  next(): Outgoing | undefined {
    for (let packetId = this.#again?.shift(); packetId !== undefined; packetId = this.#again?.shift()) {
      const open = this.#open?.get(packetId)
      if (open === 'released') return responseOf(PacketType.PUBREL, packetId)
      if (open !== undefined) return again(open)
    }
    this.#again = undefined
    return undefined
  }
}

const again = (message: Publish): Delivery => ({
  type: OutgoingType.DELIVERY,
  message,
  qos: message.qos,
  packetId: message.packetId,
  retain: message.retain,
  dup: true,
  subscriptionIdentifiers: undefined,
})
