/** MQTT-SN 1.2 message types [section 5.2.2, table 3]. */
export const MsgType = {
  ADVERTISE: 0x00,
  SEARCHGW: 0x01,
  GWINFO: 0x02,
  CONNECT: 0x04,
  CONNACK: 0x05,
  WILLTOPICREQ: 0x06,
  WILLTOPIC: 0x07,
  WILLMSGREQ: 0x08,
  WILLMSG: 0x09,
  REGISTER: 0x0a,
  REGACK: 0x0b,
  PUBLISH: 0x0c,
  PUBACK: 0x0d,
  PUBCOMP: 0x0e,
  PUBREC: 0x0f,
  PUBREL: 0x10,
  SUBSCRIBE: 0x12,
  SUBACK: 0x13,
  UNSUBSCRIBE: 0x14,
  UNSUBACK: 0x15,
  PINGREQ: 0x16,
  PINGRESP: 0x17,
  DISCONNECT: 0x18,
  WILLTOPICUPD: 0x1a,
  WILLTOPICRESP: 0x1b,
  WILLMSGUPD: 0x1c,
  WILLMSGRESP: 0x1d,
} as const
export type MsgType = (typeof MsgType)[keyof typeof MsgType]

/**
 * Messages for which a client that believes it is connected waits for an answer. Acknowledgements, PINGRESP and
 * DISCONNECT may stay unanswered.
 */
export const EXPECTS_ANSWER: ReadonlySet<MsgType> = new Set([
  MsgType.REGISTER,
  MsgType.PUBLISH,
  MsgType.PUBREC,
  MsgType.PUBREL,
  MsgType.SUBSCRIBE,
  MsgType.UNSUBSCRIBE,
  MsgType.PINGREQ,
  MsgType.WILLTOPIC,
  MsgType.WILLMSG,
  MsgType.WILLTOPICUPD,
  MsgType.WILLMSGUPD,
])

/** Type octet of the forwarder encapsulation [section 5.5], which wraps a message and is none itself. */
export const FORWARDER_ENCAPSULATION = 0xfe

/** Return codes [section 5.3.10]; 0x04 to 0xFF are reserved and kept as numbers. */
export const ReturnCode = { ACCEPTED: 0, CONGESTION: 1, INVALID_TOPIC_ID: 2, NOT_SUPPORTED: 3 } as const

export type SnQoS = -1 | 0 | 1 | 2
export type WillQoS = 0 | 1 | 2

/** Flags bits 1-0 [section 5.3.4]; the value 0b11 is reserved and malformed. */
export type TopicIdType = 'normal' | 'predefined' | 'short'

/** For topicIdType 'short' the two octets of the name, high byte first. */
export type TopicId = number

export interface Advertise {
  readonly type: typeof MsgType.ADVERTISE
  readonly gwId: number
  /** Seconds until the next ADVERTISE. */
  readonly duration: number
}
export interface SearchGw {
  readonly type: typeof MsgType.SEARCHGW
  readonly radius: number
}
export interface GwInfo {
  readonly type: typeof MsgType.GWINFO
  readonly gwId: number
  /** Present only if a client answers on behalf of the gateway. */
  readonly gwAddr: Uint8Array | undefined
}
export interface SnConnect {
  readonly type: typeof MsgType.CONNECT
  readonly will: boolean
  readonly cleanSession: boolean
  /** 0x01 for MQTT-SN 1.2. Other values are decoded, so that they can be answered. */
  readonly protocolId: number
  /** Keep alive in seconds. */
  readonly duration: number
  readonly clientId: string
}
export interface SnConnack {
  readonly type: typeof MsgType.CONNACK
  readonly returnCode: number
}
/** Messages without fields. */
export interface Bare {
  readonly type: typeof MsgType.WILLTOPICREQ | typeof MsgType.WILLMSGREQ | typeof MsgType.PINGRESP
}
/** Without topic (exactly two octets on the wire): delete the will [section 5.4.7, 5.4.22]. */
export interface WillTopic {
  readonly type: typeof MsgType.WILLTOPIC | typeof MsgType.WILLTOPICUPD
  readonly topic: string | undefined
  readonly qos: WillQoS
  readonly retain: boolean
}
export interface WillMsg {
  readonly type: typeof MsgType.WILLMSG | typeof MsgType.WILLMSGUPD
  readonly message: Uint8Array
}
export interface WillResp {
  readonly type: typeof MsgType.WILLTOPICRESP | typeof MsgType.WILLMSGRESP
  readonly returnCode: number
}
export interface Register {
  readonly type: typeof MsgType.REGISTER
  /** 0 from a client. */
  readonly topicId: TopicId
  readonly msgId: number
  readonly topicName: string
}
/** REGACK and PUBACK have the same fields. */
export interface TopicAck {
  readonly type: typeof MsgType.REGACK | typeof MsgType.PUBACK
  readonly topicId: TopicId
  readonly msgId: number
  readonly returnCode: number
}
export interface SnPublish {
  readonly type: typeof MsgType.PUBLISH
  readonly dup: boolean
  readonly qos: SnQoS
  readonly retain: boolean
  readonly topicIdType: TopicIdType
  readonly topicId: TopicId
  /** 0 for QoS 0 and -1. */
  readonly msgId: number
  readonly data: Uint8Array
}
/** PUBREC, PUBREL, PUBCOMP, UNSUBACK. */
export interface MsgIdOnly {
  readonly type: typeof MsgType.PUBREC | typeof MsgType.PUBREL | typeof MsgType.PUBCOMP | typeof MsgType.UNSUBACK
  readonly msgId: number
}
/** SUBSCRIBE and UNSUBSCRIBE: a name for topicIdType 'normal', otherwise an id. UNSUBSCRIBE uses neither dup nor qos. */
export interface TopicRequest {
  readonly type: typeof MsgType.SUBSCRIBE | typeof MsgType.UNSUBSCRIBE
  readonly dup: boolean
  /** As in the flags: -1 is decoded too, and refused by the recipient. */
  readonly qos: SnQoS
  readonly msgId: number
  readonly topicIdType: TopicIdType
  /** For 'normal'; otherwise empty. */
  readonly topicName: string
  /** For 'predefined' and 'short'; otherwise 0. */
  readonly topicId: TopicId
}
export interface SnSuback {
  readonly type: typeof MsgType.SUBACK
  readonly qos: SnQoS
  readonly topicId: TopicId
  readonly msgId: number
  readonly returnCode: number
}
export interface PingReq {
  readonly type: typeof MsgType.PINGREQ
  /** Sent by a sleeping client that wakes. */
  readonly clientId: string | undefined
}
export interface SnDisconnect {
  readonly type: typeof MsgType.DISCONNECT
  /** Sleep duration in seconds; `undefined` to disconnect. */
  readonly duration: number | undefined
}

export type Message =
  | Advertise
  | SearchGw
  | GwInfo
  | SnConnect
  | SnConnack
  | Bare
  | WillTopic
  | WillMsg
  | WillResp
  | Register
  | TopicAck
  | SnPublish
  | MsgIdOnly
  | TopicRequest
  | SnSuback
  | PingReq
  | SnDisconnect
