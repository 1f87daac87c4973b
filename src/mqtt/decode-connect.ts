import type { ByteReader } from '../base/bytes.ts'
import { type Connect, PacketType, type Will } from './packets.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import { type PropertyError, type PropertyLimits, readProperties, WILL } from './properties-codec.ts'
import type { ProtocolVersion, QoS } from './publish.ts'
import { topicNameError } from './topics.ts'

/** A CONNECT that cannot be accepted, and the protocol version of the answer. */
export interface ConnectError {
  readonly kind: 'error'
  readonly reason: string
  readonly rule: string
  readonly reasonCode: number
  readonly version?: ProtocolVersion
  readonly limit?: string
}

/** Reads the body of CONNECT [5.0 section 3.1]; the caller checks the reader for errors. */
export function connectOf(reader: ByteReader, limits: PropertyLimits): Connect | ConnectError {
  const protocol = reader.string('protocol name')
  const level = reader.u8('protocol level')
  if (reader.error !== '') return fail(reader.error, '5.0 section 3.1.2', 0x81)
  const named = protocol === 'MQIsdp' ? 3 : protocol === 'MQTT' ? 4 : 0
  // [MQTT-3.1.2-1]
  if (named === 0) return fail('unknown protocol name', 'MQTT-3.1.2-1', 0x81)
  // Mosquitto's bridges set the high bit of the protocol level, before 5.0.
  const bridge = level === 0x83 || level === 0x84
  const version = level & 0x7f
  const known = named === 3 ? version === 3 : version === 4 || level === 5
  // [MQTT-3.1.2-2]
  if (!known || (level > 5 && !bridge))
    return { ...fail(`protocol level ${level}`, 'MQTT-3.1.2-2', 0x84), version: named === 4 && level > 4 && !bridge ? 5 : 4 }
  return withVersion(reader, version as ProtocolVersion, bridge, limits)
}

function withVersion(
  reader: ByteReader,
  version: ProtocolVersion,
  bridge: boolean,
  limits: PropertyLimits,
): Connect | ConnectError {
  const wrong = (reason: string, rule: string, reasonCode = 0x81): ConnectError => ({
    ...fail(reason, rule, reasonCode),
    version,
  })
  const flags = reader.u8('connect flags')
  const keepAlive = reader.u16('keep alive')
  // MQTT 3.1 reserves no flag here.
  // [MQTT-3.1.2-3]
  if (flags & 1 && version > 3) return wrong('reserved connect flag', 'MQTT-3.1.2-3')
  const hasWill = (flags & 4) !== 0
  const willQoS = (flags >> 3) & 3
  // MQTT 3.1 ignores will flags without a will.
  if (hasWill || version > 3) {
    // [MQTT-3.1.2-12]
    if (willQoS === 3) return wrong('will QoS 3', 'MQTT-3.1.2-12')
    // [MQTT-3.1.2-11]
    if (!hasWill && willQoS !== 0) return wrong('will QoS without a will', 'MQTT-3.1.2-11')
    // [MQTT-3.1.2-13]
    if (!hasWill && flags & 0x20) return wrong('will retain without a will', 'MQTT-3.1.2-13')
  }
  // [3.1.1 MQTT-3.1.2-22]
  if (version < 5 && (flags & 0xc0) === 0x40) return wrong('password without user name', '3.1.1 MQTT-3.1.2-22')
  const properties = version === 5 ? readProperties(reader, PacketType.CONNECT, limits) : NO_PROPERTIES
  if ('rule' in properties) return { kind: 'error', version, ...(properties as PropertyError) }
  if (reader.error === '' && properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
    return wrong('authentication data without method', '5.0 section 3.1.2.11.10', 0x82)
  }
  // [MQTT-3.1.3-3] [MQTT-3.1.3-4]
  const clientId = reader.string('client id')
  // [MQTT-3.1.2-9]
  const will = hasWill ? willOf(reader, version, flags, limits) : undefined
  if (will !== undefined && 'rule' in will) return { kind: 'error', version, ...will }
  // In MQTT 3.1 the end of the packet overrides the flags: both fields may be missing.
  const mayEnd = (): boolean => version === 3 && reader.remaining === 0 && reader.error === ''
  // [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.3-12]
  const username = flags & 0x80 && !mayEnd() ? reader.string('user name') : undefined
  // [MQTT-3.1.2-18] [MQTT-3.1.2-19]
  const password = flags & 0x40 && !mayEnd() ? reader.binary('password') : undefined
  if (reader.error !== '') return wrong(reader.error, 'MQTT-3.1.3-1')
  return {
    type: PacketType.CONNECT,
    protocolVersion: version,
    bridge,
    clientId,
    cleanStart: (flags & 2) !== 0,
    keepAlive,
    will,
    username,
    password,
    properties: properties as Properties,
  }
}

function willOf(reader: ByteReader, version: ProtocolVersion, flags: number, limits: PropertyLimits): Will | PropertyError {
  const properties = version === 5 ? readProperties(reader, WILL, limits) : NO_PROPERTIES
  if ('rule' in properties) return properties as PropertyError
  // [MQTT-3.1.3-1] [MQTT-3.1.3-11]
  const topic = reader.string('will topic')
  const payload = reader.binary('will payload')
  if (reader.error === '') {
    const wrong = topicNameError(topic)
    if (wrong !== '') return { reason: `will topic: ${wrong}`, rule: 'MQTT-4.7.3-1', reasonCode: 0x90 }
  }
  const { correlationData } = properties as Properties
  // Copied, because the session keeps them, and would keep the whole read buffer.
  const own = correlationData === undefined ? {} : { correlationData: new Uint8Array(correlationData) }
  return {
    topic,
    payload: new Uint8Array(payload),
    qos: ((flags >> 3) & 3) as QoS,
    retain: (flags & 0x20) !== 0,
    properties: properties === NO_PROPERTIES ? NO_PROPERTIES : { ...(properties as Properties), ...own },
  }
}

const fail = (reason: string, rule: string, reasonCode: number): ConnectError => ({ kind: 'error', reason, rule, reasonCode })
