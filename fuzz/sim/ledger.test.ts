import { expect, test } from 'vitest'
import { Ledger } from './ledger.ts'

test('copies are counted however late they come', () => {
  const first = new Ledger()
  const { text } = first.publish('publisher', 'down/1', 1, ['1', '2'])
  for (const receiver of ['1', '2']) first.receive(receiver, text)
  expect(first.copies).toBe(0)
  first.receive('1', text)
  expect(first.copies).toBe(1)
  const second = new Ledger(first)
  second.receive('2', text)
  expect([first.copies, second.copies]).toEqual([2, 0])
  // The third one knows the second, but not the first any more.
  const third = new Ledger(second)
  third.receive('1', text)
  third.receive('2', text)
  expect([first.copies, second.copies, third.copies]).toEqual([2, 0, 2])
  expect(third.deliveries).toBe(2)
})

test('a first delivery that came late is told with the newer ones before it, copies are not', () => {
  const ledger = new Ledger()
  const [a, b, c, other] = ['t', 't', 't', 'u'].map((topic) => ledger.publish('publisher', topic, 1, ['1']).text)
  for (const text of [other, b, c, a, b]) ledger.receive('1', text!)
  expect(ledger.disorders()).toEqual([{ receiver: '1', text: a, line: 'publisher t 1', newer: [b, c] }])
  expect(ledger.disordered()).toEqual([`1 got "${a}" after a later one of publisher t 1`])
})
