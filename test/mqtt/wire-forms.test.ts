import { describe, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { writeDelivery } from '../../src/mqtt/encode-delivery.ts'
import type { Delivery } from '../../src/mqtt/link.ts'
import { MessageMemory, Publish } from '../../src/mqtt/publish.ts'
import { Slab } from '../../src/mqtt/slab.ts'

const deliveryOf = (message: Publish, qos: 0 | 1): Delivery => ({
  type: 0,
  message,
  qos,
  packetId: qos,
  retain: false,
  dup: false,
  subscriptionIdentifiers: undefined,
})

function messageOf(bytes: number, owned = true): Publish {
  const message = Publish.of('a/b', new Uint8Array(bytes), 1, false, 0, { contentType: 'x' })
  message.owned = owned
  message.held = new MessageMemory()
  message.held.places = 1
  return message
}

/** To a first receiver, for which no form is kept, and to one of each kind. */
const write = (slab: Slab, message: Publish): void => {
  writeDelivery(slab, deliveryOf(message, 0), 4, 0, Number.POSITIVE_INFINITY)
  for (const version of [4, 5] as const)
    for (const qos of [0, 1] as const) writeDelivery(slab, deliveryOf(message, qos), version, 0, Number.POSITIVE_INFINITY)
  slab.take()
}

describe('wire forms', () => {
  test('are made for the second receiver', () => {
    const slab = new Slab()
    const message = messageOf(100)
    const packets = [1, 2, 3].map(() => {
      writeDelivery(slab, deliveryOf(message, 1), 5, 0, Number.POSITIVE_INFINITY)
      return [Buffer.concat(slab.take()).toString('hex'), slab.forms.bytes > 0]
    })
    expect(packets.map(([packet]) => packet === packets[0]![0])).toEqual([true, true, true])
    expect(packets.map(([, isKept]) => isKept)).toEqual([false, true, true])
  })

  test('count each, and are given up with those that were made first, all at once, or when nobody waits for the message', () => {
    const slab = new Slab()
    const messages = Array.from({ length: 200 }, () => messageOf(15_000))
    for (const message of messages) write(slab, message)
    expect(slab.forms.bytes).toBeLessThan(4.1 * 1024 * 1024)
    expect(slab.forms.bytes).toBeGreaterThan(3.9 * 1024 * 1024)
    expect(messages[0]!.encoded).toBe(undefined)
    expect(messages.at(-1)!.encoded?.filter((form) => form !== undefined)).toHaveLength(4)
    slab.forms.endTurn()
    expect(slab.forms.bytes).toBeGreaterThan(3.9 * 1024 * 1024)
    for (const { held } of messages) held!.places = 0
    slab.forms.endTurn()
    expect(slab.forms.bytes).toBe(0)
    write(slab, messages[0]!)
    slab.forms.clear()
    expect(slab.forms.bytes).toBe(0)
    expect(messages[0]!.encoded).toBe(undefined)
  })

  test('of a message in a buffer that it shares last no longer than the turn', () => {
    const slab = new Slab()
    const message = messageOf(100, false)
    write(slab, message)
    expect(slab.forms.bytes).toBeGreaterThan(400)
    slab.forms.endTurn()
    expect(slab.forms.bytes).toBe(0)
  })

  test('large payloads have none: each receiver gets a head of its own, and the same bytes', () => {
    const slab = new Slab()
    const payload = new Uint8Array(100_000).fill(7)
    const message = Publish.of('a/b', payload, 1, false, 0, { contentType: 'x' })
    for (const version of [4, 5] as const) {
      for (const qos of [0, 1] as const) {
        writeDelivery(slab, { ...deliveryOf(message, qos), retain: true, dup: qos === 1 }, version, 0, Number.POSITIVE_INFINITY)
        const pieces = slab.take()
        expect(pieces.at(-1)!.buffer).toBe(payload.buffer)
        const writer = new ByteWriter()
        const expected = Publish.of('a/b', payload, qos, true, qos, message.properties)
        expected.dup = qos === 1
        encodePacket(writer, expected, version)
        expect(Buffer.concat(pieces).equals(writer.toBytes())).toBe(true)
      }
    }
    expect(slab.forms.bytes).toBe(0)
    expect(writeDelivery(slab, deliveryOf(message, 0), 5, 0, 99_999)).toBe(false)
    expect(slab.take()).toEqual([])
  })
})
