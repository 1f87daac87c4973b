import { reasonCodeName } from '../mqtt/describe.ts'
import { type Close, OutgoingType } from '../mqtt/link.ts'
import { type Connack, type Disconnect, PacketType } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'

export const GOODBYE: Disconnect = { type: PacketType.DISCONNECT, reasonCode: 0, properties: NO_PROPERTIES }

/** Close sent to a sensor that an operator disconnects. */
export const BY_OPERATOR: Close = {
  type: OutgoingType.CLOSE,
  reasonCode: ReasonCode.ADMINISTRATIVE_ACTION,
  disconnect: true,
  reason: 'an operator has disconnected it',
}

/** How a stream ended, or an attempt. */
export interface Ending {
  /** For people. */
  readonly reason: string
  /** The far side has closed it, or the network. */
  readonly byFar?: boolean
  /** DISCONNECT with this code is sent first. */
  readonly goodbye?: number
  /** Reason code of CONNACK. */
  readonly refusal?: number
  /** Another client has connected with the same client id. */
  readonly takenOver?: boolean
  /** The far side sends its clients to another server. */
  readonly elsewhere?: boolean
  /** No message of ours can be the cause. */
  readonly unprovoked?: boolean
}

/** Refusals that are about this client, and not about the far side: another client would be accepted. */
const OWN_FAULT: ReadonlySet<number> = new Set([
  ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
  ReasonCode.BAD_USER_NAME_OR_PASSWORD,
  ReasonCode.NOT_AUTHORIZED,
  ReasonCode.BANNED,
  ReasonCode.BAD_AUTHENTICATION_METHOD,
  ReasonCode.TOPIC_NAME_INVALID,
  ReasonCode.PACKET_TOO_LARGE,
  ReasonCode.QUOTA_EXCEEDED,
  ReasonCode.PAYLOAD_FORMAT_INVALID,
  ReasonCode.RETAIN_NOT_SUPPORTED,
  ReasonCode.QOS_NOT_SUPPORTED,
])

/** Reasons to end a stream that have nothing to do with the message before it. */
const UNPROVOKED: ReadonlySet<number> = new Set([
  ReasonCode.SERVER_BUSY,
  ReasonCode.SERVER_SHUTTING_DOWN,
  ReasonCode.KEEP_ALIVE_TIMEOUT,
  ReasonCode.SESSION_TAKEN_OVER,
  ReasonCode.ADMINISTRATIVE_ACTION,
  ReasonCode.USE_ANOTHER_SERVER,
  ReasonCode.SERVER_MOVED,
  ReasonCode.CONNECTION_RATE_EXCEEDED,
  ReasonCode.MAXIMUM_CONNECT_TIME,
])

export const isOwnFault = (reasonCode: number): boolean => OWN_FAULT.has(reasonCode)

const isElsewhere = (reasonCode: number): boolean =>
  reasonCode === ReasonCode.USE_ANOTHER_SERVER || reasonCode === ReasonCode.SERVER_MOVED

/** Where the far side sends its clients. It is not followed: the operator chooses whom to trust. */
const reference = ({ reasonCode, properties }: Connack | Disconnect): string =>
  isElsewhere(reasonCode) ? `; it refers to '${properties.serverReference ?? ''}': change the address if that is right` : ''

const said = ({ properties: { reasonString } }: Connack | Disconnect): string =>
  reasonString === undefined ? '' : `: ${reasonString}`

export function whyRefused(connack: Connack, triesAnother: boolean): string {
  const next = triesAnother ? '; another version is tried' : ''
  return `CONNECT is refused: ${reasonCodeName(connack.reasonCode)}${said(connack)}${reference(connack)}${next}`
}

export function whyDisconnected(disconnect: Disconnect, clientId: string): Ending {
  const { reasonCode } = disconnect
  const takenOver = reasonCode === ReasonCode.SESSION_TAKEN_OVER
  const fight = takenOver ? `: another client has connected with the client id '${clientId}'` : ''
  const reason = `DISCONNECT: ${reasonCodeName(reasonCode)}${fight}${said(disconnect)}${reference(disconnect)}`
  return { reason, byFar: true, takenOver, elsewhere: isElsewhere(reasonCode), unprovoked: UNPROVOKED.has(reasonCode) }
}
