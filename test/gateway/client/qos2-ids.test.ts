import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Qos2Ids } from '../../../src/gateway/client/qos2-ids.ts'

const SLOTS = 1024
const HOLD_DOWN = 60_000

interface Id {
  readonly msgId: number
  readonly fingerprint: number
  /** Infinity while it waits for PUBREL. */
  readonly until: number
}

/** The ids as a list of slots that is searched. Which slot a new id takes is up to the subject, among those that are right. */
class Model {
  readonly slots: (Id | undefined)[] = []

  find(matches: (id: Id) => boolean): number {
    return this.slots.findIndex((id) => id !== undefined && matches(id))
  }

  some(matches: (id: Id) => boolean): boolean {
    return this.find(matches) >= 0
  }

  openAt(msgId: number): number {
    return this.find((id) => id.msgId === msgId && id.until === Number.POSITIVE_INFINITY)
  }

  get size(): number {
    return this.slots.filter((id) => id !== undefined).length
  }

  nextOver(): number | undefined {
    const ends = this.slots.flatMap((id) => (id === undefined || id.until === Number.POSITIVE_INFINITY ? [] : [id.until]))
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  /** Why this slot is not one for a new id, or ''. */
  wrongSlot(arrived: number, slot: number): string {
    const id = this.slots[slot]
    if (this.some(({ until }) => until <= arrived)) return id !== undefined && id.until <= arrived ? '' : 'one was over'
    if (slot < this.slots.length && id === undefined) return ''
    if (this.slots.includes(undefined)) return 'one was empty'
    if (this.slots.length < SLOTS) return slot === this.slots.length ? '' : 'a new one was free'
    return id!.until === Math.min(...this.slots.map((each) => each!.until)) ? '' : 'another ends earlier'
  }
}

type Step =
  | { readonly kind: 'open' | 'late'; readonly msgId: number; readonly fingerprint: number }
  | { readonly kind: 'release' | 'refuse'; readonly msgId: number }
  | { readonly kind: 'pass'; readonly ms: number }
  | { readonly kind: 'forget'; readonly most: number }
  | { readonly kind: 'restart' }

const steps = (msgIds: number, ms: number): fc.Arbitrary<Step> => {
  const msgId = fc.integer({ min: 1, max: msgIds })
  const fingerprint = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom(0xffffffff, 0x80000000))
  return fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('open' as const), msgId, fingerprint }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('release' as const), msgId }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('refuse' as const), msgId }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('late' as const), msgId, fingerprint }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: ms }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('forget' as const), most: fc.integer({ min: 1, max: 5 }) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
  )
}

/** Both, step by step. */
class Pair {
  readonly model = new Model()
  ids = new Qos2Ids()
  now = 0

  step(step: Step): void {
    if (step.kind === 'open') this.#open(step.msgId, step.fingerprint)
    else if (step.kind === 'release') this.#release(step.msgId)
    else if (step.kind === 'refuse') this.#refuse(step.msgId)
    else if (step.kind === 'late') this.#late(step.msgId, step.fingerprint)
    else if (step.kind === 'pass') this.now += step.ms
    else if (step.kind === 'forget') this.#forget(step.most)
    else this.#restart()
  }

  check(): void {
    const { ids, model } = this
    expect(ids.size).toBe(model.size)
    expect(ids.nextOver()).toBe(model.nextOver())
    const opened = model.slots.flatMap((id) => (id?.until === Number.POSITIVE_INFINITY ? [id.msgId] : []))
    expect([...ids.opened].sort((a, b) => a - b)).toEqual(opened.sort((a, b) => a - b))
    expect(ids.over(this.now) === undefined).toBe(!model.some(({ until }) => until <= this.now))
    expect(ids.knows(0)).toBe(false)
  }

