import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Fifo } from '../../src/base/fifo.ts'

const filled = (count: number): Fifo<number> => {
  const fifo = new Fifo<number>()
  for (let i = 0; i < count; i++) fifo.push(i)
  return fifo
}

test('a sweep in parts examines each entry once, while others leave and come', () => {
  const fifo = filled(10)
  const seen: number[] = []
  const odd = (entry: number): boolean => seen.push(entry) > 0 && entry % 2 === 1
  let place = fifo.sweep(0, 4, odd)
  expect([place, fifo.length, fifo.peek()]).toEqual([4, 8, 1])
  expect([fifo.shift(), fifo.shift(), fifo.shift()]).toEqual([1, 3, 4])
  fifo.push(10)
  place = fifo.sweep(place, 4, odd)
  place = fifo.sweep(place, 4, odd)
  expect(place).toBe(fifo.end)
  expect(seen).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
  expect([...fifo]).toEqual([5, 7, 9])
})

test('a sweep may end before an entry', () => {
  const fifo = filled(5)
  expect(fifo.sweep(0, 5, (entry) => (entry === 2 ? undefined : false))).toBe(2)
  expect([...fifo]).toEqual([2, 3, 4])
})

test('gaps are closed when the ring is full, and take at most as much room again as the entries', () => {
  const fifo = new Fifo<number>()
  fifo.push(-1)
  for (let i = 0; i < 2000; i++) {
    fifo.push(i)
    fifo.sweep(0, 10_000, (entry) => entry < 0)
    expect(fifo.end - fifo.first).toBeLessThanOrEqual(8)
  }
  expect([...fifo]).toEqual([-1])
})

test('behaves like an array, and a sweep that is continued misses no entry', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('push' as const), count: fc.integer({ min: 1, max: 12 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('shift' as const), count: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('sweep' as const), count: fc.integer({ min: 1, max: 9 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('filter' as const), count: fc.integer({ min: 2, max: 5 }) }) },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const fifo = new Fifo<{ value: number }>()
      let model: { value: number }[] = []
      let place = 0
      let next = 0
      const seen = new Set<object>()
      for (const { kind, count } of steps) {
        if (kind === 'push')
          for (let i = 0; i < count; i++) {
            const entry = { value: next++ }
            fifo.push(entry)
            model.push(entry)
          }
        else if (kind === 'shift') for (let i = 0; i < count; i++) expect(fifo.shift()).toBe(model.shift())
        else if (kind === 'filter') {
          const keep = ({ value }: { value: number }): boolean => value % count > 0
          fifo.filter(keep)
          model = model.filter(keep)
        } else {
          place = fifo.sweep(place, count, (entry) => seen.add(entry) !== undefined && entry.value % 3 > 0)
          model = model.filter((entry) => !seen.has(entry) || entry.value % 3 > 0)
          if (place === fifo.end) expect(model.every((entry) => seen.has(entry))).toBe(true)
        }
        expect([...fifo]).toEqual(model)
        expect(fifo.length).toBe(model.length)
        expect(fifo.peek()).toBe(model[0])
      }
    }),
  )
})
