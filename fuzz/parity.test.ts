import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { Site } from './sim/site.ts'
import { FILTERS, TOPICS } from './sim/step.ts'

/** Longer than anything takes on a network that loses nothing. */
const STEP_MS = 5_000

type Step =
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly filter: number }
  | { readonly do: 'publish'; readonly topic: number; readonly qos: 0 | 1 | 2; readonly retain: boolean }
  | { readonly do: 'away' | 'back' | 'restart' }

const filter = fc.nat(FILTERS.length - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('subscribe' as const, 'unsubscribe' as const), filter }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      topic: fc.nat(TOPICS.length - 1),
      qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
      retain: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('away' as const, 'back' as const, 'restart' as const) }) },
)

test('an MQTT client and an MQTT-SN client that do the same see the same', { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25, size: 'max' }), (steps) => {
      const site = new Site()
      // Both have a lasting session, and subscribe with QoS 1.
      const [, node] = site.nodes
      const [publisher, station] = site.stations
      const both = [node!, station!]
      const back = (): void => {
        if (station!.tcp.client.state === 'closed') station!.connect()
        if (node!.sensor.client.state === 'disconnected') node!.connect()
      }
      back()
      site.run(STEP_MS)
      for (const one of [...steps, { do: 'back' } as const]) {
        if (one.do === 'subscribe') for (const client of both) client.subscribe(FILTERS[one.filter]!)
        else if (one.do === 'unsubscribe') for (const client of both) client.unsubscribe(FILTERS[one.filter]!)
        else if (one.do === 'publish') publisher!.publish(TOPICS[one.topic]!, one.qos, one.retain)
        else if (one.do === 'away') for (const client of both) client.disconnect()
        else if (one.do === 'back') back()
        else {
          // A stream breaks with the process, a sensor does not notice.
          const connected = station!.tcp.client.state === 'connected'
          site.world.stopAndStart()
          site.run(1000)
          if (connected) station!.connect()
        }
        site.run(STEP_MS)
      }
      expect(node!.receiver.got).toEqual(station!.receiver.got)
      expect(node!.receiver.kept).toEqual(station!.receiver.kept)
    }),
    runs(60),
  )
})
