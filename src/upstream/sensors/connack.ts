import { type Connack, PacketType } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'

/** For the gateway, as if the cluster had written it. */
export const connack = (reasonCode: number, sessionPresent: boolean, retainAvailable?: boolean): Connack => ({
  type: PacketType.CONNACK,
  sessionPresent,
  reasonCode,
  properties: retainAvailable === undefined ? NO_PROPERTIES : { retainAvailable },
})
