import { utf8Length } from '../base/bytes.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import { topicNameError } from '../mqtt/topics.ts'

/** Properties of a message [5.0 section 3.3.2.3], as its publisher sets them. */
export interface MessageProperties {
  /** 1: the payload is text in UTF-8. */
  readonly payloadFormatIndicator?: 0 | 1 | undefined
  /** Seconds until the message expires, from 0 to 4294967295; never if absent. */
  readonly messageExpiryInterval?: number | undefined
  readonly contentType?: string | undefined
  readonly responseTopic?: string | undefined
  readonly correlationData?: Uint8Array | undefined
  /** In order; names may repeat. */
  readonly userProperties?: readonly (readonly [name: string, value: string])[] | undefined
}

/** A message as programs see it. */
export interface Message {
  readonly topic: string
  /** A copy, which belongs to whoever gets it. */
  readonly payload: Buffer
  readonly qos: QoS
  /** For a subscriber: whether it was retained before the subscription was made, or is in the list of retained messages. */
  readonly retain: boolean
  readonly properties: MessageProperties
}

/** Returns the part of a message's properties that programs see, copied: those of the broker are also other receivers'. */
export function messagePropertiesOf(properties: Properties): MessageProperties {
  if (properties === NO_PROPERTIES) return NONE
  const { payloadFormatIndicator, messageExpiryInterval, contentType, responseTopic, correlationData, userProperties } =
    properties
  return {
    ...(payloadFormatIndicator !== undefined && { payloadFormatIndicator }),
    ...(messageExpiryInterval !== undefined && { messageExpiryInterval }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData: Buffer.from(correlationData) }),
    ...(userProperties !== undefined && { userProperties: userProperties.map(([name, value]) => [name, value] as const) }),
  }
}

const NONE: MessageProperties = Object.freeze({})

const STRING_BYTES_MAX = 0xffff

/** The error in a topic name as a program gives it; '' if there is none. */
export function topicError(topic: unknown): string {
  return typeof topic === 'string' ? textError(topic) || topicNameError(topic) : `expected a string, got ${typeof topic}`
}

/** The error in a string that MQTT is to carry [5.0 section 1.5.4], '' if there is none. */
export function textError(value: unknown): string {
  if (typeof value !== 'string') return `expected a string, got ${typeof value}`
  if (/[\0\p{Cs}]/u.test(value)) return 'contains U+0000 or half a surrogate pair'
  return utf8Length(value) > STRING_BYTES_MAX ? `longer than ${STRING_BYTES_MAX} bytes` : ''
}

type Name = keyof MessageProperties

const isByte = (value: unknown): boolean => value === 0 || value === 1
const ERRORS: { readonly [N in Name]: (value: unknown) => string } = {
  payloadFormatIndicator: (value) => (isByte(value) ? '' : 'expected 0 or 1'),
  messageExpiryInterval: (value) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 0xffffffff
      ? ''
      : 'expected a whole number of seconds from 0 to 4294967295',
  contentType: textError,
  responseTopic: topicError,
  correlationData: (value) =>
    !(value instanceof Uint8Array)
      ? 'expected a Uint8Array'
      : value.length > STRING_BYTES_MAX
        ? `longer than ${STRING_BYTES_MAX} bytes`
        : '',
  userProperties: (value) => {
    if (!Array.isArray(value)) return 'expected a list of [name, value]'
    for (const pair of value as readonly unknown[]) {
      if (!Array.isArray(pair) || pair.length !== 2) return 'expected a list of [name, value]'
      const wrong = textError(pair[0]) || textError(pair[1])
      if (wrong !== '') return wrong
    }
    return ''
  },
}

/** Returns properties that a program has given, copied, or what is wrong with them in one line that names the property. */
export function propertiesOf(given: MessageProperties | undefined): Properties | string {
  if (given === undefined) return NO_PROPERTIES
  if (typeof given !== 'object' || given === null) return `properties: expected an object, got ${typeof given}`
  const properties: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    if (!Object.hasOwn(ERRORS, name)) return `properties.${name}: unknown property of a message`
    const wrong = ERRORS[name as Name](value)
    if (wrong !== '') return `properties.${name}: ${wrong}`
    properties[name] = name === 'correlationData' ? new Uint8Array(value as Uint8Array) : structuredClone(value)
  }
  return Object.keys(properties).length === 0 ? NO_PROPERTIES : properties
}

/** Returns what programs see of a message, with a copy of its payload. */
export const messageOf = ({ topic, payload, properties }: Publish, qos: QoS, retain: boolean): Message => ({
  topic,
  payload: Buffer.from(payload),
  qos,
  retain,
  properties: messagePropertiesOf(properties),
})
