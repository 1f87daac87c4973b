import type { Instant } from '../base/machine.ts'
import type { Will } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { topicNameError } from '../mqtt/topics.ts'
import { MsgType, ReturnCode, type WillMsg, type WillTopic } from '../mqttsn/messages.ts'
import type { Recorded } from './client-host.ts'
import type { SnClient } from './sn-client.ts'

/** WILLTOPICUPD: a new topic keeps the message, an empty one deletes the will [1.2 section 5.4.22]. */
export function updateWillTopic(client: SnClient, now: Instant, { topic, qos, retain }: WillTopic): void {
  if (topic !== undefined && topicNameError(topic) !== '') {
    client.send({ type: MsgType.WILLTOPICRESP, returnCode: ReturnCode.NOT_SUPPORTED })
    return
  }
  const payload = client.will?.payload ?? new Uint8Array(0)
  const recorded = update(
    client,
    now,
    topic === undefined ? undefined : { topic, payload, qos, retain, properties: NO_PROPERTIES },
  )
  answer(client, MsgType.WILLTOPICRESP, recorded)
}

/** WILLMSGUPD: a message without a will that it could belong to is refused [1.2 section 5.4.23]. */
export function updateWillMessage(client: SnClient, now: Instant, { message: payload }: WillMsg): void {
  if (client.will === undefined) client.send({ type: MsgType.WILLMSGRESP, returnCode: ReturnCode.NOT_SUPPORTED })
  else answer(client, MsgType.WILLMSGRESP, update(client, now, { ...client.will, payload }))
}

function update(client: SnClient, now: Instant, will: Will | undefined): Recorded {
  const before = client.will
  client.will = will
  client.link?.setWill(now, will)
  // After the broker's own record, so that this Lsn stands for both.
  const lsn = client.record(now)
  if (lsn === 'full') client.will = before
  return lsn
}

function answer(client: SnClient, type: typeof MsgType.WILLTOPICRESP | typeof MsgType.WILLMSGRESP, recorded: Recorded): void {
  if (recorded === 'full') client.send({ type, returnCode: ReturnCode.CONGESTION })
  else client.send({ type, returnCode: ReturnCode.ACCEPTED }, recorded)
}
