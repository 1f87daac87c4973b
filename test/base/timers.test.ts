import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Timer, Timers } from '../../src/base/timers.ts'

const drain = (timers: Timers<string>, now: number): string[] => {
  const fired: string[] = []
  for (let timer = timers.expired(now); timer !== undefined; timer = timers.expired(now)) fired.push(timer.owner)
  return fired
}

describe('Timers', () => {
  test('fire by deadline, and by the order of arming where deadlines are equal', () => {
    const timers = new Timers<string>()
    for (const [owner, at] of [
      ['b', 5],
      ['a', 3],
      ['c', 5],
      ['d', 9],
    ] as const)
      timers.arm(new Timer(owner), at)
    expect(timers.next()).toBe(3)
    expect(drain(timers, 5)).toEqual(['a', 'b', 'c'])
    expect(timers.next()).toBe(9)
  })

  test('an armed timer moves when it is armed again, and is gone when disarmed', () => {
    const timers = new Timers<string>()
    const a = new Timer('a')
    const b = new Timer('b')
    timers.arm(a, 1)
    timers.arm(b, 2)
    timers.arm(a, 3)
    expect(drain(timers, 2)).toEqual(['b'])
    timers.disarm(a)
    timers.disarm(a)
    expect(a.armed).toBe(false)
    expect(timers.next()).toBeUndefined()
  })

  test('any sequence of arm and disarm fires like a sorted list', () => {
    const step = fc.record({ who: fc.nat(15), at: fc.option(fc.nat(20), { nil: undefined }) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const timers = new Timers<string>()
        const items = Array.from({ length: 16 }, (_, i) => new Timer(String(i)))
        let model: { who: string; at: number }[] = []
        for (const { who, at } of steps) {
          model = model.filter((entry) => entry.who !== String(who))
          if (at === undefined) timers.disarm(items[who]!)
          else {
            timers.arm(items[who]!, at)
            model.push({ who: String(who), at })
          }
        }
        const expected = model.map((entry, order) => ({ ...entry, order })).sort((a, b) => a.at - b.at || a.order - b.order)
        expect(timers.size).toBe(model.length)
        expect(drain(timers, 20)).toEqual(expected.map((entry) => entry.who))
      }),
    )
  })
})
