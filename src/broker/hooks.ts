import type { ClientEvents, ClientFacts } from '../mqtt/client-events.ts'
import type { Properties } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'

/** The properties of a message that are forwarded, and that hooks may therefore see and change. */
export type MessageProperties = Pick<
  Properties,
  'payloadFormatIndicator' | 'messageExpiryInterval' | 'contentType' | 'responseTopic' | 'correlationData' | 'userProperties'
>

/** Something that a client wants to do, or that is to be done for it. */
export interface AccessQuestion extends ClientFacts {
  readonly action: 'publish' | 'subscribe' | 'receive' | 'will'
  /** Topic name; for 'subscribe', the filter without `$share/<group>/`. */
  readonly topic: string
  /** Of the message, or asked for by SUBSCRIBE; `undefined` for 'receive'. */
  readonly qos: QoS | undefined
  readonly retain: boolean
}

/** A message from a client, as hooks see it. */
export interface MessageFacts {
  readonly topic: string
  /** A view, valid during the call. */
  readonly payload: Uint8Array
  readonly qos: QoS
  readonly retain: boolean
  readonly properties: MessageProperties
}

/** A message that waits until `publish` of the hooks has been answered. */
export interface PublishQuestion extends ClientFacts, MessageFacts {
  /** Unique in this process; the answer repeats it. */
  readonly id: number
}

/** Changes what they name, and nothing else. */
export interface MessageChange {
  readonly topic?: string | undefined
  readonly payload?: Uint8Array | undefined
  /** In place of all properties. */
  readonly properties?: MessageProperties | undefined
}

export type PublishAnswer =
  | { readonly kind: 'accepted'; readonly change?: MessageChange | undefined }
  /** `reason`: for the notice; the client sees standard words. */
  | { readonly kind: 'refused'; readonly reasonCode: number; readonly reason: string }

/** A message that is about to be sent to one client. */
export interface DeliveryFacts extends ClientFacts, MessageFacts {
  /** The session of the publisher, `mqtt:<clientId>` or `sn:<clientId>`; '' for the broker itself. */
  readonly from: string
}

/** `undefined`: as it is. */
export type DeliveryAnswer = 'drop' | Pick<MessageChange, 'payload' | 'properties'> | undefined

/**
 * What a program adds to the broker: it is asked, and it is told. Whoever implements this catches exceptions; the functions return
 * at once, do not call the server, and are absent if nobody needs them.
 */
export interface Hooks {
  /** Messages from clients wait for an answer: output `hook`, input `hooked`. */
  readonly asksAboutMessages?: boolean | undefined
  /** Whether the rules of access that are configured are not enough: asked in addition to them. */
  readonly authorize?: ((question: AccessQuestion) => boolean) | undefined
  readonly onDeliver?: ((delivery: DeliveryFacts) => DeliveryAnswer) | undefined
  readonly events?: ClientEvents | undefined
}
