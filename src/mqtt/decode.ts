import { ByteReader } from '../base/bytes.ts'
import type { Malformed } from '../base/malformed.ts'
import { connectOf } from './decode-connect.ts'
import { type Packet, PacketType, type PublishResponse, type SubscriptionRequest } from './packets.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import { type PropertyError, type PropertyLimits, readProperties, varintLength } from './properties-codec.ts'
import type { ProtocolVersion, QoS } from './publish.ts'
import { Publish } from './publish.ts'
import { mayCarry, ReasonCode, reasonCodeOf } from './reason-codes.ts'
import { type Remembered, TopicNames } from './topic-names.ts'
import { topicFilterError } from './topics.ts'

/** Maximum user properties of one packet: each costs far more memory than it costs to send. */
const PROPERTY_LIMITS: PropertyLimits = { maxUserProperties: 1000, maxPropertyBytes: Number.POSITIVE_INFINITY }

/** Default maximum of topic filters in one packet: reading all that fit into the largest would take a tenth of a second. */
export const FILTERS_MAX = 10_000

const NOTHING = new Uint8Array(0)

const FROM_CLIENT: readonly number[] = [1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15]
const FROM_SERVER: readonly number[] = [2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15]

/** Decodes the packets that a `Framer` has found, for one connection: remembers the version and the topics seen. */
export class PacketDecoder {
  /** Set by CONNECT. */
  version: ProtocolVersion
  /** The error for which `decode` returned `undefined`. */
  error: Malformed | undefined = undefined
  /** CONNECT has been read, which sets the version once. */
  #connected = false
  readonly #types: readonly number[]
  readonly #reader = new ByteReader(NOTHING)
  readonly #topics: TopicNames

  readonly #propertyLimits: PropertyLimits
  readonly #maxFilters: number

  constructor(
    sender: 'client' | 'server',
    version: ProtocolVersion = 4,
    propertyLimits = PROPERTY_LIMITS,
    maxFilters = FILTERS_MAX,
    remembered?: Remembered,
  ) {
    this.#topics = new TopicNames(remembered)
    this.version = version
    this.#propertyLimits = propertyLimits
    this.#maxFilters = maxFilters
    this.#types = sender === 'client' ? FROM_CLIENT : FROM_SERVER
  }

  /** Releases the bytes that were read last. */
  release(): void {
    this.#reader.reset(NOTHING, 0, 0)
  }

