import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ByteReader, ByteWriter } from '../../../src/base/bytes.ts'
import { type Offered, TopicRegistry } from '../../../src/gateway/topics/registry.ts'

const FIRST_ID = 0x401
const LAST_ID = FIRST_ID + 7
const RANGE = { from: FIRST_ID, to: LAST_ID }

/** What may happen to a registry; each returns what can be seen of it. */
const DEEDS: Readonly<Record<string, (registry: TopicRegistry, id: number, name: string, now: number) => unknown>> = {
  asked: (registry, _id, name) => assign(registry, name, true),
  offered: (registry, _id, name) => assign(registry, name, false),
  nameOf: (registry, id) => registry.nameOf(id),
  idOf: (registry, _id, name) => registry.idOf(name),
  topicOf: (registry, id) => registry.topicOf(id),
  meantSince: (registry, id) => registry.meantSince(id),
  offeredAs: (registry, id) => [registry.offeredAs(id), registry.isAsked(id), registry.isDoubtful(id), registry.isReceived(id)],
  answeredStale: (registry, id) => registry.answeredStale(id),
  markAsked: (registry, id) => registry.markAsked(id),
  undo: (registry, id) => registry.undo(id),
  remove: (registry, id) => registry.remove(id),
  leastRecentlyUsed: (registry, id) => registry.leastRecentlyUsed(new Set([id])),
  restore: (registry, id, name) => (registry.nameOf(id) === undefined ? registry.restore(id, name, 'first') : undefined),
  knows: (registry, id) => [registry.knows(id), registry.isTrusted(id), registry.knowsPredefined(id)],
  markKnown: (registry, id, _name, now) => (registry.nameOf(id) === undefined ? undefined : registry.markKnown(id, now)),
  markUnknown: (registry, id) => registry.markUnknown(id),
  nextUnknown: (registry, _id, name) => registry.nextUnknown((each) => each !== name),
  markRefused: (registry, _id, name) => registry.markRefused(name),
  markWanted: (registry, _id, name) => registry.markWanted(name),
  markUnanswered: (registry, id, name) => registry.markUnanswered(name, id, id + 1),
  ignores: (registry, _id, name) => [registry.ignores(name), registry.refuses(name)],
  answeredLate: (registry, id) => registry.answeredLate(id, id + 1),
  markNotPredefined: (registry, id) => registry.markNotPredefined(id),
  reconnected: (registry, id) => registry.reconnected(id % 2 === 0),
  clear: (registry) => registry.clear(),
}

function assign(registry: TopicRegistry, name: string, asked: boolean): unknown {
  const free = registry.freeNumber(asked, 2)
  if (free !== undefined && registry.idOf(name) === undefined) registry.add(free.id, name, free.offered as Offered)
  return free
}

const look = (registry: TopicRegistry): unknown => [registry.size, registry.bytes, registry.highest]

test('a registry that was packed and unpacked goes on like one that was not', () => {
  const step = fc.record({
    deed: fc.constantFrom(...Object.keys(DEEDS)),
    id: fc.integer({ min: FIRST_ID, max: LAST_ID }),
    name: fc.constantFrom('a', 'b/c', 'größe/°', '温度', 'a/long/name/of/a/topic', ''),
    packs: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80, size: 'max' }), (steps) => {
      const kept = new TopicRegistry(RANGE)
      const all = { bytes: 0, count: 0 }
      let packed = new TopicRegistry(RANGE, all)
      for (const [now, { deed, id, name, packs }] of steps.entries()) {
        if (packs) {
          const w = new ByteWriter()
          packed.pack(w)
          packed.uncount()
          expect([packed.bytes, all.bytes]).toEqual([0, 0])
          packed = new TopicRegistry(RANGE, all)
          const r = new ByteReader(w.toBytes())
          packed.unpack(r)
          expect([r.error, r.remaining]).toEqual(['', 0])
        }
        expect(DEEDS[deed]!(packed, id, name, now)).toEqual(DEEDS[deed]!(kept, id, name, now))
        expect(look(packed)).toEqual(look(kept))
        expect(all.bytes).toBe(packed.bytes)
      }
    }),
    { numRuns: 500 },
  )
})
