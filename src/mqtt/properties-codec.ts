import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import { utf8Length } from '../base/bytes.ts'
import { PacketType } from './packets.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import { hasWildcard } from './topics.ts'

type Form = 'byte' | 'flag' | 'u16' | 'u32' | 'varint' | 'string' | 'binary' | 'pair'
type Name = keyof Properties

/** Bit of the will properties in the set of packets, besides the packet types. */
export const WILL = 0
const bits = (...types: number[]): number => types.reduce((set, type) => set | (1 << type), 0)
const { CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT, AUTH } =
  PacketType
const ACKS = bits(PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK)

/** [5.0 table 2-4]: identifier, name, form, and the packets that may carry it. */
const TABLE: readonly (readonly [id: number, name: Name, form: Form, packets: number])[] = [
  [0x01, 'payloadFormatIndicator', 'byte', bits(PUBLISH, WILL)],
  [0x02, 'messageExpiryInterval', 'u32', bits(PUBLISH, WILL)],
  [0x03, 'contentType', 'string', bits(PUBLISH, WILL)],
  [0x08, 'responseTopic', 'string', bits(PUBLISH, WILL)],
  [0x09, 'correlationData', 'binary', bits(PUBLISH, WILL)],
  [0x0b, 'subscriptionIdentifiers', 'varint', bits(PUBLISH, SUBSCRIBE)],
  [0x11, 'sessionExpiryInterval', 'u32', bits(CONNECT, CONNACK, DISCONNECT)],
  [0x12, 'assignedClientIdentifier', 'string', bits(CONNACK)],
  [0x13, 'serverKeepAlive', 'u16', bits(CONNACK)],
  [0x15, 'authenticationMethod', 'string', bits(CONNECT, CONNACK, AUTH)],
  [0x16, 'authenticationData', 'binary', bits(CONNECT, CONNACK, AUTH)],
  [0x17, 'requestProblemInformation', 'flag', bits(CONNECT)],
  [0x18, 'willDelayInterval', 'u32', bits(WILL)],
  [0x19, 'requestResponseInformation', 'flag', bits(CONNECT)],
  [0x1a, 'responseInformation', 'string', bits(CONNACK)],
  [0x1c, 'serverReference', 'string', bits(CONNACK, DISCONNECT)],
  [0x1f, 'reasonString', 'string', ACKS | bits(CONNACK, DISCONNECT, AUTH)],
  [0x21, 'receiveMaximum', 'u16', bits(CONNECT, CONNACK)],
  [0x22, 'topicAliasMaximum', 'u16', bits(CONNECT, CONNACK)],
  [0x23, 'topicAlias', 'u16', bits(PUBLISH)],
  [0x24, 'maximumQoS', 'byte', bits(CONNACK)],
  [0x25, 'retainAvailable', 'flag', bits(CONNACK)],
  [0x26, 'userProperties', 'pair', ACKS | bits(CONNECT, CONNACK, PUBLISH, WILL, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT, AUTH)],
  [0x27, 'maximumPacketSize', 'u32', bits(CONNECT, CONNACK)],
  [0x28, 'wildcardSubscriptionAvailable', 'flag', bits(CONNACK)],
  [0x29, 'subscriptionIdentifiersAvailable', 'flag', bits(CONNACK)],
  [0x2a, 'sharedSubscriptionAvailable', 'flag', bits(CONNACK)],
]

const BY_ID: readonly ((typeof TABLE)[number] | undefined)[] = Array.from({ length: 0x2b }, (_, id) =>
  TABLE.find((row) => row[0] === id),
)

const BY_NAME: ReadonlyMap<string, (typeof TABLE)[number]> = new Map(TABLE.map((row) => [row[1], row]))

/** A broken rule, reported by the decoder of the packet. */
export interface PropertyError {
  readonly reason: string
  readonly rule: string
  readonly reasonCode: number
  readonly limit?: string
}

const error = (reason: string, rule: string, reasonCode: number): PropertyError => ({ reason, rule, reasonCode })

/** A variable byte integer [5.0 section 1.5.5]; fails the reader if it has more than four bytes or is not minimal. */
function readVarint(reader: ByteReader, field: string): number {
  let value = 0
  for (let shift = 0; shift < 28; shift += 7) {
    const byte = reader.u8(field)
    value |= (byte & 0x7f) << shift
    if (byte < 0x80) {
      if (byte === 0 && shift > 0) reader.fail(`${field} is not minimal`)
      return value
    }
  }
  reader.fail(`${field} has more than four bytes`)
  return 0
}

