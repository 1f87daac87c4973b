import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ROW_MAX, SlabRows } from '../../src/base/slab-rows.ts'

const textOf = (slab: SlabRows, row: number, length: number): string =>
  Buffer.from(slab.page(row).subarray(slab.start(row), slab.start(row) + length)).toString('latin1')

describe('SlabRows', () => {
  test('keeps rows of any length up to the longest', () => {
    const slab = new SlabRows()
    const lengths = [0, 1, 16, 17, 255, 256, 257, 1024, 1025, ROW_MAX]
    const rows = lengths.map((length) => slab.add(Buffer.alloc(length, 'x'), length))
    expect(rows.map((row, i) => textOf(slab, row, lengths[i]!))).toEqual(lengths.map((length) => 'x'.repeat(length)))
    expect(() => slab.add(Buffer.alloc(ROW_MAX + 1), ROW_MAX + 1)).toThrow('not too long')
  })

  test('counts a row with what it is rounded up by, and nothing when all are gone', () => {
    const slab = new SlabRows()
    const rows = Array.from({ length: 10_000 }, () => slab.add(Buffer.alloc(100), 100))
    expect(slab.bytes).toBe(10_000 * 112)
    for (const row of rows) slab.delete(row)
    expect(slab.bytes).toBe(0)
  })

  test('uses freed rows again before it takes more memory', () => {
    const slab = new SlabRows()
    const rows = Array.from({ length: 1000 }, () => slab.add(Buffer.alloc(64), 64))
    const { bytes } = slab
    for (let i = 0; i < 10_000; i++) {
      slab.delete(rows.shift()!)
      rows.push(slab.add(Buffer.alloc(60), 60))
    }
    expect(slab.bytes).toBe(bytes)
  })

  test('replaces a row where it is, if it has the room', () => {
    const slab = new SlabRows()
    const row = slab.add(Buffer.from('short'), 5, 30)
    const next = slab.add(Buffer.alloc(30, 'y'), 30)
    expect(slab.replace(row, Buffer.alloc(32, 'x'), 32)).toBe(row)
    expect([textOf(slab, row, 32), textOf(slab, next, 30), slab.bytes]).toEqual(['x'.repeat(32), 'y'.repeat(30), 64])
    const longer = slab.replace(row, Buffer.alloc(33, 'z'), 33)
    expect([textOf(slab, longer, 33), textOf(slab, next, 30)]).toEqual(['z'.repeat(33), 'y'.repeat(30)])
    // What it had is free again.
    expect(slab.add(Buffer.from('new'), 3, 30)).toBe(row)
    expect(slab.add(Buffer.from('new'), 3, 2 * ROW_MAX)).not.toBe(row)
  })

  test('any sequence of additions and deletions keeps what a Map keeps', () => {
    const step = fc.oneof(
      fc.record({ add: fc.integer({ min: 0, max: 1200 }) }),
      fc.record({ add: fc.constantFrom(4000, ROW_MAX) }),
      fc.record({ drop: fc.nat() }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const slab = new SlabRows()
        const model = new Map<number, string>()
        for (const [i, each] of steps.entries()) {
          if ('add' in each) {
            const text = String.fromCharCode(33 + (i % 90)).repeat(each.add)
            const row = slab.add(Buffer.from(text), each.add)
            expect(row > 0 && !model.has(row)).toBe(true)
            model.set(row, text)
          } else if (model.size > 0) {
            const row = [...model.keys()][each.drop % model.size]!
            slab.delete(row)
            model.delete(row)
          }
        }
        for (const [row, text] of model) expect(textOf(slab, row, text.length)).toBe(text)
        expect(slab.bytes).toBeGreaterThanOrEqual([...model.values()].reduce((sum, text) => sum + text.length, 0))
        for (const row of model.keys()) slab.delete(row)
        expect(slab.bytes).toBe(0)
      }),
    )
  })
})
