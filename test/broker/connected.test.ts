import { expect, test } from 'vitest'
import type { Connect } from '../../src/mqtt/packets.ts'
import { TestBroker } from './harness.ts'

test.each<[Partial<Connect>, string]>([
  [{ protocolVersion: 3, keepAlive: 60 }, 'MQTT 3.1, keep alive 60 s, clean session'],
  [{ protocolVersion: 4, cleanStart: false }, 'MQTT 3.1.1, no keep alive, persistent session'],
  [{}, 'MQTT 5.0, no keep alive, clean start, session expiry 0 s'],
  [
    { cleanStart: false, keepAlive: 9, properties: { sessionExpiryInterval: 0xffff_ffff } },
    'MQTT 5.0, keep alive 9 s, session without expiry',
  ],
])('client-connected says what was asked for: %j', (options, reason) => {
  const world = new TestBroker()
  world.connect('c', { username: 'ann', ...options })
  expect(world.notices).toMatchObject([{ code: 'client-connected', client: 'mqtt:c', user: 'ann', reason }])
})
