import { expect, test } from 'vitest'
import { DelayedStore } from '../../fuzz/sim/delayed-store.ts'
import type { Gateway } from '../../src/gateway/gateway.ts'
import { endClient, findClient } from '../../src/http/api/client-actions.ts'
import type { ClientEntry } from '../../src/http/api/client-json.ts'
import type { HttpRequest } from '../../src/http/exchange.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { World } from '../server-world.ts'
import { say } from './harness.ts'

/** Where the sensor is. */
const AT = '1.1.1.1:2'
const NOBODY = { active: 0, asleep: 0, awake: 0, lost: 0, disconnected: 0 }

/** Ends a session as `DELETE /api/v1/clients/:id` does. */
function end(world: World, id: string, after: () => void): void {
  const { server } = world
  const work = endClient(server, findClient(server, id) as ClientEntry, { now: world.now, user: 'eva' } as HttpRequest)
  while (work.next(world.now).done !== true) after()
}

/** A world with another sensor, so that the table of clients never becomes empty, and begins anew. */
function withKeeper(store?: DelayedStore): { world: World; gateway: Gateway } {
  const world = new World({ sensorFigures: true }, store)
  world.send('1.1.1.1:1', say.connect('keeper', { clean: false }))
  if (store !== undefined) world.commit(store)
  return { world, gateway: world.server.gateway }
}

test('a sensor whose session is ended during its will dialogue is asked nothing more', () => {
  const { world, gateway } = withKeeper()
  world.send(AT, say.connect('s', { clean: false }), say.disconnect(), say.connect('s', { clean: false, will: true }))
  end(world, 'sn:s', () => world.run())
  expect(gateway.client('s')).toBeUndefined()
  // It connects again at once, without a will.
  world.send(AT, say.connect('s', { clean: false }))
  world.advance(50_000)
  expect(gateway.traffic.sent[MsgType.WILLTOPICREQ]).toBe(1)
  expect(gateway.sensors.counts).toEqual({ ...NOBODY, active: 2 })
})

test('a sensor that is forgotten before it was ever accepted leaves no seat that is none', () => {
  const kept = new DelayedStore()
  const owner = { username: undefined, listener: 'sn', verified: false }
  kept.append({ type: 'session', key: 'sn:s', expirySeconds: 1e6, will: null, owner })
  kept.commit()
  const store = kept.crash({})
  const { world, gateway } = withKeeper(store)
  world.send(AT, say.connect('s', { clean: false, will: true }))
  end(world, 'sn:s', () => world.commit(store))
  world.advance(200_000)
  world.send('1.1.1.1:3', say.connect('x', { clean: false }))
  world.commit(store)
  expect([gateway.client('keeper')!.seat, gateway.client('x')!.seat, gateway.clientCount]).toEqual([0, 1, 2])
})

test('a sensor is forgotten once, and what it was asked for takes no memory', () => {
  const { world, gateway } = withKeeper()
  world.send(AT, say.connect('s', { clean: false, will: true }), say.willTopic('gone'))
  const client = gateway.client('s')!
  expect(gateway.wills.asked).toBeGreaterThan(0)
  gateway.forget(client)
  expect([gateway.wills.asked, gateway.clientCount]).toEqual([0, 1])
  expect(gateway.forget(client)).toBe(0)
  expect(gateway.clientCount).toBe(1)
  world.send('1.1.1.1:3', say.connect('x', { clean: false }))
  world.send('1.1.1.1:4', say.connect('y', { clean: false }))
  expect([gateway.client('x')!.seat, gateway.client('y')!.seat]).toEqual([1, 2])
})
