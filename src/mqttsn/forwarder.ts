import { pooledBytes } from '../base/bytes.ts'
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

export function wrap(nodeId: Uint8Array, message: Uint8Array, radius = 0): Uint8Array {
  const wrapped = pooledBytes(3 + nodeId.length + message.length)
  wrapped[0] = 3 + nodeId.length
  wrapped[1] = FORWARDER_ENCAPSULATION
  wrapped[2] = radius
  wrapped.set(nodeId, 3)
  wrapped.set(message, 3 + nodeId.length)
  return wrapped
}

const malformed = (reason: string): Malformed => ({ kind: 'malformed', reason, rule: '1.2 section 5.5', reasonCode: 0x81 })
