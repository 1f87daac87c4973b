import { expect, test } from 'vitest'
import type { Packet } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { clientReport } from '../../src/process/client-report.ts'
import { connectPacket, PERSISTENT } from '../broker/harness.ts'
import { TracedServer } from '../trace/traced-server.ts'

const subscribe = (...filters: string[]): Packet => ({
  type: 8,
  packetId: 1,
  subscriptions: filters.map((filter) => ({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 })),
  properties: {},
})

test('each client with its subscriptions, and what waits for it; then the totals', () => {
  const world = new TracedServer()
  world.open(1, 5)
  world.say(1, connectPacket('away', PERSISTENT), subscribe('site/+', 'odd "name"'))
  world.server.handle(0, { kind: 'closed', connection: 1, reason: 'gone' })
  world.open(2, 5)
  world.say(2, connectPacket('many\n', { username: 'ann' }), subscribe(...Array.from({ length: 20 }, (_, i) => `t/${i}`)))
  world.say(2, Publish.of('site/1', Buffer.from('x'), 1, true, 7))
  world.server.gateway.mostIdle = 0
  world.sn('10.0.0.9:1', { type: MsgType.CONNECT, will: false, cleanSession: true, protocolId: 1, duration: 60, clientId: 's' })
  world.sn('10.0.0.9:1', { type: MsgType.DISCONNECT, duration: 600 })
  expect(world.server.gateway.clientsAtRest).toBe(1)
  const shown = Array.from({ length: 16 }, (_, i) => `t/${i} QoS 1`).join(', ')
  expect([...clientReport(world.server)]).toEqual([
    'mqtt:away: absent, 2 subscriptions (site/+ QoS 1, "odd \\"name\\"" QoS 1), 1 message',
    `mqtt:many\\u{a} (user ann) at 10.0.0.2:5000: connected, 20 subscriptions (${shown}, and 4 more), 0 messages`,
    'sn:s: connected, 0 subscriptions, 0 messages',
    '3 clients, 2 connected, 22 subscriptions, 1 message, 1 retained',
  ])
  expect(world.server.gateway.clientsAtRest).toBe(1)
})
