import fc from 'fast-check'
import { expect, test } from 'vitest'
import { PacketIdMap } from '../../src/broker/packet-id-map.ts'

interface Entry {
  readonly packetId: number
}

/** Both, step by step. */
class Pair {
  readonly ids = new PacketIdMap<Entry>()
  readonly model = new Map<number, Entry>()

  add(packetId: number): void {
    if (this.model.has(packetId)) return
    const entry = { packetId }
    this.ids.add(entry)
    this.model.set(packetId, entry)
  }

  moveToEnd(packetId: number): void {
    const entry = this.model.get(packetId)
    if (entry === undefined) return
    this.ids.moveToEnd(entry)
    this.delete(packetId, false)
    this.model.set(packetId, entry)
  }

  delete(packetId: number, fromBoth = true): void {
    if (fromBoth) this.ids.delete(packetId)
    this.model.delete(packetId)
  }

  check(packetId: number): void {
    expect(this.ids.size).toBe(this.model.size)
    expect(this.ids.get(packetId)).toBe(this.model.get(packetId))
    expect(this.ids.has(packetId)).toBe(this.model.has(packetId))
    expect([...this.ids.values()]).toEqual([...this.model.values()])
  }
}

type Step =
  | { readonly kind: 'next' | 'skip' | 'delete' | 'again' | 'move'; readonly by: number }
  | { readonly kind: 'add'; readonly by: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('next' as const), by: fc.constant(1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('skip' as const), by: fc.integer({ min: 2, max: 50 }) }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('delete' as const), by: fc.nat(40) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('again' as const), by: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('move' as const), by: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('add' as const), by: fc.integer({ min: 1, max: 65_535 }) }) },
)

test('a packet id map is a Map, whatever is added and deleted', () => {
  const start = fc.constantFrom(1, 100, 65_530)
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 200 }), fc.constantFrom(0, 1, 2), (first, steps, kinds) => {
      const pair = new Pair()
      let next = first
      for (const { kind, by } of steps) {
        if (kinds === 0 && kind !== 'next' && kind !== 'delete') continue
        if (kinds === 1 && kind === 'move') continue
        const id = [...pair.model.keys()][by % Math.max(1, pair.model.size)] ?? 1
        if (kind === 'delete') pair.delete(id)
        else if (kind === 'move') pair.moveToEnd(id)
        else if (kind === 'again' && pair.model.has(id)) {
          pair.delete(id)
          pair.add(id)
        } else if (kind === 'add') pair.add(by)
        else {
          next = ((next + by - 1) % 65_535) + 1
          pair.add(next)
        }
        pair.check(id)
        pair.check(next)
      }
    }),
    { numRuns: 500 },
  )
})

test('a large window that is acknowledged out of order', () => {
  const pair = new Pair()
  for (let id = 1; id <= 5000; id++) pair.add(id)
  for (let id = 5000; id > 100; id -= 3) pair.delete(id)
  pair.check(50)
  for (let id = 5001; id < 40_000; id++) {
    pair.add(id)
    pair.delete(id)
  }
  pair.check(50)
})

test('entries may be deleted while they are visited', () => {
  for (const ids of [
    [1, 2, 3],
    [3, 1, 2],
  ]) {
    const pair = new Pair()
    for (const id of ids) pair.add(id)
    const seen: number[] = []
    for (const { packetId } of pair.ids.values()) {
      seen.push(packetId)
      pair.delete(packetId)
    }
    expect(seen).toEqual(ids)
    pair.check(1)
  }
})
