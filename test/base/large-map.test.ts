import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LargeMap } from '../../src/base/large-map.ts'

const name = fc.oneof(
  fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  fc.nat(99).map((i) => `${'x'.repeat(40)}${i}${'y'.repeat(40)}`),
)
const step = fc.oneof(
  fc.record({ does: fc.constant('set' as const), name, value: fc.nat(9) }),
  fc.record({ does: fc.constant('delete' as const), name }),
)

describe('LargeMap', () => {
  it('does what a Map does, in another order once it is divided', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const [map, model] = [new LargeMap<number>(5), new Map<string, number>()]
        let isDivided = false
        for (const each of steps) {
          if (each.does === 'set') {
            map.set(each.name, each.value)
            model.set(each.name, each.value)
          } else expect(map.delete(each.name)).toBe(model.delete(each.name))
          isDivided ||= model.size >= 5
          expect(map.size).toBe(model.size)
          const values = [[...map.values()], [...model.values()]]
          if (isDivided) for (const each of values) each.sort()
          expect(values[0]).toEqual(values[1])
          for (const { name } of steps) expect(map.get(name)).toBe(model.get(name))
        }
      }),
    )
  })

  it('may be divided while it is iterated, and entries deleted', () => {
    const map = new LargeMap<string>(4)
    for (const each of ['a', 'b', 'c']) map.set(each, each)
    const seen: string[] = []
    for (const each of map.values()) {
      seen.push(each)
      map.set(`after ${each}`, `after ${each}`)
      map.delete('b')
    }
    // Deleted ones do not come; the first of those that were added does, because it came in before the division.
    expect(seen).toEqual(['a', 'c', 'after a'])
    expect([...map.values()].sort()).toEqual(['a', 'after a', 'after after a', 'after c', 'c'])
  })
})
