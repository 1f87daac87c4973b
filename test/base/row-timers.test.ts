import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RowTimers } from '../../src/base/row-timers.ts'
import { Timer, Timers } from '../../src/base/timers.ts'

function drain(timers: RowTimers, now: number): number[] {
  const fired: number[] = []
  for (let row = timers.expired(now); row >= 0; row = timers.expired(now)) fired.push(row)
  return fired
}

describe('RowTimers', () => {
  test('fire by deadline, and by the order of arming where deadlines are equal', () => {
    const timers = new RowTimers()
    for (const [row, at] of [
      [1, 5],
      [0, 3],
      [700, 5],
      [2, 9],
    ] as const)
      timers.arm(row, at)
    expect(timers.next()).toBe(3)
    expect(drain(timers, 5)).toEqual([0, 1, 700])
    expect([timers.next(), timers.size]).toEqual([9, 1])
    timers.disarm(2)
    timers.disarm(100_000)
    expect([timers.next(), timers.size]).toEqual([undefined, 0])
  })

  test('any sequence of arming, disarming and expiry is that of Timers', () => {
    const step = fc.oneof(
      fc.record({ row: fc.nat(40), at: fc.nat(20) }),
      fc.record({ row: fc.nat(40), at: fc.constant(undefined) }),
      fc.record({ now: fc.nat(20) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
        const timers = new RowTimers()
        const model = new Timers<number>()
        const items = Array.from({ length: 41 }, (_, row) => new Timer(row))
        for (const each of steps) {
          if ('now' in each) {
            const expired = model.expired(each.now)?.owner
            expect(timers.expired(each.now)).toBe(expired ?? -1)
          } else if (each.at === undefined) {
            timers.disarm(each.row)
            model.disarm(items[each.row]!)
          } else {
            timers.arm(each.row, each.at)
            model.arm(items[each.row]!, each.at)
          }
          expect([timers.next(), timers.size]).toEqual([model.next(), model.size])
        }
      }),
    )
  })
})
