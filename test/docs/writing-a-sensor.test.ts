import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { describeDatagram } from '../../src/mqttsn/describe.ts'
import { RawSensor } from '../interop/raw-sensor.ts'
import { broker } from '../library/broker.ts'

const page = readFileSync(new URL('../../docs/writing-a-sensor.md', import.meta.url), 'utf8')

interface Shown {
  readonly from: string
  /** What `roost sn decode` prints. */
  readonly meaning: string
  readonly hex: string
}

/** The messages of the page, in their order: a line with an arrow, and below it the octets, each line with what they mean. */
const messages: readonly Shown[] = Array.from(
  page.matchAll(/^ {4}(sensor|gateway) -> (.+)\n((?: {6}[0-9a-f]{2}\b.*\n)+)/gm),
  ([, from, meaning, octets]) => ({
    from: from!,
    meaning: meaning!,
    hex: Array.from(octets!.matchAll(/^ {6}((?:[0-9a-f]{2} )+)/gm), ([, hex]) => hex!.replaceAll(' ', '')).join(''),
  }),
)

test('each message means what stands above its octets', () => {
  expect(messages).toHaveLength(16)
  for (const { meaning, hex } of messages) expect(describeDatagram(Buffer.from(hex, 'hex'), { payloads: true })).toBe(meaning)
})

test('a sensor that sends these octets gets these answers', async () => {
  const roost = await broker({ tAdv: 0 })
  const sensor = await RawSensor.open(roost.ports.sn!)
  for (const { from, meaning, hex } of messages) {
    if (meaning === 'PINGREQ client="node-7"') await roost.publish('site/7/set', 'on', { qos: 1 })
    if (from === 'sensor') sensor.sendHex(hex)
    else expect(await sensor.next(), meaning).toBe(hex)
  }
  sensor.close()
  expect(sensor.unread).toEqual([])
})
