import { describe, expect, test } from 'vitest'
import { Memory } from '../../src/base/memory.ts'

/** An account of 1,000 bytes with one structure in it, and how often it was asked for its sum. */
function account(): { memory: Memory; held: { bytes: number }; asked: () => number } {
  const memory = new Memory({ memoryLimit: 1000 })
  const held = { bytes: 0 }
  let asked = 0
  memory.count('messages', () => {
    asked++
    return held.bytes
  })
  return { memory, held, asked: () => asked }
}

describe('far below the bound the sums are asked for once in 64 questions', () => {
  test('and otherwise for each', () => {
    const { memory, held, asked } = account()
    for (let i = 0; i < 64; i++) expect(memory.hasRoom(1)).toBe(true)
    expect(asked()).toBe(1)
    held.bytes = 800
    expect(memory.hasRoom(1)).toBe(true)
    const before = asked()
    for (let i = 0; i < 10; i++) expect(memory.hasRoom(1)).toBe(true)
    expect(asked()).toBe(before + 10)
  })

  test('what was granted meanwhile counts, so that nobody gets beyond the bound', () => {
    const { memory, held } = account()
    let granted = 0
    while (granted < 2000 && memory.hasRoom(100)) {
      granted += 100
      held.bytes += 100
    }
    expect(granted).toBe(1000)
  })

  test('what grew without a question is found after 64', () => {
    const { memory, held } = account()
    expect(memory.hasRoom(1)).toBe(true)
    held.bytes = 1001
    const answers = Array.from({ length: 64 }, () => memory.hasRoom(1))
    expect(answers.at(-1)).toBe(false)
  })
})
