import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SmallMap } from '../../src/base/small-map.ts'

const key = fc.constantFrom('a', 'b', 'c')
const step = fc.oneof(
  fc.record({ does: fc.constant('set' as const), key, value: fc.nat(9) }),
  fc.record({ does: fc.constant('delete' as const), key }),
)

describe('SmallMap', () => {
  it('does what a Map does', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
        const [map, model] = [new SmallMap<string, number>(), new Map<string, number>()]
        let hadTwo = false
        for (const each of steps) {
          if (each.does === 'set') {
            map.set(each.key, each.value)
            model.set(each.key, each.value)
          } else expect(map.delete(each.key)).toBe(model.delete(each.key))
          expect([...map]).toEqual([...model])
          expect([...map.keys()]).toEqual([...model.keys()])
          expect([...map.values()]).toEqual([...model.values()])
          expect(map.size).toBe(model.size)
          hadTwo ||= model.size > 1
          expect(map.isMap).toBe(hadTwo)
          for (const one of ['a', 'b', 'c']) expect([map.get(one), map.has(one)]).toEqual([model.get(one), model.has(one)])
        }
      }),
    )
  })

  it('may be emptied while it is iterated', () => {
    for (const keys of [['a'], ['a', 'b', 'c']]) {
      const map = new SmallMap<string, number>()
      for (const each of keys) map.set(each, 0)
      const seen: string[] = []
      for (const each of map.keys()) {
        seen.push(each)
        map.delete(each)
      }
      expect(seen).toEqual(keys)
      expect(map.size).toBe(0)
    }
  })
})
