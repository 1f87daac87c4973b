import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SmallFifo } from '../../src/base/small-fifo.ts'

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('push' as const), value: fc.integer({ min: 1, max: 99 }) }) },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('shift' as const) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('filter' as const), divisor: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('clear' as const) }) },
)

describe('SmallFifo', () => {
  it('does what an array does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const fifo = new SmallFifo<{ readonly value: number }>()
        let model: { readonly value: number }[] = []
        for (const each of steps) {
          if (each.does === 'push') {
            fifo.push(each)
            model.push(each)
          } else if (each.does === 'shift') expect(fifo.shift()).toBe(model.shift())
          else if (each.does === 'filter') {
            const keep = ({ value }: { readonly value: number }): boolean => value % each.divisor > 0
            const kept = model.filter(keep)
            expect(fifo.filter(keep)).toBe(model.length - kept.length)
            model = kept
          } else {
            fifo.clear()
            model = []
          }
          expect([...fifo]).toEqual(model)
          expect(fifo.length).toBe(model.length)
          expect(fifo.peek()).toBe(model[0])
        }
      }),
    )
  })
})
