import type { ClientKind } from './link.ts'
import type { ProtocolVersion } from './publish.ts'

/** A client, as hooks see it. */
export interface ClientFacts {
  readonly kind: ClientKind
  readonly clientId: string
  readonly username: string | undefined
  /** Name of the listener or port; '' while unknown, as after a restart. */
  readonly listener: string
}

/** CONNACK with success. */
export interface Connected extends ClientFacts {
  readonly peer: string
  /** Of MQTT-SN: the broker's side of the connection, which is 5. */
  readonly protocolVersion: ProtocolVersion
  readonly cleanStart: boolean
  readonly sessionPresent: boolean
  /** Seconds; 0 for none. */
  readonly keepAlive: number
}

export interface Disconnected extends ClientFacts {
  readonly peer: string
  /** False after DISCONNECT from the client; true if the connection was lost, or closed by the broker. */
  readonly isLost: boolean
  /** In plain words. */
  readonly reason: string
}

export interface Slept extends ClientFacts {
  readonly peer: string
  /** Seconds for which the sensor said that it would sleep. */
  readonly duration: number
}

export interface Woken extends ClientFacts {
  readonly peer: string
}

/** A sensor has an id for a topic, after REGISTER. */
export interface Registered extends ClientFacts {
  readonly peer: string
  readonly topic: string
  readonly topicId: number
}

/**
 * Told about the life of clients. None is waited for, and none may call the server: what a listener does follows after the input
 * that led to the event. A listener that is absent costs nothing.
 */
export interface ClientEvents {
  readonly onConnect?: ((client: Connected) => void) | undefined
  readonly onDisconnect?: ((client: Disconnected) => void) | undefined
  readonly onSleep?: ((client: Slept) => void) | undefined
  readonly onWake?: ((client: Woken) => void) | undefined
  readonly onRegister?: ((client: Registered) => void) | undefined
}
