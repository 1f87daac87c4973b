import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { PERFECT } from './sim/network.ts'
import { bytes, textOf } from './sim/texts.ts'
import { World } from './sim/world.ts'

const SECOND = 1000

const said = fc.record({
  topic: fc.constantFrom('room/a', 'room/b', { topicIdType: 'short' as const, topicId: 0x7879 }),
  text: fc.constantFrom('on', 'off'),
  qos: fc.constantFrom(1 as const, 2 as const),
})

test('a sensor with a clean session that begins anew may say again what it has said', () => {
  const property = fc.property(
    fc.array(said, { minLength: 1, maxLength: 5 }),
    fc.integer({ min: 1, max: 120 }),
    fc.constantFrom('goes', 'stays', 'crash'),
    (sayings, gapSeconds, between) => {
      const world = new World(1)
      world.network.faults = PERFECT
      const got: string[] = []
      const collector = world.addTcpClient({
        clientId: 'collector',
        cleanStart: false,
        properties: { sessionExpiryInterval: 3600 },
      })
      collector.onEvent = (event) => {
        if (event.event === 'message') got.push(textOf(event.message.payload))
      }
      const pass = (seconds: number): void => world.schedule.runUntil(world.schedule.now + seconds * SECOND)
      collector.connect()
      pass(1)
      collector.act((mqtt, now) => mqtt.subscribe(now, [{ filter: '#', qos: 2 }]))
      pass(1)
      for (const time of [1, 2]) {
        // Each time without any memory: its message ids begin anew, too.
        const sensor = world.addSensor({ clientId: 's', cleanSession: true })
        sensor.act((sn, now) => sn.connect(now))
        pass(1)
        sensor.act((sn, now) => {
          for (const { topic, text, qos } of sayings) sn.publish(now, topic, bytes(text), qos)
        })
        pass(5)
        if (time === 2) break
        if (between === 'goes') sensor.act((sn, now) => sn.disconnect(now))
        pass(gapSeconds)
        if (between === 'crash') world.crash()
        collector.connect()
        pass(1)
      }
      const once = sayings.map(({ text }) => text)
      expect(got).toEqual([...once, ...once])
    },
  )
  fc.assert(property, runs(100))
})
