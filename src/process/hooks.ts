import type { AccessQuestion } from '../broker/hooks.ts'
import type { ClientFacts, Connected, Disconnected, Registered, Slept, Woken } from '../mqtt/client-events.ts'
import type { Message, MessageProperties } from './messages.ts'

/** A client that wants to connect. */
export interface LoginEvent extends ClientFacts {
  /** From CONNECT, or from the certificate of the client, or, for a sensor, from `sn_users`. */
  readonly username: string | undefined
  /** '' if the broker is to assign one. */
  readonly clientId: string
  /** Sensors have none. */
  readonly password: Buffer | undefined
  /** Address: `127.0.0.1:51234`. */
  readonly peer: string
  /** The user name is that of a verified TLS certificate. */
  readonly certified: boolean
}

/** `reasonCode`: 0 or absent accepts, 128 and above refuses (MQTT 5 reason codes of CONNACK). */
export interface LoginResult {
  readonly reasonCode?: number | undefined
  /** The user as whom the client is connected from now on. Absent: the one it has named. */
  readonly username?: string | undefined
}

export type AccessEvent = Readonly<AccessQuestion>

/** A message that a client publishes. */
export interface PublishEvent extends ClientFacts, Message {}

/** What is named is changed, or `reasonCode` (128 and above: those of PUBACK) refuses the message. */
export interface PublishResult {
  readonly topic?: string | undefined
  /** A string is sent as UTF-8. */
  readonly payload?: Uint8Array | string | undefined
  /** In place of all properties. */
  readonly properties?: MessageProperties | undefined
  readonly reasonCode?: number | undefined
}

/** A message that is about to be sent to a client. */
export interface DeliverEvent extends ClientFacts, Message {
  /** The publisher: `mqtt:<client id>` or `sn:<client id>`; '' for the broker itself. */
  readonly from: string
}

export type DeliverResult = Pick<PublishResult, 'payload' | 'properties'>

export interface ConnectEvent extends Connected {}
export interface DisconnectEvent extends Disconnected {}
export interface SleepEvent extends Slept {}
export interface WakeEvent extends Woken {}
export interface RegisterEvent extends Registered {}

type MaybeLater<T> = T | PromiseLike<T>

/**
 * Functions of a program that the broker asks or tells. All are optional, and each gets one object. docs/hooks.md says when each of
 * them runs, and what happens if it throws or takes long.
 */
export interface Hooks {
  /** Decides who may connect, alone. May take 5 seconds. */
  readonly authenticate?: ((login: LoginEvent) => MaybeLater<boolean | LoginResult>) | undefined
  /** Decides what a client may do, in addition to access lists. Returns at once. */
  readonly authorize?: ((access: AccessEvent) => boolean) | undefined
  /** Changes or refuses a message before anybody gets it; its publisher waits. May take 5 seconds. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement changes nothing.
  readonly onPublish?: ((message: PublishEvent) => MaybeLater<PublishResult | boolean | undefined | void>) | undefined
  /** Changes a message for one recipient; `false`: it does not get it. Returns at once. */
  // biome-ignore lint/suspicious/noConfusingVoidType: as above.
  readonly onDeliver?: ((message: DeliverEvent) => DeliverResult | boolean | undefined | void) | undefined
  readonly onConnect?: ((client: ConnectEvent) => unknown) | undefined
  readonly onDisconnect?: ((client: DisconnectEvent) => unknown) | undefined
  readonly onSleep?: ((sensor: SleepEvent) => unknown) | undefined
  readonly onWake?: ((sensor: WakeEvent) => unknown) | undefined
  readonly onRegister?: ((sensor: RegisterEvent) => unknown) | undefined
}

export type HookName = keyof Hooks

export const HOOK_NAMES: readonly HookName[] = [
  'authenticate',
  'authorize',
  'onPublish',
  'onDeliver',
  'onConnect',
  'onDisconnect',
  'onSleep',
  'onWake',
  'onRegister',
]
