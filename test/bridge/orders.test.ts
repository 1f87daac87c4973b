import { expect, test } from 'vitest'
import type { Carried } from './line-ledger.ts'
import { deliveredBackwards, sentBackwards } from './orders.ts'

/** What the kills are judged by has to be right itself. */
const message = (number: number, qos: 1 | 2, ...places: number[]): Carried => ({
  ...{ text: `up-5 ${number}`, topic: 'up/up-5', qos, places },
  ...{ begun: 1, mayBegin: 1, begunAfterRelease: 0, isReleased: false, taken: true, collides: false, history: [] },
})

const texts = (found: ReturnType<typeof sentBackwards>): string[] =>
  found.map(({ one, before }) => `${one.text} behind ${before.text}`)

test('who sends a message before an earlier one of its publisher and QoS is told', () => {
  const [a, b, c] = [message(1, 1, 1), message(2, 1, 2), message(3, 2, 3)]
  expect(sentBackwards([a, c, b])).toEqual([])
  expect(texts(sentBackwards([b, c, a]))).toEqual(['up-5 1 behind up-5 2'])
})

test('who delivers in another order than that of the line is told', () => {
  const [a, b] = [message(1, 1, 1), message(2, 1, 2)]
  const both = (first: Carried, second: Carried) => [first, second].map((carried) => ({ carried, seen: 2 }))
  expect(deliveredBackwards(both(a, b))).toEqual([])
  expect(texts(deliveredBackwards(both(b, a)))).toEqual(['up-5 1 behind up-5 2'])
})

test('a message that was sent again behind another may come behind it, if it comes after that', () => {
  const [a, b] = [message(1, 1, 1, 4), message(2, 1, 2, 3)]
  const at = (seen: number) => [
    { carried: b, seen: 3 },
    { carried: a, seen },
  ]
  expect(deliveredBackwards(at(4))).toEqual([])
  expect(texts(deliveredBackwards(at(3)))).toEqual(['up-5 1 behind up-5 2'])
  // Whatever was sent again: each message has one place.
  const again = [message(1, 1, 1), message(2, 1, 2, 6), message(3, 1, 3, 5), message(4, 1, 4)]
  const order = [again[1]!, again[3]!, again[2]!, again[0]!].map((carried) => ({ carried, seen: 6 }))
  expect(texts(deliveredBackwards(order))).toEqual(['up-5 1 behind up-5 3'])
})