  #open(msgId: number, fingerprint: number): void {
    const { model, ids, now } = this
    const known = model.openAt(msgId)
    expect(ids.openAs(msgId)).toBe(model.slots[known]?.fingerprint)
    const { bytes } = ids
    const growth = ids.growth(now)
    const slot = ids.open(now, msgId, fingerprint)
    expect(ids.bytes - bytes).toBe(known < 0 ? growth : 0)
    if (known >= 0) expect(slot).toBe(model.slots[known]!.fingerprint === fingerprint ? undefined : known)
    else expect(model.wrongSlot(now, slot!)).toBe('')
    if (slot !== undefined) model.slots[slot] = { msgId, fingerprint, until: Number.POSITIVE_INFINITY }
  }

  #release(msgId: number): void {
    const { model, ids } = this
    expect(ids.knows(msgId)).toBe(model.some((id) => id.msgId === msgId))
    const slot = model.openAt(msgId)
    const until = this.now + HOLD_DOWN
    const released = ids.release(msgId, until)
    if (slot < 0) {
      expect(released).toBe(undefined)
      return
    }
    const { fingerprint } = model.slots[slot]!
    expect(released).toEqual({ slot, fingerprint })
    model.slots[slot] = { msgId, fingerprint, until }
  }

  #refuse(msgId: number): void {
    const slot = this.model.openAt(msgId)
    this.ids.refused(msgId)
    if (slot >= 0) this.model.slots[slot] = { msgId, fingerprint: 0, until: Number.NEGATIVE_INFINITY }
  }

  #late(msgId: number, fingerprint: number): void {
    const isLate = this.model.some(
      (id) =>
        id.msgId === msgId && id.fingerprint === fingerprint && id.until > this.now && id.until !== Number.POSITIVE_INFINITY,
    )
    expect(this.ids.isLateCopy(this.now, msgId, fingerprint)).toBe(isLate)
  }

  #forget(most: number): void {
    for (let left = most; left > 0; left--) {
      const slot = this.ids.over(this.now)
      if (slot === undefined) return
      expect(this.model.slots[slot]!.until <= this.now).toBe(true)
      this.ids.remove(slot)
      this.model.slots[slot] = undefined
    }
  }

  /** The store has nothing of a refusal: the id is open again. Its clock is 1,000 ms ahead. */
  #restart(): void {
    const { model } = this
    this.ids = new Qos2Ids()
    // What the log had before: another id in each slot, and one that is gone.
    this.ids.restore(7, { msgId: 9, fingerprint: 9, until: undefined })
    this.ids.remove(7)
    for (const [slot, id] of model.slots.entries()) {
      if (id === undefined) continue
      this.ids.restore(slot, { msgId: 9999, fingerprint: 1, until: undefined })
      const isReleased = Number.isFinite(id.until)
      const isOpen = !isReleased && model.openAt(id.msgId) < 0
      if (!isReleased && !isOpen && id.until < 0) {
        this.ids.remove(slot)
        model.slots[slot] = undefined
        continue
      }
      const { msgId, fingerprint } = id
      this.ids.restore(slot, { msgId, fingerprint, until: isReleased ? id.until + 1000 : undefined })
      if (isOpen) model.slots[slot] = { msgId, fingerprint, until: Number.POSITIVE_INFINITY }
    }
    // The log may end with slots that are empty.
    while (model.slots.length < 8) model.slots.push(undefined)
    this.ids.recover({ epoch: 1000 }, this.now + HOLD_DOWN)
  }
}

function compare(each: readonly Step[], every: number): Pair {
  const pair = new Pair()
  for (const [i, step] of each.entries()) {
    pair.step(step)
    if (i % every === 0) pair.check()
  }
  pair.check()
  return pair
}

test('ids are remembered as by a list that is searched', () => {
  fc.assert(
    fc.property(fc.array(steps(6, 30_000), { maxLength: 120 }), (each) => void compare(each, 1)),
    { numRuns: 300 },
  )
})

test('so are more ids than there are slots', () => {
  const many = Array.from({ length: 1500 }, (_, i): Step[] => [
    { kind: 'open', msgId: i + 1, fingerprint: i % 7 },
    ...(i % 50 === 0 ? [] : [{ kind: 'release', msgId: i + 1 } as const]),
    { kind: 'pass', ms: 5 },
  ]).flat()
  fc.assert(
    fc.property(fc.array(steps(2000, 10_000), { maxLength: 100 }), (each) => {
      const pair = compare([...many, ...each], 500)
      expect(pair.ids.bytes).toBeLessThan(22_000)
    }),
    { numRuns: 10 },
  )
})

test('a client may leave all of its ids open', () => {
  const ids = new Qos2Ids()
  for (let msgId = 1; msgId <= SLOTS; msgId++) expect(ids.open(0, msgId, msgId)).toBe(msgId - 1)
  expect(ids.open(0, 5000, 1)).toBe(0)
  expect(ids.openAs(1)).toBe(undefined)
  expect(ids.openAs(5000)).toBe(1)
  expect(ids.size).toBe(SLOTS)
})
