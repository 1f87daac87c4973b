import type { PublisherName } from '../broker/operator-actions.ts'
import { Publish, type QoS } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { type MessageProperties, propertiesOf, topicError } from '../process/messages.ts'
import { optionsOf, qosOf, short, typeName } from './arguments.ts'
import { RoostError } from './error.ts'

/** In whose name a message is published: at least a client id or a user name. */
export interface PublishIdentity {
  /** Given alone, it is the client with this id, with its user, if it has a session; otherwise nobody in particular. */
  readonly clientId?: string | undefined
  /** Counts as verified. */
  readonly username?: string | undefined
  /** Name of the listener whose access rules apply; if absent, those of the whole configuration. */
  readonly listener?: string | undefined
}

export interface PublishOptions {
  /** 0 if absent. */
  readonly qos?: QoS | undefined
  /** Whether it is retained; an empty payload deletes the retained message. false if absent. */
  readonly retain?: boolean | undefined
  readonly properties?: MessageProperties | undefined
  /**
   * Publishes with the rights of this client, which also counts as the sender of the message: a subscription of this client with No
   * Local does not get it. The hook `authorize` is asked, `onPublish` is not. Absent: access rules do not apply.
   */
  readonly as?: PublishIdentity | undefined
}

/** A message to publish, and in whose name. */
export interface Publishing {
  readonly message: Publish
  readonly as: PublisherName | undefined
}

const KEYS = ['qos', 'retain', 'properties', 'as'] as const
const IDENTITY_KEYS = ['clientId', 'username', 'listener'] as const

/** Checks the arguments of `publish`. @throws TypeError, or RoostError for an invalid topic */
export function publishingOf(topic: string, payload: string | Uint8Array, options: PublishOptions | undefined): Publishing {
  const { qos, retain = false, properties: given, as } = optionsOf('publish', options, KEYS)
  if (typeof topic !== 'string') throw new TypeError(`publish: topic: expected a string, got ${typeName(topic)}`)
  const wrong = topicError(topic)
  if (wrong !== '') throw new RoostError(`publish ${JSON.stringify(short(topic))}: ${wrong}`, ReasonCode.TOPIC_NAME_INVALID)
  const where = `publish ${short(topic)}`
  if (typeof payload !== 'string' && !(payload instanceof Uint8Array))
    throw new TypeError(`${where}: payload: expected a string or a Uint8Array, got ${typeName(payload)}`)
  if (typeof retain !== 'boolean') throw new TypeError(`${where}: retain: expected a boolean, got ${typeName(retain)}`)
  const properties = propertiesOf(given)
  if (typeof properties === 'string') throw new TypeError(`${where}: ${properties}`)
  // Copied, because the program may change its own while the message waits.
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : Buffer.from(payload)
  return {
    message: Publish.of(topic, bytes, qosOf(where, qos), retain, 0, properties),
    as: as === undefined ? undefined : nameOf(where, as),
  }
}

function nameOf(where: string, as: PublishIdentity): PublisherName {
  const identity = optionsOf(`${where}: as`, as, IDENTITY_KEYS)
  for (const [key, value] of Object.entries(identity))
    if (value !== undefined && typeof value !== 'string')
      throw new TypeError(`${where}: as.${key}: expected a string, got ${typeName(value)}`)
  const { clientId, username, listener = '' } = identity
  if (clientId === undefined && username === undefined)
    throw new TypeError(`${where}: as: expected clientId or username, got neither`)
  return { clientId: clientId ?? '', username, listener }
}
