import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Framing, isDefect, LengthFraming, SlipFraming } from '../src/gateway/ports/framing.ts'
import { wrap } from '../src/mqttsn/forwarder.ts'
import { runs } from './runs.ts'

const MAX = 400
const octets = fc.uint8Array({ minLength: 1, maxLength: 300 })
/** Whatever its content: the framing knows nothing of it but Length. */
const message = fc.uint8Array({ minLength: 0, maxLength: 300 }).map((body) => {
  const short = body.length + 2
  const head = short < 256 ? [short, 0x0c] : [1, (short + 2) >> 8, (short + 2) & 0xff, 0x0c]
  return Uint8Array.of(...head, ...body)
})
const enveloped = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 20 }), message).map(([id, inner]) => wrap(id, inner))

/** Cuts the line into pieces anywhere. */
function pieces(line: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = cuts.map((cut) => cut % (line.length + 1)).toSorted((a, b) => a - b)
  return [...places, line.length].map((end, i) => line.subarray(i === 0 ? 0 : places[i - 1], end))
}

const joined = (parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(parts.flatMap((part) => [...part]))

describe.each<[string, () => Framing, fc.Arbitrary<Uint8Array>]>([
  ['SLIP', () => new SlipFraming(MAX), octets],
  ['Length', () => new LengthFraming(MAX), fc.oneof(message, enveloped)],
])('%s', (_, create, frame) => {
  test('frames arrive as they were, in whatever pieces the line brings them', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 12 }), (frames, cuts) => {
        const framing = create()
        const line = joined(frames.map((each) => framing.encode(each)))
        expect(pieces(line, cuts).flatMap((piece) => framing.decode(0, piece))).toEqual(frames)
      }),
      runs(500),
    )
  })

  test('any octets are frames or defects, and no frame is larger than it may be', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 1000 }), { maxLength: 10 }), (chunks) => {
        const framing = create()
        for (const chunk of chunks)
          for (const decoded of framing.decode(0, chunk)) if (!isDefect(decoded)) expect(decoded.length).toBeLessThanOrEqual(MAX)
      }),
      runs(500),
    )
  })

  test('after a silence the line begins anew', () => {
    fc.assert(
      fc.property(frame, fc.nat(), frame, (broken, cut, whole) => {
        const framing = create()
        const line = framing.encode(broken)
        framing.decode(0, line.subarray(0, cut % line.length))
        const decoded = framing.decode(5000, framing.encode(whole))
        expect(decoded.at(-1)).toEqual(whole)
        expect(decoded.filter((each) => !isDefect(each))).toHaveLength(1)
      }),
      runs(300),
    )
  })
})

test('SLIP: a flipped bit is found, and the next frame is whole', () => {
  fc.assert(
    fc.property(octets, fc.nat(), fc.nat(7), octets, (frame, place, bit, next) => {
      const framing = new SlipFraming(MAX)
      const line = framing.encode(frame).slice()
      const at = 1 + (place % (line.length - 2))
      const flipped = line[at]! ^ (1 << bit)
      // What becomes an END or an ESC makes other frames of it, which a CRC finds only almost always.
      fc.pre(![0xc0, 0xdb].includes(flipped) && ![0xc0, 0xdb].includes(line[at]!) && line[at - 1] !== 0xdb)
      line[at] = flipped
      const decoded = [...framing.decode(0, line), ...framing.decode(0, framing.encode(next))]
      expect(decoded).toEqual([expect.objectContaining({ reason: 'wrong CRC' }), next])
    }),
    runs(500),
  )
})
