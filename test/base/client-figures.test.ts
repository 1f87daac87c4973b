import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CLIENT_COUNTERS, ClientFigures } from '../../src/base/client-figures.ts'

const ZERO = Object.fromEntries(CLIENT_COUNTERS.map((name) => [name, 0]))

test('32 bytes a session, and nothing once all have gone', () => {
  const figures = new ClientFigures()
  const places = Array.from({ length: 10_240 }, () => figures.add())
  expect(figures.bytes).toBe(10_240 * 32)
  for (const place of places) figures.remove(place)
  expect(figures.bytes).toBe(0)
  expect(figures.counters(figures.add())).toEqual(ZERO)
})

test('a connection that outlives its session adds nothing to the next one in its place', () => {
  const figures = new ClientFigures()
  figures.add()
  const first = figures.add()
  const place = figures.placeOf(first)!
  figures.addAll(place, { bytesSent: 5 })
  expect(figures.counters(first)).toMatchObject({ bytesSent: 5 })
  figures.remove(first)
  expect(figures.add()).toBe(first)
  figures.addAll(place, { bytesSent: 5 })
  expect(figures.counters(first)).toEqual(ZERO)
})

test('counters begin again at 2^32, with those of the connection', () => {
  const figures = new ClientFigures()
  const place = figures.add()
  figures.count(place, 'bytesReceived', 2 ** 32 - 1)
  expect(figures.counters(place, { bytesReceived: 3 })).toMatchObject({ bytesReceived: 2 })
  figures.count(place, 'bytesReceived', 2)
  expect(figures.counters(place)).toMatchObject({ bytesReceived: 1 })
})

test('as a model says, whatever comes and goes', () => {
  const step = fc.oneof(
    fc.constant({ kind: 'add' } as const),
    fc.record({ kind: fc.constant('remove' as const), which: fc.nat(20) }),
    fc.record({
      kind: fc.constant('count' as const),
      which: fc.nat(20),
      by: fc.nat(1000),
      counter: fc.constantFrom(...CLIENT_COUNTERS),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const figures = new ClientFigures()
      const model: { place: number; counts: Record<string, number> }[] = []
      for (const each of steps) {
        if (each.kind === 'add') model.push({ place: figures.add(), counts: { ...ZERO } })
        else if (model.length > 0) {
          const at = each.which % model.length
          if (each.kind === 'remove') figures.remove(model.splice(at, 1)[0]!.place)
          else {
            const { place, counts } = model[at]!
            figures.count(place, each.counter, each.by)
            counts[each.counter]! += each.by
          }
        }
        for (const { place, counts } of model) expect(figures.counters(place)).toEqual(counts)
      }
    }),
  )
})
