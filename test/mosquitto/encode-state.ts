import { ByteWriter } from '../../src/base/bytes.ts'
import type { FileBytes } from '../../src/mosquitto/persistence-file.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { writeProperties } from '../../src/mqtt/properties-codec.ts'

// What Mosquitto writes to mosquitto.db, written independently of how Roost reads it: for formats that no program here writes.

export interface Layout {
  readonly format: 5 | 6
  /** Of the machine: 32-bit Intel pads structs less, and MIPS has the other byte order. */
  readonly machine: 'x86-64' | 'i386' | 'mips'
}

export interface EncodedMessage {
  readonly number: bigint
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: number
  readonly retain: boolean
  readonly sourceId: string
  readonly sourceUsername: string
  readonly expiresAt: number
  readonly properties: Properties
}

export interface EncodedSession {
  readonly clientId: string
  readonly username: string
  readonly expiresAt: number
  readonly expiry: number
  readonly lastPacketId: number
}

export interface EncodedPlace {
  readonly number: bigint
  readonly clientId: string
  readonly packetId: number
  readonly qos: number
  readonly state: number
  readonly retain: boolean
  readonly direction: 0 | 1
  readonly identifier: number
}

export interface EncodedSubscription {
  readonly clientId: string
  readonly filter: string
  readonly qos: number
  readonly options: number
  readonly identifier: number
}

const MAGIC = '\0\u00b5\0mosquitto db'

/** Writes a file chunk by chunk. */
export class StateEncoder {
  readonly #layout: Layout
  readonly #out = new ByteWriter()

  constructor(layout: Layout = { format: 6, machine: 'x86-64' }, lastNumber = 100n, atEnd = true) {
    this.#layout = layout
    this.#out.raw(Buffer.from(MAGIC, 'latin1'))
    this.#out.u32(0)
    this.#out.u32(layout.format)
    this.chunk(1, (w) => {
      this.#machine64(w, lastNumber)
      w.u8(atEnd ? 1 : 0)
      w.u8(8)
      w.raw(new Uint8Array(layout.machine === 'i386' ? 2 : 6))
    })
  }

  chunk(kind: number, write: (w: ByteWriter) => void): this {
    const body = new ByteWriter()
    write(body)
    this.#out.u32(kind)
    this.#out.u32(body.length)
    this.#out.raw(body.toBytes())
    return this
  }

  message({ number, topic, payload, qos, retain, sourceId, sourceUsername, expiresAt, properties }: EncodedMessage): this {
    return this.chunk(2, (w) => {
      this.#machine64(w, number)
      this.#machine64(w, BigInt(expiresAt))
      w.u32(payload.length)
      w.u16(0)
      w.u16(Buffer.byteLength(sourceId))
      w.u16(Buffer.byteLength(sourceUsername))
      w.u16(Buffer.byteLength(topic))
      w.u16(1883)
      w.u8(qos)
      w.u8(retain ? 1 : 0)
      w.raw(Buffer.from(sourceId + sourceUsername + topic))
      w.raw(payload)
      if (Object.keys(properties).length > 0) writeProperties(w, properties)
    })
  }

  place({ number, clientId, packetId, qos, state, retain, direction, identifier }: EncodedPlace): this {
    return this.chunk(3, (w) => {
      this.#machine64(w, number)
      w.u16(packetId)
      w.u16(Buffer.byteLength(clientId))
      w.u8(qos)
      w.u8(state)
      w.u8(retain ? 0x10 : 0)
      w.u8(direction)
      w.raw(Buffer.from(clientId))
      if (identifier > 0) writeProperties(w, { subscriptionIdentifiers: [identifier] })
    })
  }

  retained(number: bigint): this {
    return this.chunk(4, (w) => this.#machine64(w, number))
  }

  subscription({ clientId, filter, qos, options, identifier }: EncodedSubscription): this {
    return this.chunk(5, (w) => {
      w.u32(identifier)
      w.u16(Buffer.byteLength(clientId))
      w.u16(Buffer.byteLength(filter))
      w.u8(qos)
      w.u8(options)
      w.u16(0)
      w.raw(Buffer.from(clientId + filter))
    })
  }

  session({ clientId, username, expiresAt, expiry, lastPacketId }: EncodedSession): this {
    const { format, machine } = this.#layout
    return this.chunk(6, (w) => {
      this.#machine64(w, BigInt(expiresAt))
      w.u32(expiry)
      w.u16(lastPacketId)
      w.u16(Buffer.byteLength(clientId))
      if (format === 6) {
        w.u16(1883)
        w.u16(Buffer.byteLength(username))
        if (machine !== 'i386') w.u32(0)
      }
      w.raw(Buffer.from(clientId))
      if (format === 6) w.raw(Buffer.from(username))
    })
  }

  bytes(): Buffer {
    return Buffer.from(this.#out.toBytes())
  }

  #machine64(w: ByteWriter, value: bigint): void {
    const bytes = Buffer.alloc(8)
    if (this.#layout.machine === 'mips') bytes.writeBigUInt64BE(value)
    else bytes.writeBigUInt64LE(value)
    w.raw(bytes)
  }
}

/** A file in memory, which insists that nothing outside of it is asked for. */
export const fileOf = (bytes: Uint8Array): FileBytes => ({
  size: bytes.length,
  read: (at, length) => {
    if (at < 0 || length < 0 || at + length > bytes.length) throw new Error(`${length} bytes at ${at} of ${bytes.length}`)
    return bytes.subarray(at, at + length)
  },
})
