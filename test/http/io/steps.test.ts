import { describe, expect, test, vi } from 'vitest'
import { type HttpResponse, type HttpWork, json, NEXT_TURN, type Pause, type ReloadPause } from '../../../src/http/exchange.ts'
import { LONG_MAX, Steps } from '../../../src/http/io/steps.ts'
import { testHost } from '../harness.ts'

const here = (): boolean => false

function* turns(count: number, step: () => void = () => {}): HttpWork {
  for (let i = 0; i < count; i++) {
    step()
    yield NEXT_TURN
  }
  return json({ turns: count })
}

describe('requests that take several turns', () => {
  test('of all of them, one has a step in each turn', async () => {
    const steps = new Steps(testHost())
    const order: string[] = []
    let turn = 0
    let isOver = false
    const count = (): void => {
      turn++
      if (!isOver) setImmediate(count)
    }
    const work = (name: string) => turns(3, () => order.push(`${name} in turn ${turn}`))
    setImmediate(count)
    await Promise.all([steps.run(() => work('a'), here), steps.run(() => work('b'), here)])
    isOver = true
    expect(order.map((each) => each[0]).join('')).toBe('ababab')
    expect(new Set(order.map((each) => each.split(' ').at(-1))).size).toBe(6)
  })

  test('only so many long answers are made at the same time, and short ones do not wait for them', async () => {
    const steps = new Steps(testHost())
    let [under, most] = [0, 0]
    function* long(): HttpWork {
      yield NEXT_TURN
      most = Math.max(most, ++under)
      yield* turns(20)
      under--
      return json({})
    }
    const answers = Array.from({ length: 3 * LONG_MAX }, () => steps.run(long, here))
    while (under < LONG_MAX) await new Promise(setImmediate)
    await steps.run(() => json({}), here)
    expect(under).toBeGreaterThan(0)
    await Promise.all(answers)
    expect([under, most]).toEqual([0, LONG_MAX])
    expect((await steps.run(() => turns(2), here)) as HttpResponse).toMatchObject({ status: 200 })
  })

  test('time goes on between their steps', async () => {
    let now = 0
    const steps = new Steps(testHost({ run: (step) => step(++now) }))
    const times: number[] = []
    function* work(began: number): HttpWork {
      times.push(began)
      times.push(yield NEXT_TURN)
      times.push(yield NEXT_TURN)
      return json({})
    }
    await steps.run(work, here)
    expect(times).toEqual([1, 2, 3])
  })

  test('nobody waits for the answer any more: it ends early', async () => {
    const steps = new Steps(testHost())
    let done = 0
    let isOver = false
    function* work(): HttpWork {
      try {
        yield* turns(1000, () => done++)
        return json({})
      } finally {
        isOver = true
      }
    }
    expect(await steps.run(work, () => done === 5)).toBeUndefined()
    expect([done, isOver]).toEqual([5, true])
  })

  test('Roost stops in the meantime: 503', async () => {
    let notReady: string | undefined
    const host = testHost()
    const steps = new Steps({
      ...host,
      run: host.run,
      get notReady() {
        return notReady
      },
    })
    const answer = await steps.run(
      () =>
        turns(10, () => {
          notReady = 'Roost is stopping'
        }),
      here,
    )
    expect(answer).toMatchObject({ status: 503, body: expect.stringContaining('stopping') })
  })

  test('a fault in it reaches the caller', async () => {
    const steps = new Steps(testHost())
    // biome-ignore lint/correctness/useYield: it fails before.
    function* work(): HttpWork {
      throw new Error('fault')
    }
    await expect(steps.run(work, here)).rejects.toThrow('fault')
    expect(await steps.run(() => json({}), here)).toMatchObject({ status: 200 })
  })
})

describe('what a request waits for', () => {
  function* waits(pause: Pause): HttpWork {
    yield pause
    return json(pause)
  }

  test('a record that becomes durable', async () => {
    const asked: number[] = []
    const steps = new Steps(testHost({ durable: async (lsn) => asked.push(lsn) > 0 }))
    expect(await steps.run(() => waits({ kind: 'durable', lsn: 7 }), here)).toMatchObject({ status: 200 })
    expect(asked).toEqual([7])
  })

  test('room in the store: 20 ms, not the next turn', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    try {
      let isOver = false
      const ran = new Steps(testHost())
        .run(() => waits({ kind: 'room' }), here)
        .then(() => {
          isOver = true
        })
      for (let i = 0; i < 10; i++) await new Promise(setImmediate)
      vi.advanceTimersByTime(19)
      for (let i = 0; i < 10; i++) await new Promise(setImmediate)
      expect(isOver).toBe(false)
      vi.advanceTimersByTime(1)
      await ran
    } finally {
      vi.useRealTimers()
    }
  })

  test('a record that does not: 503, with what was done', async () => {
    const steps = new Steps(testHost({ durable: async () => false }))
    const { body } = (await steps.run(() => waits({ kind: 'durable', lsn: 7, late: '3 are deleted' }), here)) as HttpResponse
    expect(body).toContain('"3 are deleted, but the store cannot keep it yet:')
  })

  test('a record that does not: 503', async () => {
    const steps = new Steps(testHost({ durable: async () => false }))
    expect(await steps.run(() => waits({ kind: 'durable', lsn: 7 }), here)).toMatchObject({ status: 503 })
  })

  test('a reload', async () => {
    const steps = new Steps(testHost({ reload: async () => ({ warnings: ['a file is open to all'] }) }))
    const pause: ReloadPause = { kind: 'reload', result: undefined }
    await steps.run(() => waits(pause), here)
    expect(pause.result).toEqual({ warnings: ['a file is open to all'] })
  })
})
