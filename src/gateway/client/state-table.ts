import { MsgType } from '../../mqttsn/messages.ts'

/**
 * A client as the gateway sees it [1.2 section 6.14]. `willTopic` and `willMsg` are the two steps of the will dialogue; a client that
 * nobody knows has no state and is the gateway's business.
 */
export type State = 'willTopic' | 'willMsg' | 'active' | 'asleep' | 'awake' | 'disconnected' | 'lost'
export const STATES: readonly State[] = ['willTopic', 'willMsg', 'active', 'asleep', 'awake', 'disconnected', 'lost']

/**
 * What a message does in a state. `ignore` is a decision and counted as heard; `stranger` tells the sender to connect; `crossed` means that a client
 * that was connected before a will dialogue is so still, because its CONNECT was a late copy; the others are methods of `GatewayClient` or of its parts.
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
  | 'goodbye'
  | 'willTopicUpdate'
  | 'willMsgUpdate'
  | 'crossed'
  | 'ignore'
  | 'stranger'

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
/** While connected, awake or not: a sleeper that sends without waking costs itself nothing by it (ruling A23). */
const connected = (reaction: Reaction): Row => row('crossed', 'crossed', reaction, reaction, reaction, 'stranger', 'stranger')
/** To what was sent before: it counts in a will dialogue and in sleep too, where it has crossed our last message. */
const ANSWER = row('answer', 'answer', 'answer', 'answer', 'answer', 'stranger', 'stranger')
/** Only gateways say this; a client that does is confused, and an answer would not help it. */
const NOT_FOR_CLIENTS = everywhere('ignore')

/** What a sleeper should not ask by the letter of section 6.14 without connecting first (ruling A23). */
export const ACTIVE_ONLY: ReadonlySet<Reaction> = new Set([
  'register',
  'publish',
  'release',
  'subscribe',
  'unsubscribe',
  'willTopicUpdate',
  'willMsgUpdate',
])

/** Every message in every state: a missing cell would be a crash or a sensor that waits for ever. */
export const STATE_TABLE: Readonly<Record<MsgType, Row>> = {
  [MsgType.CONNECT]: everywhere('connect'),
  //                       willTopic    willMsg      active          asleep       awake        disconnected  lost
  // A WILLTOPIC that comes again is answered again; one that comes after the dialogue is a late copy.
  [MsgType.WILLTOPIC]: row('willTopic', 'willTopic', 'ignore', 'ignore', 'ignore', 'stranger', 'stranger'),
  // Without WILLTOPIC before it, WILLMSG has crossed our prompt; in `active` CONNACK was lost.
  [MsgType.WILLMSG]: row('ignore', 'willMsg', 'connackAgain', 'ignore', 'ignore', 'stranger', 'stranger'),
  [MsgType.REGISTER]: connected('register'),
  [MsgType.PUBLISH]: connected('publish'),
  [MsgType.PUBREL]: connected('release'),
  [MsgType.SUBSCRIBE]: connected('subscribe'),
  [MsgType.UNSUBSCRIBE]: connected('unsubscribe'),
  [MsgType.REGACK]: ANSWER,
  [MsgType.PUBACK]: ANSWER,
  [MsgType.PUBREC]: ANSWER,
  [MsgType.PUBCOMP]: ANSWER,
  // Awake: a PINGREQ again while its messages are on their way; they and PINGRESP will come.
  [MsgType.PINGREQ]: row('crossed', 'crossed', 'ping', 'wake', 'ignore', 'stranger', 'stranger'),
  // Never answered with DISCONNECT, or two gateways would answer each other for ever (ruling A8).
  [MsgType.PINGRESP]: everywhere('ignore'),
  // Our answer was lost, if it says goodbye again.
  [MsgType.DISCONNECT]: row('disconnect', 'disconnect', 'disconnect', 'disconnect', 'disconnect', 'goodbye', 'goodbye'),
  [MsgType.WILLTOPICUPD]: connected('willTopicUpdate'),
  [MsgType.WILLMSGUPD]: connected('willMsgUpdate'),
  // The gateway answers it for everybody, before it asks who it is.
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
