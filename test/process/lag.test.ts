import { afterEach, expect, test } from 'vitest'
import { LagMonitor } from '../../src/process/lag.ts'

const monitor = new LagMonitor()
afterEach(() => monitor.stop())

/** Keeps the event loop from going on. */
function block(milliseconds: number): void {
  for (const until = performance.now() + milliseconds; performance.now() < until; );
}

test('tells when the event loop is late by more than the bound, and when it is not any more', async () => {
  const told: boolean[] = []
  await new Promise<void>((resolve) => {
    monitor.start(200, (over) => {
      told.push(over)
      if (!over) resolve()
    })
    block(600)
  })
  // On a busy machine it may be late again; it tells each change once.
  expect(told.slice(0, 2)).toEqual([true, false])
  expect(told.every((over, i) => i === 0 || over !== told[i - 1])).toBe(true)
})
