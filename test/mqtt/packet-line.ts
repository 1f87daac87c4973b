import { type Packet, PacketType } from '../../src/mqtt/packets.ts'

const NAMES = ['', ...Object.keys(PacketType)]

/** What a packet says, for people: `CONNACK present`, `a/b=x q1 #1 dup retain ids 3,9`, `PUBACK #1 0x10`, `DISCONNECT 0x8e`. */
export function packetLine(packet: Packet): string {
  if (packet.type === PacketType.PUBLISH) {
    const { topic, payload, qos, packetId, dup, retain, properties } = packet
    const id = packetId === 0 ? '' : ` #${packetId}`
    const flags = `${dup ? ' dup' : ''}${retain ? ' retain' : ''}`
    const ids = properties.subscriptionIdentifiers
    return `${topic}=${Buffer.from(payload).toString()} q${qos}${id}${flags}${ids === undefined ? '' : ` ids ${ids.join()}`}`
  }
  const words = [NAMES[packet.type]!]
  if ('packetId' in packet) words.push(`#${packet.packetId}`)
  if ('reasonCodes' in packet) words.push(...packet.reasonCodes.map(hex))
  if ('reasonCode' in packet && packet.reasonCode !== 0) words.push(hex(packet.reasonCode))
  if ('sessionPresent' in packet && packet.sessionPresent) words.push('present')
  return words.join(' ')
}

const hex = (code: number): string => `0x${code.toString(16).padStart(2, '0')}`
