/** Roost as a library: `start` runs broker and gateway in this process; `Server` is the state machine without sockets. */
export type { Notice, NoticeCode } from './base/notice.ts'
export { StartError } from './base/start-error.ts'
export type { Client, ClientDetail } from './library/client.ts'
export { RoostError } from './library/error.ts'
export type { RoostEvents } from './library/events.ts'
export type { Figures } from './library/figures.ts'
export type { GivenBridge, GivenBridgeTopic } from './library/given-bridge.ts'
export type { GivenFilter } from './library/given-filters.ts'
export type { GivenField, GivenType, GivenTypes } from './library/given-types.ts'
export type { Log } from './library/log.ts'
export type { PublishIdentity, PublishOptions } from './library/publish.ts'
export type { MessageHandler, MessageIterator, Ports, Roost, SubscribeOptions, Subscription, Urls } from './library/roost.ts'
export { start } from './library/start.ts'
export type { StartOptions } from './library/start-options.ts'
export type {
  AccessEvent,
  ConnectEvent,
  DeliverEvent,
  DeliverResult,
  DisconnectEvent,
  Hooks,
  LoginEvent,
  LoginResult,
  PublishEvent,
  PublishResult,
  RegisterEvent,
  SleepEvent,
  WakeEvent,
} from './process/hooks.ts'
export type { Message, MessageProperties } from './process/messages.ts'
export { Server, type ServerInput, type ServerOptions, type ServerOutput } from './server.ts'
