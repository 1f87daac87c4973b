import { utf8Length } from '../base/bytes.ts'
import type { Connect, Packet } from '../mqtt/packets.ts'
import { PacketType } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import { propertySpans } from '../mqtt/properties-codec.ts'
import type { Publish } from '../mqtt/publish.ts'
import { type Message, MsgType } from '../mqttsn/messages.ts'
import type { StreamEvent, TraceEvent } from './event.ts'

/** Octets of the length before a string or binary data. */
const LENGTH = 2
const PACKET_ID = 2
const LEVEL_FLAGS_KEEP_ALIVE = 4

/** What a publisher says of its payload: hidden where that is. */
const OF_PAYLOADS: ReadonlySet<keyof Properties> = new Set(['userProperties', 'correlationData', 'contentType', 'responseTopic'])
/** The character 0 stands for what is hidden in a text, because U+0000 may not be in one. */
const ZERO = 0x30

/**
 * Returns a copy of the packet's bytes in which zeros stand for what a trace must not contain: passwords and authentication
 * data, and, unless `payloads`, payloads and the messages of wills with what `OF_PAYLOADS` names. Of a packet that cannot be read, in
 * which nobody knows where that is, everything is zero but its first two bytes. Sizes stay, so that the packet is still dissected.
 */
export function redacted(event: TraceEvent, payloads: boolean): Uint8Array {
  const bytes = new Uint8Array(event.bytes)
  const { packet } = event
  if ('kind' in packet) {
    if (!payloads || hasSecrets(event)) bytes.fill(0, 2)
    return bytes
  }
  if (event.protocol === 'mqtt') redactPacket(bytes, event, packet as Packet, payloads)
  else if (!payloads) redactMessage(bytes, packet as Message)
  return bytes
}

function hasSecrets({ protocol, bytes }: TraceEvent): boolean {
  const type = bytes[0]! >> 4
  return protocol === 'mqtt' && (type === PacketType.CONNECT || type === PacketType.CONNACK || type === PacketType.AUTH)
}

function redactPacket(bytes: Uint8Array, event: StreamEvent, packet: Packet, payloads: boolean): void {
  if (packet.type === PacketType.PUBLISH && !payloads) redactPublish(bytes, packet)
  if (packet.type === PacketType.CONNECT) redactConnect(bytes, packet, payloads)
  if ('properties' in packet) {
    const { authenticationData } = packet.properties
    // A view of the bytes that were decoded.
    if (authenticationData !== undefined && authenticationData.length > 0) {
      const at = authenticationData.byteOffset - event.bytes.byteOffset
      bytes.fill(0, at, at + authenticationData.length)
    }
  }
}

function redactPublish(bytes: Uint8Array, { payloadLength, qos, properties }: Publish): void {
  bytes.fill(0, bytes.length - payloadLength)
  if (properties === NO_PROPERTIES) return
  const topicEnd = afterString(bytes, bodyOf(bytes))
  redactProperties(bytes, topicEnd + (qos > 0 ? PACKET_ID : 0))
}

/** Where the properties end that begin with their length at `at`. */
function redactProperties(bytes: Uint8Array, at: number): number {
  const { spans, end } = propertySpans(bytes, at)
  for (const { name, form, start, end: spanEnd } of spans)
    if (OF_PAYLOADS.has(name)) bytes.fill(form === 'string' ? ZERO : 0, start, spanEnd)
  return end
}

/** Where the length in the fixed header ends. */
function bodyOf(bytes: Uint8Array): number {
  let at = 1
  while (bytes[at]! >= 0x80) at++
  return at + 1
}

const afterString = (bytes: Uint8Array, at: number): number => at + LENGTH + bytes[at]! * 256 + bytes[at + 1]!

/** Of a CONNECT of MQTT 5: its own properties and the client id stand before those of the will. */
function redactWillProperties(bytes: Uint8Array): void {
  const own = afterString(bytes, bodyOf(bytes)) + LEVEL_FLAGS_KEEP_ALIVE
  redactProperties(bytes, afterString(bytes, propertySpans(bytes, own).end))
}

/** The will, the user name and the password are the last fields [5.0 section 3.1.3]. */
function redactConnect(bytes: Uint8Array, { password, username, will, protocolVersion }: Connect, payloads: boolean): void {
  let end = bytes.length
  if (password !== undefined) {
    bytes.fill(0, end - password.length, end)
    end -= password.length + LENGTH
  }
  if (username !== undefined) end -= utf8Length(username) + LENGTH
  if (will === undefined || payloads) return
  bytes.fill(0, end - will.payload.length, end)
  if (protocolVersion === 5) redactWillProperties(bytes)
}

/** Payload and message of a will are the last field. */
function redactMessage(bytes: Uint8Array, message: Message): void {
  if (message.type === MsgType.PUBLISH) bytes.fill(0, bytes.length - message.data.length)
  else if (message.type === MsgType.WILLMSG || message.type === MsgType.WILLMSGUPD)
    bytes.fill(0, bytes.length - message.message.length)
}
