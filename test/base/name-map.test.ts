import { describe, expect, test } from 'vitest'
import { NameMap, seedNames } from '../../src/base/name-map.ts'
import { SmallMap } from '../../src/base/small-map.ts'

/** V8 hashes it by its length alone. */
const long = (i: number): string => `${'x'.repeat(20_000)}${String(i).padStart(6, '0')}`

describe('NameMap', () => {
  test('does what a Map does, whatever the length of the names', () => {
    const names = ['', 'a', 'x'.repeat(16_383), 'x'.repeat(16_384), long(1), long(2)]
    const map = new NameMap<number>()
    const model = new Map<string, number>()
    for (let step = 0; step < 2000; step++) {
      const name = names[(step * 7) % names.length]!
      if (step % 5 === 3) expect(map.delete(name)).toBe(model.delete(name))
      else {
        map.set(name, step)
        model.set(name, step)
      }
      expect([map.size, map.get(name), map.has(name)]).toEqual([model.size, model.get(name), model.has(name)])
    }
    for (const sorted of [[...map].sort(), [...map.entries()].sort()]) expect(sorted).toEqual([...model].sort())
    expect([...map.keys()].sort()).toEqual([...model.keys()].sort())
    expect([...map.values()].sort()).toEqual([...model.values()].sort())
    const visited: [string, number][] = []
    map.forEach((value, name) => {
      visited.push([name, value])
    })
    expect(visited.sort()).toEqual([...model].sort())
    map.clear()
    expect([map.size, [...map], map.has(long(1))]).toEqual([0, [], false])
  })

  test('names whose hashes are the same are told apart', () => {
    // With this secret a first character that equals the seed makes the hash 0, and NULs keep it at 0.
    seedNames(7, 1)
    const map = new NameMap<number>()
    const names = ['\u0007', '\u0007\0', '\u0007\0\0'].map((start) => `${start}${'\0'.repeat(20_000)}`)
    for (const [i, name] of names.entries()) map.set(name, i)
    expect(names.map((name) => map.get(name))).toEqual([0, 1, 2])
    expect(map.delete(names[1]!)).toBe(true)
    expect(names.map((name) => map.get(name))).toEqual([0, undefined, 2])
    expect([map.size, [...map.values()], map.delete(names[1]!)]).toEqual([2, [0, 2], false])
  })

  test('names from before a new secret are found: a process may start a second broker', () => {
    const map = new NameMap<number>()
    map.set(long(1), 1)
    seedNames(0x0badcafe, 0x13579bdf)
    map.set(long(2), 2)
    expect([map.get(long(1)), map.get(long(2)), map.delete(long(1)), map.size]).toEqual([1, 2, true, 1])
  })

  test('thousands of long names of one length are found at once', () => {
    seedNames(0x12345678, 0x9abcdef1)
    const map = new SmallMap<string, number>()
    const names = Array.from({ length: 2000 }, (_, i) => Buffer.from(long(i)).toString('latin1'))
    const began = process.cpuUsage().user
    for (const [i, name] of names.entries()) map.set(name, i)
    for (const [i, name] of names.entries())
      if (map.get(Buffer.from(name).toString('latin1')) !== i) throw new Error(`not found: ${i}`)
    for (const name of names) map.delete(name)
    expect(map.size).toBe(0)
    // In a Map this takes some twenty seconds.
    expect(process.cpuUsage().user - began).toBeLessThan(3_000_000)
  })
})