  /** Decodes the packet in [start, end), whose fixed header ends at `bodyStart`. */
  decode(bytes: Uint8Array, start: number, bodyStart: number, end: number): Packet | undefined {
    const first = bytes[start]!
    if (first >> 4 === PacketType.PUBLISH) return this.#publish(bytes, start, bodyStart, end)
    if (end - bodyStart === 2 && isResponse(first)) {
      const packetId = (bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!
      if (packetId !== 0)
        return { type: (first >> 4) as PublishResponse['type'], packetId, reasonCode: 0, properties: NO_PROPERTIES }
    }
    return this.#other(first >> 4, first & 15, bytes, start, bodyStart, end)
  }

  #publish(bytes: Uint8Array, start: number, bodyStart: number, end: number): Publish | undefined {
    const flags = bytes[start]! & 15
    const qos = ((flags >> 1) & 3) as QoS
    // [MQTT-3.3.1-4]
    if ((qos as number) === 3) return this.#fail('QoS 3', 'MQTT-3.3.1-4', 0x81)
    // [MQTT-3.3.1-2]
    if (qos === 0 && flags & 8) return this.#fail('DUP with QoS 0', 'MQTT-3.3.1-2', 0x81)
    let at = bodyStart + 2
    if (at > end) return this.#fail('topic runs beyond the end', undefined, 0x81)
    const topicEnd = at + ((bytes[bodyStart]! << 8) | bytes[bodyStart + 1]!)
    const idEnd = qos === 0 ? topicEnd : topicEnd + 2
    if (idEnd > end)
      return this.#fail(topicEnd > end ? 'topic runs beyond the end' : 'packet id runs beyond the end', undefined, 0x81)
    let topic = ''
    if (topicEnd > at) {
      const name = this.#topics.read(bytes, at, topicEnd)
      if (name === undefined) return this.#fail(this.#topics.error, this.#topics.rule, this.#topics.reasonCode)
      topic = name
    }
    let packetId = 0
    if (qos > 0) {
      packetId = (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
      if (packetId === 0) return this.#fail('packet id 0', 'MQTT-2.2.1-3', 0x82)
    }
    at = idEnd
    let properties: Properties = NO_PROPERTIES
    if (this.version === 5) {
      // The usual case, no properties at all, without the reader.
      if (at < end && bytes[at] === 0) at++
      else {
        const reader = this.#reader
        reader.reset(bytes, at, end)
        const read = this.#properties(reader, PacketType.PUBLISH)
        if (read === undefined) return undefined
        // [MQTT-3.3.4-6]
        if (read.subscriptionIdentifiers !== undefined && this.#types === FROM_CLIENT) {
          return this.#fail('a subscription identifier from a client', 'MQTT-3.3.4-6', 0x82)
        }
        properties = read
        at = reader.at
      }
    }
    if (topic === '' && properties.topicAlias === undefined) return this.#fail('empty topic', 'MQTT-4.7.3-1', 0x82)
    return new Publish(
      topic,
      qos,
      (flags & 1) !== 0,
      (flags & 8) !== 0,
      packetId,
      properties,
      bytes,
      at,
      end,
      start,
      this.version,
    )
  }

  #other(type: number, flags: number, bytes: Uint8Array, start: number, bodyStart: number, end: number): Packet | undefined {
    if (!this.#types.includes(type) || (type === PacketType.AUTH && this.version < 5)) {
      return this.#fail(`packet type ${type} is not for this side to send`, undefined, 0x82)
    }
    const wanted = type === PacketType.PUBREL || type === PacketType.SUBSCRIBE || type === PacketType.UNSUBSCRIBE ? 2 : 0
    // In MQTT 3.1 packets with QoS 1 may have DUP set, and CONNECT does not use the flags: Mosquitto does not check them.
    const isUnused =
      this.version === 3 ? wanted === 2 && flags === 10 : type === PacketType.CONNECT && isMqtt31(bytes, bodyStart, end)
    // [MQTT-2.1.3-1] [MQTT-3.6.1-1] [MQTT-3.8.1-1] [MQTT-3.10.1-1] [MQTT-3.14.1-1] [MQTT-3.15.1-1]
    if (flags !== wanted && !isUnused)
      return this.#fail(`flags ${flags} of packet type ${type} are reserved`, 'MQTT-2.1.3-1', 0x81)
    const reader = this.#reader
    reader.reset(bytes, bodyStart, end)
    const packet = this.#body(type, reader)
    if (packet === undefined) return undefined
    if (type === PacketType.CONNECT && this.version === 5 && bodyStart - start - 1 > varintLength(end - bodyStart)) {
      return this.#fail('remaining length is not minimal', 'MQTT-1.5.5-1', 0x81)
    }
    if (reader.error !== '') return this.#fail(reader.error, ruleOf(reader.error), 0x81)
    // [MQTT-3.1.4-1]
    if (reader.remaining > 0) return this.#fail(`${reader.remaining} bytes left behind the last field`, undefined, 0x81)
    return packet
  }

