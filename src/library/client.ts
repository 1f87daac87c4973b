import type { ClientKind } from '../mqtt/link.ts'
import type { QoS } from '../mqtt/publish.ts'

/** A client with a session, as it was at one moment. */
export interface Client {
  /** `mqtt:` or `sn:` and the client id. An MQTT client and a sensor may have the same client id. */
  readonly id: string
  readonly clientId: string
  readonly kind: ClientKind
  /** 'connected' or 'disconnected' of MQTT clients; sensors may be 'active', 'asleep', 'awake', 'lost' and 'disconnected'. */
  readonly state: 'connected' | 'disconnected' | 'active' | 'asleep' | 'awake' | 'lost'
  /** When that state began; undefined if that is not known. */
  readonly since: Date | undefined
  readonly lastHeard: Date | undefined
  readonly username: string | undefined
  /** Name of the listener or of the port for sensors; undefined while unknown, as after a restart. */
  readonly listener: string | undefined
  /** `192.0.2.7:51234`; undefined while it is not connected. */
  readonly peer: string | undefined
  /** For how long a sensor said that it would sleep, in seconds, and when that ends. */
  readonly sleepSeconds: number | undefined
  readonly nextWake: Date | undefined
  readonly subscriptionCount: number
  /** Queued, or delivered and not acknowledged. */
  readonly waitingMessages: number
  /** Topics, payloads and properties of those. */
  readonly waitingBytes: number
}

/** More about one client. */
export interface ClientDetail extends Client {
  readonly subscriptions: readonly {
    readonly filter: string
    readonly qos: QoS
    readonly noLocal: boolean
    readonly retainAsPublished: boolean
  }[]
  readonly will: { readonly topic: string; readonly payload: Buffer; readonly qos: QoS; readonly retain: boolean } | undefined
  /** Seconds that its session outlives its connection; 0 ends with it, Infinity never ends. undefined without a session. */
  readonly expirySeconds: number | undefined
  /** When the session ends unless its client returns. */
  readonly expiresAt: Date | undefined
}
