import { type ByteWriter, ByteWriter as Writer } from '../base/bytes.ts'
import type { Malformed } from '../base/malformed.ts'
import { FORWARDER_ENCAPSULATION } from './messages.ts'

/** An encapsulated message: its node, and its position in the datagram [1.2 section 5.5]. */
export interface Encapsulated {
  /** 1 to 252 octets (ruling A26), a view. */
  readonly nodeId: Uint8Array
  /** Broadcast radius, 0 to 3. */
  readonly radius: number
  readonly start: number
  readonly end: number
}

/**
 * Returns `undefined` for a datagram that is not encapsulated. The Length of an encapsulation covers its header only, up
 * to the node id.
 */
export function unwrap(bytes: Uint8Array): Encapsulated | Malformed | undefined {
  if (bytes.length < 2 || bytes[1] !== FORWARDER_ENCAPSULATION) return undefined
  const header = bytes[0]!
  if (header < 4 || header > bytes.length) return malformed(`encapsulation header of ${header} octets`)
  if (header === bytes.length) return malformed('nothing is encapsulated')
  if (bytes[header + 1] === FORWARDER_ENCAPSULATION) return malformed('encapsulation in an encapsulation')
  return { nodeId: bytes.subarray(3, header), radius: bytes[2]! & 3, start: header, end: bytes.length }
}

/** Begins a datagram for a node behind a forwarder; the message follows. */
export function writeEnvelope(w: ByteWriter, nodeId: Uint8Array, radius: number): void {
  w.u8(3 + nodeId.length)
  w.u8(FORWARDER_ENCAPSULATION)
  w.u8(radius)
  for (let i = 0; i < nodeId.length; i++) w.u8(nodeId[i]!)
}

export function wrap(nodeId: Uint8Array, message: Uint8Array, radius = 0): Uint8Array {
  const w = new Writer(3 + nodeId.length + message.length)
  writeEnvelope(w, nodeId, radius)
  w.raw(message)
  return w.toBytes()
}

const malformed = (reason: string): Malformed => ({ kind: 'malformed', reason, rule: '1.2 section 5.5', reasonCode: 0x81 })