  #body(type: number, reader: ByteReader): Packet | undefined {
    switch (type) {
      case PacketType.CONNECT:
        return this.#connect(reader)
      case PacketType.CONNACK:
        return this.#connack(reader)
      case PacketType.SUBSCRIBE:
        return this.#subscribe(reader)
      case PacketType.UNSUBSCRIBE:
        return this.#unsubscribe(reader)
      case PacketType.SUBACK:
      case PacketType.UNSUBACK:
        return this.#listAck(type, reader)
      case PacketType.PINGREQ:
      case PacketType.PINGRESP:
        return { type }
      case PacketType.DISCONNECT:
      case PacketType.AUTH:
        return this.#reasoned(type, reader)
      default:
        return this.#response(type as PublishResponse['type'], reader)
    }
  }

  #connect(reader: ByteReader): Packet | undefined {
    // Checked first: the refusal has to be in a format that the client's version understands.
    // [MQTT-3.1.0-2]
    if (this.#connected) return this.#fail('second CONNECT', 'MQTT-3.1.0-2', 0x82)
    this.#connected = true
    const connect = connectOf(reader, this.#propertyLimits)
    if ('kind' in connect) {
      if (connect.version !== undefined) this.version = connect.version
      return this.#fail(connect.reason, connect.rule, connect.reasonCode, connect.limit)
    }
    this.version = connect.protocolVersion
    return connect
  }

  #connack(reader: ByteReader): Packet | undefined {
    const flags = reader.u8('acknowledge flags')
    if (flags > 1) return this.#fail('reserved acknowledge flags', 'MQTT-3.2.2-1', 0x81)
    const code = reader.u8('reason code')
    if (this.version === 5 && !mayCarry(PacketType.CONNACK, code)) {
      return this.#fail(`reason code ${code} does not belong here`, 'MQTT-3.2.2-8', 0x82)
    }
    const properties = this.version === 5 ? this.#properties(reader, PacketType.CONNACK) : NO_PROPERTIES
    if (properties === undefined) return undefined
    const reasonCode = this.version === 5 ? code : reasonCodeOf(code)
    return { type: PacketType.CONNACK, sessionPresent: flags === 1, reasonCode, properties }
  }

  #response(type: PublishResponse['type'], reader: ByteReader): Packet | undefined {
    const packetId = reader.u16('packet id')
    if (packetId === 0 && reader.error === '') return this.#fail('packet id 0', 'MQTT-2.2.1-3', 0x82)
    let reasonCode = 0
    let properties: Properties | undefined = NO_PROPERTIES
    // The short forms: without properties, or without reason code too [5.0 section 3.4.2.1].
    if (this.version === 5 && reader.remaining > 0) {
      reasonCode = reader.u8('reason code')
      if (!mayCarry(type, reasonCode)) return this.#fail(`reason code ${reasonCode} does not belong here`, 'MQTT-3.4.2-1', 0x82)
      if (reader.remaining > 0) properties = this.#properties(reader, type)
    }
    return properties && { type, packetId, reasonCode, properties }
  }

  #subscribe(reader: ByteReader): Packet | undefined {
    const packetId = reader.u16('packet id')
    if (packetId === 0 && reader.error === '') return this.#fail('packet id 0', 'MQTT-2.2.1-3', 0x82)
    const properties = this.version === 5 ? this.#properties(reader, PacketType.SUBSCRIBE) : NO_PROPERTIES
    if (properties === undefined) return undefined
    const subscriptions: SubscriptionRequest[] = []
    while (reader.remaining > 0) {
      const filter = reader.string('topic filter')
      const options = reader.u8('subscription options')
      if (reader.error !== '') break
      if (subscriptions.length === this.#maxFilters) return this.#tooManyFilters()
      const wrong = topicFilterError(filter)
      if (wrong !== '') return this.#fail(wrong, filterRule(wrong), 0x81)
      // [MQTT-3.8.3-5]
      if (options & (this.version === 5 ? 0xc0 : 0xfc)) return this.#fail('reserved subscription options', 'MQTT-3.8.3-5', 0x81)
      if ((options & 3) === 3) return this.#fail('QoS 3', '5.0 section 3.8.3.1', 0x82)
      if ((options & 0x30) === 0x30) return this.#fail('retain handling 3', '5.0 section 3.8.3.1', 0x82)
      const noLocal = (options & 4) !== 0
      // [MQTT-3.8.3-4]
      if (noLocal && filter.startsWith('$share/')) return this.#fail('No Local on a shared subscription', 'MQTT-3.8.3-4', 0x82)
      subscriptions.push({
        filter,
        qos: (options & 3) as QoS,
        noLocal,
        retainAsPublished: (options & 8) !== 0,
        retainHandling: ((options >> 4) & 3) as 0 | 1 | 2,
      })
    }
    // [MQTT-3.8.3-2]
    if (subscriptions.length === 0 && reader.error === '') return this.#fail('no topic filter', 'MQTT-3.8.3-2', 0x82)
    return { type: PacketType.SUBSCRIBE, packetId, subscriptions, properties }
  }

  #unsubscribe(reader: ByteReader): Packet | undefined {
    const packetId = reader.u16('packet id')
    if (packetId === 0 && reader.error === '') return this.#fail('packet id 0', 'MQTT-2.2.1-3', 0x82)
    const properties = this.version === 5 ? this.#properties(reader, PacketType.UNSUBSCRIBE) : NO_PROPERTIES
    if (properties === undefined) return undefined
    const filters: string[] = []
    while (reader.remaining > 0) {
      const filter = reader.string('topic filter')
      if (reader.error !== '') break
      if (filters.length === this.#maxFilters) return this.#tooManyFilters()
      const wrong = topicFilterError(filter)
      if (wrong !== '') return this.#fail(wrong, filterRule(wrong), 0x81)
      filters.push(filter)
    }
    // [MQTT-3.10.3-2]
    if (filters.length === 0 && reader.error === '') return this.#fail('no topic filter', 'MQTT-3.10.3-2', 0x82)
    return { type: PacketType.UNSUBSCRIBE, packetId, filters, properties }
  }

  #tooManyFilters(): undefined {
    const reason = `more than ${this.#maxFilters} topic filters in one packet`
    return this.#fail(reason, undefined, ReasonCode.QUOTA_EXCEEDED, 'max_subscriptions_per_session')
  }

  #listAck(type: typeof PacketType.SUBACK | typeof PacketType.UNSUBACK, reader: ByteReader): Packet | undefined {
    const packetId = reader.u16('packet id')
    if (packetId === 0 && reader.error === '') return this.#fail('packet id 0', 'MQTT-2.2.1-3', 0x82)
    const properties = this.version === 5 ? this.#properties(reader, type) : NO_PROPERTIES
    if (properties === undefined) return undefined
    const reasonCodes: number[] = []
    if (type === PacketType.SUBACK || this.version === 5) while (reader.remaining > 0) reasonCodes.push(reader.u8('reason code'))
    return { type, packetId, reasonCodes, properties }
  }

  #reasoned(type: typeof PacketType.DISCONNECT | typeof PacketType.AUTH, reader: ByteReader): Packet | undefined {
    let reasonCode: number = ReasonCode.SUCCESS
    let properties: Properties | undefined = NO_PROPERTIES
    if (this.version === 5 && reader.remaining > 0) {
      reasonCode = reader.u8('reason code')
      if (!mayCarry(type, reasonCode)) return this.#fail(`reason code ${reasonCode} does not belong here`, 'MQTT-3.14.2-1', 0x82)
      if (reader.remaining > 0) properties = this.#properties(reader, type)
    }
    return properties && { type, reasonCode, properties }
  }

  #properties(reader: ByteReader, type: number): Properties | undefined {
    const properties = readProperties(reader, type, this.#propertyLimits)
    if (reader.error !== '') return this.#fail(reader.error, ruleOf(reader.error), 0x81)
    if ('rule' in properties) {
      const { reason, rule, reasonCode, limit } = properties as PropertyError
      return this.#fail(reason, rule, reasonCode, limit)
    }
    return properties as Properties
  }

  #fail(reason: string, rule: string | undefined, reasonCode: number, limit?: string): undefined {
    const more = { ...(rule !== undefined && { rule }), ...(limit !== undefined && { limit }) }
    this.error = { kind: 'malformed', reason, reasonCode, ...more }
  }
}

/** Whether a packet with these flags is PUBACK, PUBREC, PUBREL or PUBCOMP. Their short form is read without the reader: 30 ns less. */
const isResponse = (first: number): boolean => first === 0x40 || first === 0x50 || first === 0x62 || first === 0x70

const MQTT_31 = [0, 6, 0x4d, 0x51, 0x49, 0x73, 0x64, 0x70]

/** Whether the body of a CONNECT names MQTT 3.1. */
const isMqtt31 = (bytes: Uint8Array, start: number, end: number): boolean =>
  start + MQTT_31.length <= end && MQTT_31.every((byte, i) => bytes[start + i] === byte)

/** The normative statement behind an invalid string. */
function ruleOf(error: string): string | undefined {
  if (error.startsWith('U+0000')) return 'MQTT-1.5.4-2'
  return error.startsWith('ill-formed') ? 'MQTT-1.5.4-1' : undefined
}

/** The normative statement behind an error of `topicFilterError`. */
function filterRule(error: string): string {
  if (error.startsWith('empty')) return 'MQTT-4.7.3-1'
  return error.startsWith('#') ? 'MQTT-4.7.1-1' : 'MQTT-4.7.1-2'
}
