import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NOTICES, type Notice, type NoticeCode } from '../../src/base/notice.ts'
import { KeptNotices } from '../../src/http/kept-notices.ts'

const text = (maxLength: number) => fc.option(fc.string({ maxLength, unit: 'binary' }), { nil: undefined })

const anyNotice: fc.Arbitrary<Notice> = fc
  .record({
    code: fc.constantFrom(...(Object.keys(NOTICES) as NoticeCode[])),
    level: fc.constantFrom('debug' as const, 'info' as const, 'warn' as const, 'error' as const),
    client: fc.oneof({ weight: 9, arbitrary: text(20) }, text(3000)),
    user: text(5),
    peer: text(20),
    reason: text(60),
    limit: text(10),
    count: fc.option(fc.nat(), { nil: undefined }),
  })
  .map((notice) => Object.fromEntries(Object.entries(notice).filter(([, value]) => value !== undefined)) as unknown as Notice)

test('the last ones are kept as they were, whatever their lengths, within the bytes', () => {
  fc.assert(
    fc.property(fc.array(anyNotice, { maxLength: 60 }), fc.integer({ min: 4500, max: 12_000 }), (notices, maxBytes) => {
      const kept = new KeptNotices(20, maxBytes)
      const model: { id: number; at: number; notice: Notice }[] = []
      for (const [i, notice] of notices.entries()) {
        const entry = { id: 3 * i + 1, at: 1_800_000_000_000.5 + i, notice }
        model.push(entry)
        const before = kept.length
        kept.add(entry.id, entry.at, notice)
        expect(kept.length).toBeLessThanOrEqual(Math.min(20, before + 1))
        expect(kept.bytes).toBeLessThanOrEqual(maxBytes)
        const expected = model.slice(-kept.length)
        expect(Array.from({ length: kept.length }, (_, place) => kept.at(place))).toEqual(expected)
        expect(Array.from({ length: kept.length }, (_, place) => kept.idAt(place))).toEqual(expected.map(({ id }) => id))
        for (const { id } of expected) expect(kept.after(id)).toBe(expected.findIndex((each) => each.id === id) + 1)
      }
      expect([kept.at(-1), kept.at(kept.length), kept.idAt(-1)]).toEqual([undefined, undefined, 0])
    }),
  )
})

test('short ones fill most of the bytes before any is dropped', () => {
  const kept = new KeptNotices(1000, 64 * 1024)
  for (let i = 1; i <= 1500; i++) kept.add(i, i, { code: 'client-lost', level: 'info', client: `mqtt:${'x'.repeat(200)}` })
  // 220 bytes each, of 56 KiB.
  expect(kept.length).toBeGreaterThan(245)
  expect(kept.at(kept.length - 1)!.id).toBe(1500)
})
