import type { Network } from '../base/networks.ts'
import type { Port } from './ports/port.ts'
import type { RouteKey } from './ports/route.ts'

/** One predefined topic id table: the clients that it is for, and what their ids mean. */
export interface PredefinedTopicTable {
  /** A client id; `*` stands for any number of any characters. */
  readonly pattern: string
  readonly topics: ReadonlyMap<number, string>
}

/** As whom sensors connect, which have no credentials to show (ruling A31). */
export interface SensorUsers {
  /** Whether the `ban_file` names where a sensor is, or its client id if it has one. */
  isBanned?(route: RouteKey, clientId: string | undefined): boolean
  /** `undefined`: it may not connect, because it is banned, a rule says so, or by its client id it would be a user who has a password. Without a user name it is anonymous, and the broker says whether that is enough. */
  userOf(clientId: string, route: RouteKey): { readonly username: string | undefined } | undefined
  /** The networks to which the rule binds it that lets it in there; `undefined` if it names none. */
  networksOf?(clientId: string, route: RouteKey): readonly Network[] | undefined
  /** The user of QoS -1 messages from this route; `undefined`: they are not taken. */
  qosM1User(route: RouteKey): { readonly username: string | undefined } | undefined
}

/** Everybody is anonymous. */
export const ANONYMOUS_SENSORS: SensorUsers = {
  userOf: () => ({ username: undefined }),
  qosM1User: () => ({ username: undefined }),
}

/** Settings of the gateway, by the specification's names where it has one. */
export interface GatewayOptions {
  readonly gatewayId: number
  /** Until a message is sent again (T_retry). */
  readonly tRetryMs: number
  /** Times that it is sent again (N_retry). */
  readonly nRetry: number
  /** For which a client is left alone that answered with congestion (T_WAIT). */
  readonly tWaitMs: number
  /** For which the session of an absent client is kept, unless it asked for a clean one; Infinity is for ever. */
  readonly sessionExpirySeconds: number
  /** Clients that are remembered, in whatever state. */
  readonly maxSessions: number
  /** Its key in the configuration; `max_sessions` if it is not there. */
  readonly maxSessionsKey?: 'max_sessions' | 'max_sn_sessions'
  /** Silence after which a client that asked for no supervision is lost; 0 is never (ruling A21). */
  readonly maxIdleMs: number
  readonly topicsPerClient: number
  /** The highest topic id; 0xFFFE if it is not there. Lower ones are for tests, in which the numbers are to run out soon. */
  readonly lastTopicId?: number
  /** Octets of a client id (ruling A22). */
  readonly maxClientIdLength: number
  /** QoS 1 and 2 messages that may be on their way to a client at once (ruling A15). */
  readonly inflightMessages: number
  /** QoS 1 and 2 messages that a client may have on their way to the broker at once (ruling A15); 16 if it is not there. */
  readonly uplinkMessages?: number
  /** What becomes of a message with QoS 1 or 2 that a client does not answer although it is heard (ruling A28); `drop` if it is not there. */
  readonly unanswered?: 'drop' | 'keep'
  /** How often all retries are made for a client that is heard and does not answer; 3 by default. */
  readonly unansweredRounds?: number
  /** A sleeper is lost after its sleep duration times this (ruling A2). */
  readonly sleepMargin: number
  /** Messages delivered in one awake period (ruling A5). */
  readonly wakeMessages: number
  /** Octets after which an awake period begins no further message (ruling A5); Infinity is no bound. */
  readonly wakeBytes: number
  /**
   * Whether a sleeper that wakes at another address is followed there (ruling A7): within its network, `anywhere`, or `never`. Its network is that of the
   * rule that lets it in, or else its subnet.
   */
  readonly roam: 'asleep' | 'anywhere' | 'never'
  /** When a client that connects is told the ids of its session again (ruling A10). */
  readonly register: 'lazy' | 'eager' | 'never'
  /** A sleeper that wants more than its messages has to connect first (ruling A23). */
  readonly strictSleep: boolean
  /** QoS -1 with a topic name inside, as RSMB takes it (ruling A24). */
  readonly qosM1InlineTopic: boolean
  /** Messages that come through a forwarder are taken (ruling A31). */
  readonly forwarders: boolean
  readonly users: SensorUsers
  /** For which a finished QoS 2 message id is remembered. */
  readonly qos2HoldDownMs: number
  /** Answers to senders that nobody knows, all of them together (ruling A8). */
  readonly unknownSenderPerSecond: number
  readonly predefinedTopics: readonly PredefinedTopicTable[]
  /** Octets of the largest message that is sent, where `ports` say nothing else. */
  readonly maxDatagram: number
  /** The first one is that of routes which name none; none is a port that sends everything at once, and repeats after T_retry. */
  readonly ports?: readonly Port[]
  /** Where sender addresses need no proof (ruling A20); everywhere if it is not there. */
  readonly trustedNetworks?: readonly Network[]
  /** From where other gateways are listened to; if there are none, from where sender addresses need no proof. */
  readonly gatewayNetworks?: readonly Network[]
  /** Addresses without proof that are remembered. */
  readonly maxUnprovenAddresses?: number
  /** Clients above which no new one is taken from an address without proof; `maxSessions` if it is not there. */
  readonly maxUnprovenSessions?: number
  /** Messages larger than their address has earned, all of them together (ruling A20). */
  readonly unprovenPerSecond?: number
}
