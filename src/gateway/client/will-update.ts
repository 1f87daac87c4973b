import type { Instant } from '../../base/machine.ts'
import type { Will } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { topicNameError } from '../../mqtt/topics.ts'
import { MsgType, ReturnCode, type WillMsg, type WillTopic } from '../../mqttsn/messages.ts'
import type { Lsn } from '../../store/store.ts'
import { returnCodeOf } from '../translate.ts'
import type { GatewayClient } from './client.ts'

/** Handles WILLTOPICUPD: a new topic keeps the message, an empty one deletes the will [1.2 section 5.4.22]. */
export function updateWillTopic(client: GatewayClient, now: Instant, { topic, qos, retain }: WillTopic): void {
  if (topic !== undefined && topicNameError(topic) !== '') {
    client.send(
      { type: MsgType.WILLTOPICRESP, returnCode: ReturnCode.NOT_SUPPORTED },
      0,
      `WILLTOPICUPD, ${topicNameError(topic)}`,
    )
    return
  }
  const payload = client.will?.payload ?? new Uint8Array(0)
  const will = topic === undefined ? undefined : { topic, payload, qos, retain, properties: NO_PROPERTIES }
  const { returnCode, lsn } = update(client, now, will)
  client.send({ type: MsgType.WILLTOPICRESP, returnCode }, lsn)
}

/** Handles WILLMSGUPD. It is refused if there is no will whose message it could replace [1.2 section 5.4.23]. */
export function updateWillMessage(client: GatewayClient, now: Instant, { message: payload }: WillMsg): void {
  const type = MsgType.WILLMSGRESP
  if (client.will === undefined)
    client.send({ type, returnCode: ReturnCode.NOT_SUPPORTED }, 0, 'WILLMSGUPD, and there is no will')
  else {
    const { returnCode, lsn } = update(client, now, { ...client.will, payload })
    client.send({ type, returnCode }, lsn)
  }
}

/** Returns the return code, and the record that must be durable before it is sent. */
function update(client: GatewayClient, now: Instant, will: Will | undefined): { returnCode: number; lsn: Lsn } {
  const before = client.will
  const refusal = client.link?.setWill(now, will) ?? ReasonCode.UNSPECIFIED_ERROR
  if (refusal !== 0) return { returnCode: returnCodeOf(refusal), lsn: 0 }
  client.will = will
  // After the broker's own record, so that this Lsn covers both.
  const lsn = client.record(now)
  if (lsn !== 'full') return { returnCode: ReturnCode.ACCEPTED, lsn }
  client.will = before
  client.link?.setWill(now, before)
  return { returnCode: ReturnCode.CONGESTION, lsn: 0 }
}
