import { MsgType } from '../../mqttsn/messages.ts'

/**
 * State of a client as the gateway sees it [1.2 section 6.14]. `willTopic` and `willMsg` are the two steps of the will dialogue.
 * An unknown client has no state; the gateway handles it.
 */
export type State = 'willTopic' | 'willMsg' | 'active' | 'asleep' | 'awake' | 'disconnected' | 'lost'

/** State of a sensor as it is reported: a will dialogue does not change it. */
export type SensorState = 'active' | 'asleep' | 'awake' | 'lost' | 'disconnected'
export const STATES: readonly State[] = ['willTopic', 'willMsg', 'active', 'asleep', 'awake', 'disconnected', 'lost']

/**
 * How a message is handled in a state. `ignore` is deliberate, and the message counts as a sign of life; `reject` answers
 * DISCONNECT, so that the sender connects; `confirm` answers a repeated DISCONNECT; `crossed`: a client that was connected
 * before a will dialogue still is, because its CONNECT was a delayed copy. The others are methods of `GatewayClient` or its
 * parts.
 */
export type Reaction =
  | 'connect'
  | 'willTopic'
  | 'willMsg'
  | 'connackAgain'
  | 'register'
  | 'publish'
  | 'release'
  | 'subscribe'
  | 'unsubscribe'
  | 'answer'
  | 'ping'
  | 'wake'
  | 'disconnect'
  | 'confirm'
  | 'willTopicUpdate'
  | 'willMsgUpdate'
  | 'crossed'
  | 'ignore'
  | 'reject'

type Row = Readonly<Record<State, Reaction>>

const row = (
  willTopic: Reaction,
  willMsg: Reaction,
  active: Reaction,
  asleep: Reaction,
  awake: Reaction,
  disconnected: Reaction,
  lost: Reaction,
): Row => ({ willTopic, willMsg, active, asleep, awake, disconnected, lost })

const everywhere = (reaction: Reaction): Row => row(reaction, reaction, reaction, reaction, reaction, reaction, reaction)
/** While connected, awake or asleep: a sleeping client may send without waking first, at no cost to itself (ruling A23). */
const connected = (reaction: Reaction): Row => row('crossed', 'crossed', reaction, reaction, reaction, 'reject', 'reject')
/** Answers to an earlier message. They count in a will dialogue and in sleep too, where they have crossed our last message. */
const ANSWER = row('answer', 'answer', 'answer', 'answer', 'answer', 'reject', 'reject')
/** Sent by gateways only. A client that sends it is faulty, and an answer would not help it. */
const NOT_FOR_CLIENTS = everywhere('ignore')

/** What section 6.14, taken literally, forbids a sleeping client without CONNECT (ruling A23). */
export const ACTIVE_ONLY: ReadonlySet<Reaction> = new Set([
  'register',
  'publish',
  'release',
  'subscribe',
  'unsubscribe',
  'willTopicUpdate',
  'willMsgUpdate',
])

/** Every message in every state: a missing cell would be a crash, or a client that waits without end. */
export const STATE_TABLE: Readonly<Record<MsgType, Row>> = {
  [MsgType.CONNECT]: everywhere('connect'),
  //                       willTopic    willMsg      active          asleep       awake        disconnected  lost
  // A retransmitted WILLTOPIC is answered again; one after the dialogue is a delayed copy.
  [MsgType.WILLTOPIC]: row('willTopic', 'willTopic', 'ignore', 'ignore', 'ignore', 'reject', 'reject'),
  // Without a preceding WILLTOPIC, WILLMSG has crossed our prompt. In `active`, CONNACK was lost.
  [MsgType.WILLMSG]: row('ignore', 'willMsg', 'connackAgain', 'ignore', 'ignore', 'reject', 'reject'),
  [MsgType.REGISTER]: connected('register'),
  [MsgType.PUBLISH]: connected('publish'),
  [MsgType.PUBREL]: connected('release'),
  [MsgType.SUBSCRIBE]: connected('subscribe'),
  [MsgType.UNSUBSCRIBE]: connected('unsubscribe'),
  [MsgType.REGACK]: ANSWER,
  [MsgType.PUBACK]: ANSWER,
  [MsgType.PUBREC]: ANSWER,
  [MsgType.PUBCOMP]: ANSWER,
  // Awake: a retransmitted PINGREQ while messages are in flight; they and PINGRESP will follow.
  [MsgType.PINGREQ]: row('crossed', 'crossed', 'ping', 'wake', 'ignore', 'reject', 'reject'),
  // Never answered with DISCONNECT, or two gateways would answer each other without end (ruling A8).
  [MsgType.PINGRESP]: everywhere('ignore'),
  // A repeated DISCONNECT: our answer was lost.
  [MsgType.DISCONNECT]: row('disconnect', 'disconnect', 'disconnect', 'disconnect', 'disconnect', 'confirm', 'confirm'),
  [MsgType.WILLTOPICUPD]: connected('willTopicUpdate'),
  [MsgType.WILLMSGUPD]: connected('willMsgUpdate'),
  // The gateway answers it before it looks for the client.
  [MsgType.SEARCHGW]: everywhere('ignore'),
  [MsgType.ADVERTISE]: NOT_FOR_CLIENTS,
  [MsgType.GWINFO]: NOT_FOR_CLIENTS,
  [MsgType.CONNACK]: NOT_FOR_CLIENTS,
  [MsgType.WILLTOPICREQ]: NOT_FOR_CLIENTS,
  [MsgType.WILLMSGREQ]: NOT_FOR_CLIENTS,
  [MsgType.SUBACK]: NOT_FOR_CLIENTS,
  [MsgType.UNSUBACK]: NOT_FOR_CLIENTS,
  [MsgType.WILLTOPICRESP]: NOT_FOR_CLIENTS,
  [MsgType.WILLMSGRESP]: NOT_FOR_CLIENTS,
}
