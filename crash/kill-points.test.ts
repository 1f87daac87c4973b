import { describe, expect, test } from 'vitest'
import { Server } from '../src/server.ts'
import { play } from './script.ts'

describe('the scripted exchanges', () => {
  test('hold without a crash', () => {
    const { violations, points } = play({ server: Server })
    expect(violations).toEqual([])
    expect(points).toBeGreaterThan(300)
  })

  test.each([false, true])(
    'hold with a kill before or after any packet and any commit (torn write: %s)',
    { timeout: 120_000 },
    (torn) => {
      const { points } = play({ server: Server })
      const wrong: string[] = []
      for (let killAt = 1; killAt <= points; killAt++) {
        const { violations } = play({ server: Server, killAt, torn })
        for (const violation of violations) wrong.push(`killed at point ${killAt}: ${violation}`)
      }
      expect(wrong).toEqual([])
    },
  )
})
