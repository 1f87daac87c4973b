import { expect, test } from 'vitest'
import { PacketType } from '../../src/mqtt/packets.ts'
import { Dialling, Owner } from './pair.ts'
import { FarServer } from './server-pair.ts'

test('a link connects, publishes with each QoS and gets messages', () => {
  const near = new Dialling()
  const far = new FarServer(near)
  const owner = new Owner()
  const link = near.open(owner)
  expect(link.state).toBe('verifying')
  near.connect(link)
  expect(near.dialled).toEqual(['mqtt://far:1883'])
  expect(link.status).toMatchObject({ state: 'up', version: 5, dials: 1, connects: 1 })
  expect(owner.got[0]).toMatchObject({ type: PacketType.CONNACK, reasonCode: 0, sessionPresent: false })
  const other = far.client('other')
  other.subscribe(near.now, [{ filter: 'up/#', qos: 2 }])
  far.run()
  near.publish(link, 'up/0', 'a', 0, 0)
  near.publish(link, 'up/1', 'b', 1, 7)
  near.publish(link, 'up/2', 'c', 2, 8)
  const got = far.events.flatMap((event) => ('message' in event ? [(event.message as { topic: string }).topic] : []))
  expect(got).toEqual(['up/0', 'up/1', 'up/2'])
  expect(owner.ids(PacketType.PUBACK)).toEqual([7])
  expect(owner.ids(PacketType.PUBCOMP)).toEqual([8])
  near.subscribe(link, 1, { filter: 'down/#' })
  expect(owner.ids(PacketType.SUBACK)).toEqual([1])
  for (const qos of [0, 1, 2] as const) other.publish(near.now, { topic: `down/${qos}`, payload: Buffer.from('x'), qos })
  far.run()
  near.run()
  expect(owner.messages.map(({ topic, qos }) => [topic, qos])).toEqual([
    ['down/0', 0],
    ['down/1', 1],
    ['down/2', 2],
  ])
  expect(link.inFlight).toBe(0)
})
