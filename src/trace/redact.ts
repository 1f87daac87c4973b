import { utf8Length } from '../base/bytes.ts'
import type { Connect, Packet } from '../mqtt/packets.ts'
import { PacketType } from '../mqtt/packets.ts'
import { type Message, MsgType } from '../mqttsn/messages.ts'
import type { StreamEvent, TraceEvent } from './event.ts'

/** Octets of the length before a string or binary data. */
const LENGTH = 2

/**
 * Returns a copy of the packet's bytes in which zeros stand for what a trace must not contain: passwords and authentication
 * data, and, unless `payloads`, payloads and the messages of wills. Of a packet that cannot be read, in which nobody knows where
 * that is, everything is zero but its first two bytes. Sizes stay, so that the packet is still dissected.
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
  if (packet.type === PacketType.PUBLISH && !payloads) bytes.fill(0, bytes.length - packet.payloadLength)
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

/** The will, the user name and the password are the last fields [5.0 section 3.1.3]. */
function redactConnect(bytes: Uint8Array, { password, username, will }: Connect, payloads: boolean): void {
  let end = bytes.length
  if (password !== undefined) {
    bytes.fill(0, end - password.length, end)
    end -= password.length + LENGTH
  }
  if (username !== undefined) end -= utf8Length(username) + LENGTH
  if (will !== undefined && !payloads) bytes.fill(0, end - will.payload.length, end)
}

/** Payload and message of a will are the last field. */
function redactMessage(bytes: Uint8Array, message: Message): void {
  if (message.type === MsgType.PUBLISH) bytes.fill(0, bytes.length - message.data.length)
  else if (message.type === MsgType.WILLMSG || message.type === MsgType.WILLMSGUPD)
    bytes.fill(0, bytes.length - message.message.length)
}
