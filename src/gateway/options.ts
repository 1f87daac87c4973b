import type { Network } from '../base/networks.ts'
import type { Port } from './port.ts'

/** One predefined topic id table: the clients that it is for, and what their ids mean. */
export interface PredefinedTopicTable {
  /** A client id; `*` stands for any number of any characters. */
  readonly pattern: string
  readonly topics: ReadonlyMap<number, string>
}

/** Settings of the gateway, by the specification's names where it has one. */
export interface GatewayOptions {
  readonly gatewayId: number
  /** Until a message is sent again (T_retry). */
  readonly tRetryMs: number
  /** Times that it is sent again (N_retry). */
  readonly nRetry: number
  /** For which the session of an absent client is kept, unless it asked for a clean one; Infinity is for ever. */
  readonly sessionExpirySeconds: number
  /** Clients that are remembered, in whatever state. */
  readonly maxSessions: number
  /** Silence after which a client that asked for no supervision is lost; 0 is never (ruling A21). */
  readonly maxIdleMs: number
  readonly topicsPerClient: number
  /** A sleeper is lost after its sleep duration times this (ruling A2). */
  readonly sleepMargin: number
  /** Messages delivered in one awake period (ruling A5). */
  readonly wakeMessages: number
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
  /** Addresses without proof that are remembered. */
  readonly maxUnprovenAddresses?: number
  /** Messages larger than their address has earned, all of them together (ruling A20). */
  readonly unprovenPerSecond?: number
}
