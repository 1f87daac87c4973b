/** MQTT 5 reason codes by their names in the standard [5.0 section 2.4]. */
export const ReasonCode = {
  SUCCESS: 0x00,
  GRANTED_QOS_1: 0x01,
  GRANTED_QOS_2: 0x02,
  DISCONNECT_WITH_WILL_MESSAGE: 0x04,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  CONTINUE_AUTHENTICATION: 0x18,
  RE_AUTHENTICATE: 0x19,
  UNSPECIFIED_ERROR: 0x80,
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  IMPLEMENTATION_SPECIFIC_ERROR: 0x83,
  UNSUPPORTED_PROTOCOL_VERSION: 0x84,
  CLIENT_IDENTIFIER_NOT_VALID: 0x85,
  BAD_USER_NAME_OR_PASSWORD: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_BUSY: 0x89,
  BANNED: 0x8a,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_IDENTIFIER_IN_USE: 0x91,
  PACKET_IDENTIFIER_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  MESSAGE_RATE_TOO_HIGH: 0x96,
  QUOTA_EXCEEDED: 0x97,
  ADMINISTRATIVE_ACTION: 0x98,
  PAYLOAD_FORMAT_INVALID: 0x99,
  RETAIN_NOT_SUPPORTED: 0x9a,
  QOS_NOT_SUPPORTED: 0x9b,
  USE_ANOTHER_SERVER: 0x9c,
  SERVER_MOVED: 0x9d,
  SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: 0x9e,
  CONNECTION_RATE_EXCEEDED: 0x9f,
  MAXIMUM_CONNECT_TIME: 0xa0,
  SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: 0xa1,
  WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: 0xa2,
} as const
export type ReasonCode = (typeof ReasonCode)[keyof typeof ReasonCode]

/** Reasons without a 3.x return code: they are permanent, unlike "server unavailable". */
const UNKNOWN_TO_3 = new Set([0x81, 0x82, 0x90, 0x95, 0x99, 0x9a, 0x9b])

/**
 * Whether a 3.x return code can express this refusal; otherwise the client is disconnected without CONNACK (3.1.1 MQTT-3.2.2-6).
 */
export const hasReturnCode = (reasonCode: number): boolean => !UNKNOWN_TO_3.has(reasonCode)

/** The closest 3.x return code [3.1.1 section 3.2.2.3] for an MQTT 5 reason code. */
export function connackReturnCode(reasonCode: number): number {
  switch (reasonCode) {
    case ReasonCode.SUCCESS:
      return 0
    case ReasonCode.UNSUPPORTED_PROTOCOL_VERSION:
      return 1
    case ReasonCode.CLIENT_IDENTIFIER_NOT_VALID:
      // [3.1.1 MQTT-3.1.3-9]
      return 2
    case ReasonCode.BAD_USER_NAME_OR_PASSWORD:
      return 4
    case ReasonCode.NOT_AUTHORIZED:
    case ReasonCode.BANNED:
    case ReasonCode.BAD_AUTHENTICATION_METHOD:
      return 5
    default:
      return 3
  }
}

/** The closest DISCONNECT reason code for one of CONNACK: a login that fails later has no code of its own (MQTT-3.14.2-1). */
export function disconnectCode(reasonCode: number): number {
  // [MQTT-3.14.2-1]
  if (mayCarry(14, reasonCode)) return reasonCode
  return connackReturnCode(reasonCode) >= 4 ? ReasonCode.NOT_AUTHORIZED : ReasonCode.UNSPECIFIED_ERROR
}

/** The MQTT 5 reason code for a 3.x return code. */
export function reasonCodeOf(returnCode: number): number {
  return [0, 0x84, 0x85, 0x88, 0x86, 0x87][returnCode] ?? 0x80
}

const CONNACK = new Set([
  0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d,
  0x9f,
])
const ACK = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
const RELEASE = new Set([0x00, 0x92])
const DISCONNECT = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
  0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2,
])
const AUTH = new Set([0x00, 0x18, 0x19])

/** Whether this packet type may carry this reason code [5.0 section 2.4]. */
export function mayCarry(type: number, reasonCode: number): boolean {
  switch (type) {
    case 2:
      return CONNACK.has(reasonCode)
    case 4:
    case 5:
      return ACK.has(reasonCode)
    case 6:
    case 7:
      return RELEASE.has(reasonCode)
    case 14:
      return DISCONNECT.has(reasonCode)
    case 15:
      return AUTH.has(reasonCode)
    default:
      return true
  }
}

/** Reason String of a message that exceeds a limit on single messages: the same message will be refused again. */
export const beyondLimit = (limit: string): string => `${BEYOND}${limit}`

const BEYOND = 'beyond '

/** Whether a message that was refused would be refused again: any reason but a store or a memory that is full. */
export const isLastingRefusal = (reasonCode: number, reasonString = ''): boolean =>
  reasonCode !== ReasonCode.QUOTA_EXCEEDED || reasonString.startsWith(BEYOND)
