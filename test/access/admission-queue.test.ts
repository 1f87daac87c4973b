import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AdmissionBounds, AdmissionQueue, Place } from '../../src/access/admission-queue.ts'

const BOUNDS: AdmissionBounds = { running: 1, reserved: 0, pending: 100, pendingPerAddress: 100 }
const queueOf = (bounds: Partial<AdmissionBounds> = {}) => new AdmissionQueue<string>({ ...BOUNDS, ...bounds })
const place = (work: string, level = 0, listener = 'l', address = work) => new Place(work, listener, address, level)

/** What comes next, one after the other. */
function order(queue: AdmissionQueue<string>): string {
  const works: string[] = []
  for (let next = queue.next(); next !== undefined; next = queue.next()) {
    works.push(next.work)
    queue.done()
  }
  return works.join(' ')
}

test('who has asked least goes first, and of those that are equal the newest', () => {
  const queue = queueOf()
  for (const [work, level] of [
    ['c1', 2],
    ['a1', 0],
    ['b1', 1],
    ['a2', 0],
    ['c2', 2],
    ['b2', 1],
  ] as const)
    queue.add(place(work, level))
  expect(order(queue)).toBe('a2 a1 b2 b1 c2 c1')
})

test('listeners take turns, however many wait at one of them', () => {
  const queue = queueOf()
  for (let i = 1; i <= 5; i++) queue.add(place(`a${i}`, 0, 'a'))
  queue.add(place('b1', 60, 'b'))
  queue.add(place('b2', 60, 'b'))
  expect(order(queue)).toBe('a5 b2 a4 b1 a3 a2 a1')
})

test('some places are only for addresses that have asked for nothing', () => {
  const queue = queueOf({ running: 5, reserved: 2 })
  for (let i = 1; i <= 5; i++) queue.add(place(`old${i}`, 1))
  expect([queue.next(), queue.next(), queue.next()].map((each) => each?.work)).toEqual(['old5', 'old4', 'old3'])
  expect(queue.next()).toBeUndefined()
  queue.add(place('new1', 0))
  queue.add(place('new2', 0))
  queue.add(place('new3', 0))
  expect([queue.next()?.work, queue.next()?.work, queue.next()]).toEqual(['new3', 'new2', undefined])
  queue.done()
  expect([queue.next()?.work, queue.next()]).toEqual(['new1', undefined])
})

describe('what finds no room', () => {
  test('is the oldest of those that are no better, where the address has as many as it may', () => {
    const queue = queueOf({ pendingPerAddress: 2 })
    for (const work of ['a1', 'a2']) queue.add(place(work, 3, 'l', 'a'))
    expect(queue.add(place('a3', 3, 'm', 'a'))?.work).toBe('a1')
    expect(queue.add(place('a4', 0, 'm', 'a'))?.work).toBe('a2')
    expect(queue.pending).toBe(2)
  })

  test('is the newcomer, where its address has as many as it may, and all are better', () => {
    const queue = queueOf({ pendingPerAddress: 2 })
    expect(queue.add(place('a1', 0, 'l', 'a'))).toBeUndefined()
    expect(queue.add(place('a2', 1, 'm', 'a'))).toBeUndefined()
    const third = place('a3', 2, 'l', 'a')
    expect(queue.add(third)).toBe(third)
    expect(queue.add(place('b1', 0, 'l', 'b'))).toBeUndefined()
    expect([queue.next()?.work, queue.next(), queue.add(third)]).toEqual(['b1', undefined, third])
    queue.done()
    expect([queue.next()?.work, queue.add(third)]).toEqual(['a2', undefined])
  })

  test('is the one whose address has asked most, of those the oldest', () => {
    const queue = queueOf({ pending: 3 })
    for (const [work, level, listener] of [
      ['c1', 5, 'l'],
      ['c2', 5, 'l'],
      ['b1', 3, 'm'],
    ] as const)
      queue.add(place(work, level, listener))
    expect(queue.add(place('new', 0))?.work).toBe('c1')
    expect(queue.add(place('worse', 6))?.work).toBe('worse')
    expect(queue.add(place('equal', 5))?.work).toBe('c2')
    expect(queue.pending).toBe(3)
  })
})

test('whatever comes and goes: nothing is lost or comes twice, the next is never of a higher level, and counts are right', () => {
  const step = fc.record({
    listener: fc.nat(2),
    address: fc.nat(4),
    level: fc.nat(5),
    what: fc.constantFrom('add', 'add', 'next', 'remove'),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = queueOf({ running: 1000, pending: 20, pendingPerAddress: 8 })
      let waiting: Place<string>[] = []
      for (const [i, { listener, address, level, what }] of steps.entries()) {
        if (what === 'add') {
          const added = place(`${i}`, level, `l${listener}`, `a${address}`)
          waiting.push(added)
          const refused = queue.add(added)
          waiting = waiting.filter((each) => each !== refused)
        } else if (what === 'remove') {
          const gone = waiting[i % Math.max(1, waiting.length)]
          if (gone !== undefined) queue.remove(gone)
          waiting = waiting.filter((each) => each !== gone)
        } else {
          const next = queue.next()
          expect(next === undefined).toBe(waiting.length === 0)
          const same = waiting.filter((each) => each.listener === next?.listener)
          expect(next?.level ?? 0).toBe(same.length === 0 ? 0 : Math.min(...same.map((each) => each.level)))
          waiting = waiting.filter((each) => each !== next)
        }
        expect(queue.pending).toBe(waiting.length)
      }
      expect(order(queue).split(' ').filter(Boolean).sort()).toEqual(waiting.map(({ work }) => work).sort())
    }),
  )
})
