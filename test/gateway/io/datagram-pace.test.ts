import { setImmediate as immediate } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Notice } from '../../../src/base/notice.ts'
import { DatagramPace } from '../../../src/gateway/io/datagram-pace.ts'

/** Milliseconds that each datagram takes. */
let cost: number
let now: number
let turn = 0
let handled: number[]
let notices: Notice[]
beforeEach(() => {
  cost = 2
  now = 0
  handled = []
  notices = []
})

const paced = (maxWaiting = 1024 * 1024): DatagramPace =>
  new DatagramPace(
    (_, bytes) => {
      handled.push(bytes[0]!)
      now += cost
    },
    (notice) => notices.push(notice),
    maxWaiting,
    () => turn,
    () => now,
  )
/** The loop counts its turn before what waits continues. */
const nextTurn = async (): Promise<void> => {
  turn++
  await immediate()
}
const arrive = (pace: DatagramPace, from: number, count: number, size = 1): void => {
  for (let i = from; i < from + count; i++) pace.receive('r', new Uint8Array(size).fill(i))
}
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('datagrams that arrive in one turn', () => {
  test('are handled at once while they take little time', () => {
    cost = 0.1
    const pace = paced()
    arrive(pace, 0, 32)
    expect(handled).toEqual(upTo(32))
    expect(pace.waitingBytes).toBe(0)
    pace.stop()
  })

  test('continue in the next turns, in order, when they have taken 5 ms', async () => {
    const pace = paced()
    arrive(pace, 0, 8)
    expect(handled).toEqual(upTo(3))
    await nextTurn()
    expect(handled).toEqual(upTo(6))
    // Those that arrive meanwhile are behind them.
    arrive(pace, 8, 3)
    expect(handled).toEqual(upTo(6))
    await nextTurn()
    expect(handled).toEqual(upTo(9))
    await nextTurn()
    await nextTurn()
    expect(handled).toEqual(upTo(11))
    expect(pace.waitingBytes).toBe(0)
    pace.stop()
  })

  test('have 5 ms for themselves in each turn', async () => {
    const pace = paced()
    arrive(pace, 0, 6)
    await nextTurn()
    expect(handled).toEqual(upTo(6))
    // None waits any more, but this turn's time is used up.
    arrive(pace, 6, 1)
    expect(handled).toEqual(upTo(6))
    await nextTurn()
    expect(handled).toEqual(upTo(7))
    now += 1000
    await nextTurn()
    arrive(pace, 7, 1)
    expect(handled).toEqual(upTo(8))
    pace.stop()
  })

  test('are dropped above sn_receive_queue_bytes, with a notice for each', async () => {
    const pace = paced(2 * (1000 + 256))
    arrive(pace, 0, 7, 1000)
    expect(pace.waitingBytes).toBe(2 * (1000 + 256))
    const dropped = { code: 'limit-reached', level: 'warn', peer: 'r', limit: 'sn_receive_queue_bytes' }
    expect(notices).toMatchObject([dropped, dropped])
    await nextTurn()
    expect(handled).toEqual(upTo(5))
    pace.stop()
  })

  test('are dropped by a stop', async () => {
    const pace = paced()
    arrive(pace, 0, 8)
    pace.stop()
    expect(pace.waitingBytes).toBe(0)
    await nextTurn()
    expect(handled).toEqual(upTo(3))
  })
})
