import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RowIndex } from '../../src/base/row-index.ts'

describe('RowIndex', () => {
  test('finds what was added, by text, and grows', () => {
    const index = new RowIndex((row, text) => `row ${row}` === text)
    const hash = (row: number): number => Math.imul(row, 0x9e3779b1)
    for (let row = 0; row < 20_000; row++) index.add(hash(row), row)
    expect(index.size).toBe(20_000)
    for (let row = 0; row < 20_000; row++) expect(index.find(hash(row), `row ${row}`)).toBe(row)
    expect(index.find(hash(7), 'row 8')).toBe(-1)
    // At most three quarters full, at least three eighths.
    expect(index.bytes / index.size).toBeLessThanOrEqual(8 / (3 / 8))
    for (let row = 0; row < 20_000; row++) index.delete(hash(row), row)
    expect([index.size, index.bytes]).toEqual([0, 0])
  })

  test('any sequence of additions and deletions finds what a Map finds, whatever the hashes', () => {
    // Few hashes, so that many entries have the same one, or the same place, at the end of a table too.
    const hashes = fc.constantFrom(0, 1, 2, 6, 7, 8, 0xff, 0x01000007, 0x01000008, 0xffffffff, -1, 15, 23)
    const step = fc.record({ row: fc.nat(40), hash: hashes, drop: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (steps) => {
        const index = new RowIndex((row, text) => `${row}` === text)
        const model = new Map<number, number>()
        for (const { row, hash, drop } of steps) {
          const known = model.get(row)
          if (known !== undefined && drop) {
            index.delete(known, row)
            model.delete(row)
          } else if (known === undefined && !drop) {
            index.add(hash, row)
            model.set(row, hash)
          }
          for (let each = 0; each <= 40; each++) {
            const at = model.get(each)
            if (at !== undefined) expect(index.find(at, `${each}`)).toBe(each)
            else expect(index.find(hash, `${each}`)).toBe(-1)
          }
        }
        expect(index.size).toBe(model.size)
      }),
    )
  })
})
