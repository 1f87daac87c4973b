import { utf8Length } from '../../base/bytes.ts'
import { NO_PROPERTIES, type Properties } from '../../mqtt/properties.ts'
import { topicNameError } from '../../mqtt/topics.ts'
import { base64, listOf, object, oneOfWords, type Schema, text } from '../schema.ts'

/** User properties of one message. */
const USER_PROPERTIES_MAX = 1000

/** Properties of a message, as an MQTT 5 publisher sets them. */
export const PROPERTIES: Schema = object(
  {},
  {
    payload_format: oneOfWords('whether the payload is text (Payload Format Indicator)', ['bytes', 'utf-8']),
    content_type: text('Content Type'),
    response_topic: text('Response Topic'),
    correlation_data: base64('Correlation Data'),
    user_properties: {
      ...listOf(object({ name: text('its name, which may repeat'), value: text('its value') }), 'User Properties, in order'),
      maxItems: USER_PROPERTIES_MAX,
    },
  },
)

/** A value that PROPERTIES describes. */
export interface PropertiesJson {
  readonly payload_format?: 'bytes' | 'utf-8'
  readonly content_type?: string
  readonly response_topic?: string
  readonly correlation_data?: string
  readonly user_properties?: readonly { readonly name: string; readonly value: string }[]
}

export function propertiesJson(properties: Properties): PropertiesJson {
  const { payloadFormatIndicator: format, contentType, responseTopic, correlationData, userProperties } = properties
  return {
    ...(format !== undefined && { payload_format: format === 1 ? 'utf-8' : 'bytes' }),
    ...(contentType !== undefined && { content_type: contentType }),
    ...(responseTopic !== undefined && { response_topic: responseTopic }),
    ...(correlationData !== undefined && { correlation_data: Buffer.from(correlationData).toString('base64') }),
    ...(userProperties !== undefined && { user_properties: userProperties.map(([name, value]) => ({ name, value })) }),
  }
}

/** Returns what is wrong with them instead, in one sentence. `expiry`: seconds. */
export function propertiesOf(given: PropertiesJson, expiry: number | undefined): Properties | string {
  const { payload_format: format, content_type: contentType, response_topic: responseTopic, user_properties: pairs = [] } = given
  const strings = { content_type: contentType, response_topic: responseTopic }
  for (const [name, value] of Object.entries(strings)) {
    const wrong = value === undefined ? '' : mqttStringError(value)
    if (wrong !== '') return `properties.${name}: ${wrong}`
  }
  const wrongTopic = responseTopic === undefined ? '' : topicNameError(responseTopic)
  if (wrongTopic !== '') return `properties.response_topic: ${wrongTopic}`
  const wrongPair = pairs.map(({ name, value }) => mqttStringError(name) || mqttStringError(value)).find((wrong) => wrong !== '')
  if (wrongPair !== undefined) return `properties.user_properties: ${wrongPair}`
  const correlation = given.correlation_data === undefined ? undefined : bytesOf(given.correlation_data)
  if (correlation === 'malformed') return 'properties.correlation_data: is not valid base64'
  if (correlation !== undefined && correlation.length > STRING_BYTES_MAX)
    return `properties.correlation_data: longer than ${STRING_BYTES_MAX} bytes`
  const properties: Properties = {
    ...(format !== undefined && { payloadFormatIndicator: format === 'utf-8' ? 1 : 0 }),
    ...(expiry !== undefined && { messageExpiryInterval: expiry }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlation !== undefined && { correlationData: new Uint8Array(correlation) }),
    ...(pairs.length > 0 && { userProperties: pairs.map(({ name, value }) => [name, value] as const) }),
  }
  return Object.keys(properties).length === 0 ? NO_PROPERTIES : properties
}

const STRING_BYTES_MAX = 0xffff

/** Decodes base64, with or without its padding. The decoder skips what is none, and so returns fewer bytes. */
export function bytesOf(text: string): Buffer | 'malformed' {
  const bytes = Buffer.from(text, 'base64')
  const digits = text.replace(/={1,2}$/, '').length
  const isPadded = digits === text.length || text.length % 4 === 0
  return isPadded && digits % 4 !== 1 && bytes.length === Math.floor((digits * 3) / 4) ? bytes : 'malformed'
}

/** The error in a string that MQTT is to carry [5.0 section 1.5.4], '' if there is none. */
export function mqttStringError(value: string): string {
  if (/[\0\p{Cs}]/u.test(value)) return 'contains U+0000 or half a surrogate pair'
  return utf8Length(value) > STRING_BYTES_MAX ? `longer than ${STRING_BYTES_MAX} bytes` : ''
}
