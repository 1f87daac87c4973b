import { PacketType, type PublishResponse } from '../../mqtt/packets.ts'
import type { Publish } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { type Outbound, responseOf } from '../outbound.ts'
import type { OutgoingMessage } from '../outgoing-message.ts'

/**
 * Which answers of the cluster to a sensor's messages the sensor gets. They have the message ids of the sensor, which may begin anew:
 * the answer to a message that it has given up must not acknowledge the next one with the same id.
 */
export class Uplinked {
  /** Packet ids whose next answer is not passed on. */
  #stale: Set<number> | undefined = undefined

  /** The sensor begins a new conversation, and what was under way in the one before is not awaited. */
  restart(outbound: Outbound): void {
    this.#stale = undefined
    for (const packetId of outbound.ids()) {
      if (outbound.get(packetId)?.phase === 'left') continue
      this.#stale ??= new Set()
      this.#stale.add(packetId)
    }
  }

  /**
   * A PUBLISH with QoS 1 or 2. Returns refusals if it cannot be sent, because another message has its id until that is answered: one
   * for each of the two if the gateway awaits both.
   */
  refusals(outbound: Outbound, message: Publish): PublishResponse[] {
    const { packetId, qos } = message
    const before = outbound.get(packetId)
    if (before === undefined || isSame(before, message)) {
      this.#stale?.delete(packetId)
      return []
    }
    const { phase } = before
    if (phase === 'left') outbound.free(packetId)
    const isReleased = phase === 'released' || phase === 'restored'
    const isAwaited = this.#stale?.has(packetId) !== true && !isReleased && phase !== 'left'
    this.#stale ??= new Set()
    if (!isReleased) this.#stale.add(packetId)
    const refusal = (of: number): PublishResponse =>
      responseOf(of === 2 ? PacketType.PUBREC : PacketType.PUBACK, packetId, ReasonCode.QUOTA_EXCEEDED)
    return isAwaited ? [refusal(before.givenQos), refusal(qos)] : [refusal(qos)]
  }

  /** Whether an answer is for the sensor. */
  passes({ packetId }: PublishResponse): boolean {
    return this.#stale?.delete(packetId) !== true
  }

  clear(): void {
    this.#stale = undefined
  }
}

/** Whether the cluster has this message already, or is about to get it. Its content is gone with PUBREC. */
function isSame(
  { givenQos, phase, retain, message }: OutgoingMessage,
  { qos, retain: retains, topic, payload }: Publish,
): boolean {
  if (givenQos !== qos || phase === 'released' || phase === 'restored') return false
  if (phase === 'received') return true
  const sent = message.payload
  return (
    retain === retains &&
    message.topic === topic &&
    sent.length === payload.length &&
    sent.every((byte, i) => byte === payload[i])
  )
}
