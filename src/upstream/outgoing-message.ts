import type { Instant } from '../base/machine.ts'
import { type Delivery, OutgoingType } from '../mqtt/link.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'

/** A message on its way to the far side. */
export class OutgoingMessage implements Delivery {
  readonly type = OutgoingType.DELIVERY
  /** Let go of with PUBREC: it must not be sent again. */
  message: Publish
  /** As it is sent: the far side may take no more than a lower one. */
  qos: QoS
  /** As its owner has it. */
  readonly givenQos: QoS
  readonly packetId: number
  retain: boolean
  dup: boolean
  readonly subscriptionIdentifiers = undefined
  /**
   * 'received': PUBREC has come, and the owner has not released it yet. 'left': QoS 2 that was sent over an earlier stream and that the
   * owner has not asked for since. The far side may have a receipt. 'restored': another process has sent it, and the owner releases it.
   */
  phase: 'waiting' | 'sent' | 'received' | 'released' | 'left' | 'restored' = 'waiting'
  /** The owner has started over, and has not sent it since: it does not go out over another stream. */
  isLeft = false
  refusals = 0
  closes = 0
  /** The owner receives PUBREC with an error code once the far side has released the packet id. */
  isGivenUp = false
  /** Before it was sent: the earliest time there is. */
  sentAt: Instant = Number.NEGATIVE_INFINITY

  constructor(message: Publish, qos: QoS, packetId: number, retain: boolean, dup: boolean) {
    this.message = message
    this.qos = qos
    this.givenQos = qos
    this.packetId = packetId
    this.retain = retain
    this.dup = dup
  }
}
