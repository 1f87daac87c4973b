import { describe, expect, it } from 'vitest'
import type { StoreRecord } from '../../src/store/store.ts'
import { DelayedStore } from './delayed-store.ts'

const record = (id: number): StoreRecord => ({ type: 'done', key: 'mqtt:c', id })

describe('DelayedStore', () => {
  it('makes records durable when the test says so', () => {
    const store = new DelayedStore()
    expect([1, 2, 3].map((id) => store.append(record(id)))).toEqual([1, 2, 3])
    expect([store.durable, store.appended, store.nextTimeout()]).toEqual([0, 3, undefined])
    expect(store.commit(2)).toBe(2)
    expect(store.commit(1)).toBe(2)
    expect(store.commit()).toBe(3)
    expect(store.durable).toBe(3)
  })

  it('commits after a delay, what one instant appended together and what came since in the next', () => {
    const store = new DelayedStore(10)
    expect(store.nextTimeout()).toBeUndefined()
    store.now = 100
    store.append(record(1))
    store.append(record(2))
    store.now = 105
    store.append(record(3))
    expect(store.nextTimeout()).toBe(110)
    store.handleTimeout(109)
    expect(store.durable).toBe(0)
    store.handleTimeout(112)
    expect([store.durable, store.nextTimeout()]).toEqual([2, 122])
    store.handleTimeout(122)
    expect([store.durable, store.nextTimeout()]).toEqual([3, undefined])
  })

  it('neither loses nor commits anything while it is stalled', () => {
    const store = new DelayedStore(10)
    store.append(record(1))
    store.stalled = true
    store.handleTimeout(1000)
    expect([store.durable, store.nextTimeout()]).toEqual([0, undefined])
    store.stalled = false
    store.handleTimeout(1000)
    expect(store.durable).toBe(1)
  })

  it("gives 'full' while it refuses", () => {
    const store = new DelayedStore()
    store.refuse = true
    expect([store.append(record(1)), store.appended]).toEqual(['full', 0])
    store.refuse = false
    expect(store.append(record(1))).toBe(1)
  })

  it.each([
    ['what was durable', {}, [1, 2]],
    ['a commit whose news was lost as well', { survivors: 1 }, [1, 2, 3]],
    ['nothing of a torn record', { torn: true }, [1, 2]],
    ['nothing of a torn record after one that survived', { survivors: 1, torn: true }, [1, 2, 3]],
    ['no more than there was', { survivors: 9, torn: true }, [1, 2, 3, 4]],
  ])('has after a crash %s', (_what, crash, ids) => {
    const store = new DelayedStore(10)
    for (let id = 1; id <= 4; id++) store.append(record(id))
    store.commit(2)
    const after = store.crash(crash)
    expect([...after.replay()]).toEqual(ids.map(record))
    expect([after.durable, after.append(record(9)), after.nextTimeout()]).toEqual([ids.length, ids.length + 1, 10])
    expect([...store.replay()]).toEqual([1, 2, 3, 4].map(record))
  })

  it('replays records as they were when they were appended', () => {
    const store = new DelayedStore()
    const changing = { type: 'done' as const, key: 'mqtt:c', id: 1 }
    store.append(changing)
    changing.id = 2
    expect([...store.replay()]).toEqual([record(1)])
  })
})
