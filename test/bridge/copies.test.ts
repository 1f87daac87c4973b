import { expect, test } from 'vitest'
import { type Copier, doubled } from './copies.ts'
import type { Carried } from './line-ledger.ts'

const ROOST: Copier = { name: 'roost', keepsItsWord: true, forgotIn: -1 }
const mosquitto = (forgotIn: number): Copier => ({ name: 'mosquitto', keepsItsWord: false, forgotIn })

/** A message of round 3 that was begun `begun` times, and came `count` times. */
function judged(begun: number, count: number, from: Copier, to: Copier): string | undefined {
  const [topic, text, qos] = ['up/up-5', 'up-5 1', 2 as const]
  const sent = { publisher: 'up-5', topic, qos, text, acknowledged: true, owed: ['up-receiver'] }
  const carried: Carried = {
    ...{ text, topic, qos, places: [1], history: [] },
    ...{ begun, mayBegin: 1, begunAfterRelease: 0, isReleased: true, taken: true, collides: false },
  }
  return doubled({ sent, round: 3, count }, carried, from, to)
}

test('a message that came once is as it should be', () => {
  expect(judged(1, 1, ROOST, mosquitto(-1))).toBeUndefined()
  expect(judged(1, 1, mosquitto(-1), ROOST)).toBeUndefined()
})

test('a sender that was killed in the round of a message or later may send it again', () => {
  for (const forgotIn of [3, 4, 9]) expect(judged(2, 2, mosquitto(forgotIn), ROOST)).toBeUndefined()
  expect(judged(2, 3, mosquitto(4), ROOST)).toBe('"up-5 1" with QoS 2 came 3 times, and was sent as 2 messages')
})

test('a sender that was killed before the message only, or never, may not', () => {
  for (const forgotIn of [2, -1])
    expect(judged(2, 2, mosquitto(forgotIn), ROOST)).toBe('mosquitto has sent "up-5 1" with QoS 2 as 2 messages')
})

test('a receiver that was killed in the round of a message or later may deliver it again', () => {
  for (const forgotIn of [3, 4, 9]) expect(judged(1, 2, ROOST, mosquitto(forgotIn))).toBeUndefined()
  for (const forgotIn of [2, -1])
    expect(judged(1, 2, ROOST, mosquitto(forgotIn))).toBe('"up-5 1" with QoS 2 came 2 times, and was sent as 1 messages')
})