/** Limits on the properties of one packet. */
export interface PropertyLimits {
  readonly maxUserProperties: number
  readonly maxPropertyBytes: number
}

/** A configured limit is reached: reason code 0x97. */
const beyond = (reason: string, limit: string): PropertyError => ({ ...error(reason, '5.0 section 2.2.2.2', 0x97), limit })

/** Reads the properties of a packet (`packet` is its type, or WILL). The caller checks the reader for errors. */
export function readProperties(reader: ByteReader, packet: number, limits: PropertyLimits): Properties | PropertyError {
  const { maxUserProperties, maxPropertyBytes } = limits
  const length = readVarint(reader, 'property length')
  if (length === 0) return NO_PROPERTIES
  const end = reader.at + length
  if (end > reader.end) {
    reader.fail('property length runs beyond the end')
    return NO_PROPERTIES
  }
  // Checked before they are read: each becomes text, and is sent to every receiver.
  if (length > maxPropertyBytes) return beyond(`${length} bytes of properties, of ${maxPropertyBytes}`, 'max_property_bytes')
  const properties: Record<string, unknown> = {}
  let pairs = 0
  while (reader.at < end && reader.error === '') {
    const id = readVarint(reader, 'property identifier')
    const row = BY_ID[id]
    if (row === undefined) return error(`unknown property 0x${id.toString(16)}`, '5.0 section 2.2.2.2', 0x81)
    const [, name, form, packets] = row
    if ((packets & (1 << packet)) === 0) return error(`${name} does not belong in this packet`, '5.0 section 2.2.2.2', 0x81)
    const known = properties[name]
    const value = readValue(reader, form, name)
    // A truncated property has no value to check.
    if (reader.at > end) reader.fail(`${name} runs beyond the properties`)
    if (reader.error !== '') return properties
    if (form === 'pair') {
      if (++pairs > maxUserProperties) return beyond(`more than ${maxUserProperties} user properties`, 'max_user_properties')
      if (known === undefined) properties[name] = [value]
      else (known as unknown[]).push(value)
    } else if (form === 'varint') {
      if (value === 0) return error('subscription identifier 0', '5.0 section 3.8.2.1.2', 0x82)
      if (known !== undefined && packet !== PUBLISH) return error('two subscription identifiers', '5.0 section 3.8.2.1.2', 0x82)
      if (known === undefined) properties[name] = [value]
      else (known as unknown[]).push(value)
    } else if (known !== undefined) return error(`${name} comes twice`, '5.0 section 2.2.2.2', 0x82)
    else properties[name] = value
    const wrong = valueError(name, value)
    if (wrong !== undefined) return wrong
  }
  if (reader.at !== end) reader.fail('properties run beyond their length')
  return properties
}

function readValue(reader: ByteReader, form: Form, name: string): unknown {
  switch (form) {
    case 'byte':
      return reader.u8(name)
    case 'flag': {
      const value = reader.u8(name)
      return value > 1 ? value : value === 1
    }
    case 'u16':
      return reader.u16(name)
    case 'u32':
      return reader.u32(name)
    case 'varint':
      return readVarint(reader, name)
    case 'string':
      // [MQTT-3.3.2-13] [MQTT-3.3.2-19]
      return reader.string(name)
    case 'binary':
      return reader.binary(name)
    case 'pair':
      // [MQTT-1.5.7-1]
      return [reader.string(name), reader.string(name)]
  }
}

function valueError(name: string, value: unknown): PropertyError | undefined {
  // [MQTT-3.3.2-14]
  if (name === 'responseTopic' && hasWildcard(value as string)) {
    return error('wildcard in the response topic', 'MQTT-3.3.2-14', 0x82)
  }
  if (typeof value !== 'number') return undefined
  const flag =
    name === 'payloadFormatIndicator' ||
    name === 'maximumQoS' ||
    name === 'requestProblemInformation' ||
    name === 'requestResponseInformation' ||
    name.endsWith('Available')
  if (flag && value > 1) return error(`${name} is ${value}`, '5.0 section 2.2.2.2', 0x82)
  if (value === 0 && (name === 'receiveMaximum' || name === 'maximumPacketSize'))
    return error(`${name} is 0`, '5.0 section 3.1.2.11', 0x82)
  // [MQTT-3.3.2-8]
  if (value === 0 && name === 'topicAlias') return error('topic alias 0', 'MQTT-3.3.2-8', 0x94)
  return undefined
}

