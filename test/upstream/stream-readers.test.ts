import fc from 'fast-check'
import { beforeEach, expect, test } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { NO_PROPERTIES } from '../../src/mqtt/properties.ts'
import type { ProtocolVersion } from '../../src/mqtt/publish.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { Dialling, Owner } from './pair.ts'
import { ScriptedFar, type Stream } from './scripted-far.ts'

// The streams share what reads them: no two may get in each other's way, wherever their chunks end.

interface End {
  readonly owner: Owner
  readonly link: UpstreamLink
  stream: Stream
}

let near: Dialling
let far: ScriptedFar

beforeEach(() => {
  near = new Dialling()
  far = new ScriptedFar(near)
})

/** A link with a stream that is up. */
function open(name: string, version: ProtocolVersion, maxPacketSize = 1024 * 1024): End {
  const owner = new Owner()
  const link = near.open(owner, { name, maxPacketSize }, { version })
  near.connect(link)
  expect(link.isUp).toBe(true)
  return { owner, link, stream: far.stream }
}

/** A PUBLISH with QoS 0, as the far side writes it. */
function published(topic: string, text: string, version: ProtocolVersion): Uint8Array {
  const writer = new ByteWriter()
  encodePacket(writer, Publish.of(topic, Buffer.from(text), 0, false, 0, NO_PROPERTIES), version)
  return writer.toBytes().slice()
}

const texts = ({ owner }: End): string[] => owner.messages.map(({ topic, text }) => `${topic} ${text}`)

test('packets of several streams that come in pieces, in any order of the pieces', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 8 })
  const turns = fc.array(fc.nat(2), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(turns, sizes, (order, lengths) => {
      near = new Dialling()
      far = new ScriptedFar(near)
      const ends = [open('a', 5), open('b', 4), open('c', 5)]
      const versions: ProtocolVersion[] = [5, 4, 5]
      const expected = ends.map((_, i) => Array.from({ length: 4 }, (_, n) => `from/${i} ${'x'.repeat(n * 7)}${n}`))
      const bytes = expected.map((all, i) =>
        Buffer.concat(all.map((each) => published(each.split(' ')[0]!, each.split(' ')[1]!, versions[i]!))),
      )
      const at = [0, 0, 0]
      const piece = (i: number, size: number): void => {
        near.chunk(ends[i]!.stream.connection, bytes[i]!.subarray(at[i], at[i]! + size))
        at[i]! += size
        near.run()
        near.wipe()
      }
      for (const [turn, i] of order.entries()) if (at[i]! < bytes[i]!.length) piece(i, lengths[turn % lengths.length]!)
      for (const i of at.keys()) if (at[i]! < bytes[i]!.length) piece(i, bytes[i]!.length)
      expect(ends.map(texts)).toEqual(expected)
    }),
  )
})

test('a stream that ends in the middle of a packet, or is malformed, leaves nothing to the others', () => {
  const [a, b] = [open('a', 5), open('b', 5)]
  const whole = published('t', 'whole', 5)
  near.chunk(a.stream.connection, whole.subarray(0, 4))
  near.break(a.stream.connection)
  near.run()
  near.chunk(b.stream.connection, whole)
  near.run()
  // Packet type 0.
  near.chunk(b.stream.connection, Uint8Array.of(0, 0))
  near.run()
  near.advance(10_000)
  expect([a.link.isUp, b.link.isUp]).toEqual([true, true])
  // What was up is dialled again, in any order.
  for (const { connection } of far.streams.slice(-2)) near.chunk(connection, whole)
  near.run()
  expect(texts(a)).toEqual(['t whole'])
  expect(texts(b)).toEqual(['t whole', 't whole'])
})

test('each stream has the limits of its own link', () => {
  const [small, large] = [open('small', 5, 30), open('large', 5)]
  const message = published('t', 'x'.repeat(50), 5)
  near.chunk(large.stream.connection, message)
  near.chunk(small.stream.connection, message)
  near.run()
  expect(large.link.isUp).toBe(true)
  expect(texts(large)).toHaveLength(1)
  expect(small.link.isUp).toBe(false)
  expect(texts(small)).toEqual([])
})
