import type { Network } from '../base/networks.ts'
import type { ClientEvents } from '../mqtt/client-events.ts'
import type { PortSettings } from './ports/port-settings.ts'
import type { RouteKey } from './ports/route.ts'
import type { TopicIdRange } from './topics/registry.ts'

/** A table of predefined topic ids [1.2 section 6.5], and the clients that it applies to. */
export interface PredefinedTopicTable {
  /** A client id; `*` matches any number of characters. */
  readonly pattern: string
  /** Topic names by topic id, 1 to 65534. */
  readonly topics: ReadonlyMap<number, string>
}

/** The users as whom clients connect, which have no credentials in MQTT-SN 1.2 (ruling A31). */
export interface SensorUsers {
  /** True if `ban_file` lists the client's address, or its client id if it has one. */
  isBanned?(route: RouteKey, clientId: string | undefined): boolean
  /**
   * Returns the user of a client, or `undefined` if it may not connect: it is banned, a rule denies it, or its client id
   * would make it a user who has a password. Without a user name it is anonymous, and the broker decides whether it may
   * connect.
   */
  userOf(clientId: string, route: RouteKey): { readonly username: string | undefined } | undefined
  /** Returns the networks of the rule that admits the client there; `undefined` if the rule names none. */
  networksOf?(clientId: string, route: RouteKey): readonly Network[] | undefined
  /** Returns the user of QoS -1 messages from this route, or `undefined` if they are not accepted. */
  qosM1User(route: RouteKey): { readonly username: string | undefined } | undefined
}

/** Every client is anonymous. */
export const ANONYMOUS_SENSORS: SensorUsers = {
  userOf: () => ({ username: undefined }),
  qosM1User: () => ({ username: undefined }),
}

/** Settings of the gateway, with the specification's names in parentheses. */
export interface GatewayOptions {
  /** Told when sensors sleep, wake and register topics. */
  readonly events?: ClientEvents | undefined
  readonly gatewayId: number
  /** Time before a message is first retransmitted, in milliseconds (T_retry). */
  readonly tRetryMs: number
  /** Maximum number of retransmissions of a message (N_retry). */
  readonly nRetry: number
  /** Time for which nothing is sent to a client that reported congestion, in milliseconds (T_WAIT). */
  readonly tWaitMs: number
  /** How long the session of an absent client is kept unless it is clean, in seconds; Infinity for no limit. */
  readonly sessionExpirySeconds: number
  /** Maximum number of clients, in any state. */
  readonly maxSessions: number
  /** The option behind `maxSessions`; `max_sessions` by default. */
  readonly maxSessionsKey?: 'max_sessions' | 'max_sn_sessions'
  /** Silence after which a client without keep alive is lost, in milliseconds; 0 for never (ruling A21). */
  readonly maxIdleMs: number
  readonly topicsPerClient: number
  /** Maximum number of levels of a topic name, as the broker has it; no limit by default. */
  readonly maxTopicLevels?: number
  /**
   * The normal topic ids of this gateway; 0x0401 to 0xFFFE by default. Where sensors move between gateways, ranges must not overlap: an
   * id of another gateway is unknown here then, and does not mean another topic.
   */
  readonly topicIds?: TopicIdRange
  /** Maximum length of a client id in octets (ruling A22). */
  readonly maxClientIdLength: number
  /** In-flight window: maximum number of unacknowledged QoS 1 and 2 messages to a client (ruling A15). */
  readonly inflightMessages: number
  /** Maximum number of unacknowledged QoS 1 and 2 messages from a client (ruling A15); 16 by default. */
  readonly uplinkMessages?: number
  /** What happens to a QoS 1 or 2 message that a client does not answer although it is heard (ruling A28); `drop` by default. */
  readonly unanswered?: 'drop' | 'keep'
  /** How many rounds of all retries are made for a client that is heard but does not answer; 3 by default. */
  readonly unansweredRounds?: number
  /** A sleeping client is lost after its sleep duration times this factor (ruling A2). */
  readonly sleepMargin: number
  /** Maximum number of messages delivered in one awake period (ruling A5). */
  readonly wakeMessages: number
  /** Number of octets after which an awake period starts no further message (ruling A5); Infinity for no limit. */
  readonly wakeBytes: number
  /**
   * Whether a sleeping client may wake at another address (ruling A7): `asleep` within its network, `anywhere`, or
   * `never`. Its network is that of the rule that admits it, otherwise its subnet.
   */
  readonly roam: 'asleep' | 'anywhere' | 'never'
  /** When the topic ids of a session are registered again after CONNECT (ruling A10). */
  readonly register: 'lazy' | 'eager' | 'never'
  /** A sleeping client must connect before it may publish, subscribe, register topics or update its will (ruling A23). */
  readonly strictSleep: boolean
  /** Accept QoS -1 with the topic name inside the message, as RSMB does (ruling A24). */
  readonly qosM1InlineTopic: boolean
  /** Accept messages from forwarders (ruling A31). */
  readonly forwarders: boolean
  readonly users: SensorUsers
  /** How long a finished QoS 2 message id is remembered, in milliseconds. */
  readonly qos2HoldDownMs: number
  /** Maximum number of replies per second to unknown senders, for all of them together (ruling A8). */
  readonly unknownSenderPerSecond: number
  readonly predefinedTopics: readonly PredefinedTopicTable[]
  /** Maximum size of a message in octets, unless `ports` says otherwise. */
  readonly maxDatagram: number
  /**
   * The first port serves routes that name none. Without ports, messages are sent immediately and retransmitted after
   * T_retry.
   */
  readonly ports?: readonly PortSettings[]
  /** Networks whose source addresses need no validation (ruling A20); all by default. */
  readonly trustedNetworks?: readonly Network[]
  /** Networks in which other gateways are expected. If empty, those whose source addresses need no validation. */
  readonly gatewayNetworks?: readonly Network[]
  /** Maximum number of addresses without validation that are remembered. */
  readonly maxUnprovenAddresses?: number
  /** Number of clients above which an address without validation gets no new client; `maxSessions` by default. */
  readonly maxUnprovenSessions?: number
  /** Maximum number per second of messages that exceed the budget of their address, for all addresses together (ruling A20). */
  readonly unprovenPerSecond?: number
}
