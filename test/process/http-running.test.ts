import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Notice } from '../../src/base/notice.ts'
import { HttpRunning } from '../../src/process/http-running.ts'
import { MemoryStore } from '../../src/store/store.ts'

class TestStore extends MemoryStore {
  override durable = 0
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function runningOn(store: MemoryStore): HttpRunning {
  const running = new HttpRunning(true)
  running.waits.store = store
  return running
}

test('a request waits until its record is durable', async () => {
  const store = new TestStore()
  const running = runningOn(store)
  const [one, other] = [running.durable(1), running.durable(3)]
  expect(await running.durable(0)).toBe(true)
  store.durable = 2
  running.waits.advanced()
  expect(await one).toBe(true)
  store.durable = 3
  running.waits.advanced()
  expect(await other).toBe(true)
  expect(vi.getTimerCount()).toBe(0)
})

test('not for ever', async () => {
  const running = runningOn(new TestStore())
  const late = running.durable(1)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(await late).toBe(false)
  running.waits.advanced()
})

test('before there is an event loop', async () => {
  const running = new HttpRunning(true)
  expect(running.notReady).toBe('the state is being restored')
  expect(running.run((now) => typeof now)).toBe('number')
  expect(await running.reload()).toEqual({ error: 'Roost is starting' })
})

test('notices are kept where there is an HTTP service', () => {
  const [on, off] = [new HttpRunning(true), new HttpRunning(false)]
  const told: Notice[] = []
  const lost: Notice = { code: 'client-lost', level: 'info', client: 'mqtt:a' }
  for (const running of [on, off]) running.reporting((notice) => told.push(notice))(lost)
  expect(told).toEqual([lost, lost])
  expect(on.notices!.last({ code: undefined, client: undefined }, 10)).toMatchObject([{ notice: lost }])
  expect(off.notices).toBeUndefined()
})
