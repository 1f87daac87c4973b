import type { Guests } from './guests.ts'
import type { Site } from './site.ts'
import type { World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const PREDEFINED = { topicIdType: 'predefined', topicId: 1 } as const

/** How everybody goes: when nothing is owed any more, in the middle of it, or without a word. */
export const FAREWELLS = ['settled', 'goodbye', 'silence'] as const
export type Farewell = (typeof FAREWELLS)[number]

/** A message with QoS -1 opens the gateway's own session, the only one that stays. */
export function openOwnSession(world: World): void {
  world.addSensor({ clientId: 'nobody' }).act((sn, now) => sn.publish(now, PREDEFINED, new Uint8Array(1), -1))
  world.schedule.runUntil(world.schedule.now + MINUTE)
}

/** Faults end, everybody goes for good, and the time comes at which all of them are forgotten. */
export function bidFarewell(site: Site, guests: Guests, how: Farewell): void {
  site.take({ do: 'heal' })
  site.mendStore()
  // What is on its way to a slow disk is there at once: who still waits for CONNACK cannot say goodbye.
  site.world.store.commit()
  site.world.input({ kind: 'durable' })
  site.run(SECOND)
  for (const { tcp } of site.stations) tcp.lookBack()
  if (how === 'settled') site.settle()
  const silently = how === 'silence'
  guests.leave(silently)
  for (const [who, node] of site.nodes.entries()) {
    if (silently) site.take({ do: 'partition', who })
    else node.disconnect()
  }
  for (const station of site.stations) {
    if (station === site.collector) continue
    if (silently) station.tcp.breakStream()
    else station.disconnect()
  }
  // What was on its way arrives, so that nothing is retained after the retained messages were cleared.
  site.run(10 * MINUTE)
  site.abandon()
  openOwnSession(site.world)
}
