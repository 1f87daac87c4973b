import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { type Deed, FILTERS, TOPICS, Twins } from './sim/twins.ts'

const filter = fc.nat(FILTERS.length - 1)
const topic = fc.nat(TOPICS.length - 1)
const qos = fc.constantFrom(0 as const, 1 as const, 2 as const)
const of = <T extends Deed['do']>(doing: T): fc.Arbitrary<T> => fc.constant(doing)

const deed: fc.Arbitrary<Deed> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: of('subscribe'), filter, qos }) },
  { weight: 1, arbitrary: fc.record({ do: of('unsubscribe'), filter }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: of('hear'), topic, qos, retain: fc.boolean(), empty: fc.constantFrom(false, false, false, true) }),
  },
  { weight: 4, arbitrary: fc.record({ do: of('say'), topic, qos, retain: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom('leave', 'vanish', 'come', 'come', 'restart', 'crash', 'nap'),
    }) as fc.Arbitrary<Deed>,
  },
  { weight: 1, arbitrary: fc.record({ do: of('pass'), hours: fc.constantFrom(0.4, 2) }) },
)

const will = fc.option(qos, { nil: undefined })

test('an MQTT client and an MQTT-SN client that do the same see the same, and look the same', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      will,
      fc.boolean(),
      fc.array(deed, { maxLength: 25, size: 'max' }),
      (lasting, willQos, retain, deeds) => {
        const twins = new Twins(lasting, willQos, retain)
        for (const one of [...deeds, { do: 'come' } as const]) twins.do(one)
        expect(twins.heard.sensor).toEqual(twins.heard.station)
        expect(twins.told.sensor).toEqual(twins.told.station)
      },
    ),
    runs(60),
  )
})