/** Where a text or binary value of a property stands. */
export interface PropertySpan {
  readonly name: keyof Properties
  readonly form: 'string' | 'binary'
  readonly start: number
  readonly end: number
}

const FIXED_LENGTHS = { byte: 1, flag: 1, u16: 2, u32: 4 } as const

/** Returns where the texts and binary data of valid properties stand, whose length is at `at`, and where the properties end. */
export function propertySpans(bytes: Uint8Array, at: number): { readonly spans: PropertySpan[]; readonly end: number } {
  const spans: PropertySpan[] = []
  let next = at
  const varint = (): number => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[next++]!
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const length = varint()
  const end = next + length
  while (next < end) {
    const [, name, form] = BY_ID[varint()]!
    if (form === 'varint') varint()
    else if (form === 'string' || form === 'binary' || form === 'pair') {
      for (let count = form === 'pair' ? 2 : 1; count > 0; count--) {
        const start = next + 2
        next = start + bytes[next]! * 256 + bytes[next + 1]!
        spans.push({ name, form: form === 'binary' ? form : 'string', start, end: next })
      }
    } else next += FIXED_LENGTHS[form]
  }
  return { spans, end }
}

export const varintLength = (value: number): number => (value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : 4)

export function writeVarint(writer: ByteWriter, value: number): void {
  while (value >= 0x80) {
    writer.u8((value & 0x7f) | 0x80)
    value = Math.floor(value / 0x80)
  }
  writer.u8(value)
}

/** Size of the properties, without their length prefix. */
export function propertiesLength(properties: Properties): number {
  if (properties === NO_PROPERTIES) return 0
  let length = 0
  // There are one or two of 27.
  for (const name in properties) {
    const value = properties[name as Name]
    if (value !== undefined) length += valueLength(BY_NAME.get(name)![2], value)
  }
  return length
}

function valueLength(form: Form, value: unknown): number {
  switch (form) {
    case 'byte':
    case 'flag':
      return 2
    case 'u16':
      return 3
    case 'u32':
      return 5
    case 'varint':
      return (value as number[]).reduce((sum, id) => sum + 1 + varintLength(id), 0)
    case 'string':
      return 3 + utf8Length(value as string)
    case 'binary':
      return 3 + (value as Uint8Array).length
    case 'pair':
      return (value as [string, string][]).reduce((sum, [key, text]) => sum + 5 + utf8Length(key) + utf8Length(text), 0)
  }
}

/** Writes length and properties. */
export function writeProperties(writer: ByteWriter, properties: Properties, length = propertiesLength(properties)): void {
  // [MQTT-2.2.2-1]
  writeVarint(writer, length)
  if (length > 0) writePropertyFields(writer, properties)
}

/** Writes properties without their length. */
export function writePropertyFields(writer: ByteWriter, properties: Properties): void {
  let only: string | undefined
  let count = 0
  for (const name in properties) {
    only = name
    count++
  }
  if (count === 1) writeRow(writer, properties, BY_NAME.get(only!)!)
  else for (const row of TABLE) writeRow(writer, properties, row)
}

function writeRow(writer: ByteWriter, properties: Properties, [id, name, form]: (typeof TABLE)[number]): void {
  const value = properties[name]
  if (value !== undefined) writeValue(writer, id, form, value)
}

function writeValue(writer: ByteWriter, id: number, form: Form, value: unknown): void {
  if (form === 'varint')
    for (const one of value as number[]) {
      writer.u8(id)
      writeVarint(writer, one)
    }
  else if (form === 'pair')
    // [MQTT-3.1.3-10] [MQTT-3.3.2-18]
    for (const [key, text] of value as [string, string][]) {
      writer.u8(id)
      writer.string(key)
      writer.string(text)
    }
  else {
    writer.u8(id)
    if (form === 'byte' || form === 'flag') writer.u8(Number(value))
    else if (form === 'u16') writer.u16(value as number)
    else if (form === 'u32') writer.u32(value as number)
    else if (form === 'string') writer.string(value as string)
    else writer.binary(value as Uint8Array)
  }
}
