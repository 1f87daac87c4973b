/** MQTT 5 properties [5.0 section 2.2.2.2] by their names; which packet may carry which is checked by the codec. */
export interface Properties {
  payloadFormatIndicator?: 0 | 1
  /** Seconds. */
  messageExpiryInterval?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Uint8Array
  /** In SUBSCRIBE exactly one; in PUBLISH towards a client one for each matching subscription. */
  subscriptionIdentifiers?: readonly number[]
  /** Seconds; 0xFFFFFFFF never expires. */
  sessionExpiryInterval?: number
  assignedClientIdentifier?: string
  serverKeepAlive?: number
  authenticationMethod?: string
  authenticationData?: Uint8Array
  requestProblemInformation?: boolean
  /** Seconds. */
  willDelayInterval?: number
  requestResponseInformation?: boolean
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQoS?: 0 | 1
  retainAvailable?: boolean
  /** In order, names may repeat (MQTT-3.3.2-17, -18). */
  userProperties?: readonly (readonly [string, string])[]
  maximumPacketSize?: number
  wildcardSubscriptionAvailable?: boolean
  subscriptionIdentifiersAvailable?: boolean
  sharedSubscriptionAvailable?: boolean
}

/** Shared by all packets without properties, so that none is allocated for them. */
export const NO_PROPERTIES: Properties = Object.freeze({})
