import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { type Census, census } from './sim/census.ts'
import { differences } from './sim/census-differences.ts'
import { bidFarewell, FAREWELLS, type Farewell, openOwnSession } from './sim/farewell.ts'
import { Guests } from './sim/guests.ts'
import { type Setup, setups } from './sim/setup.ts'
import { Site, worldOf } from './sim/site.ts'
import type { Step } from './sim/step.ts'
import { STEP } from './sim/steps.ts'
import { LANGUAGE } from './sim/world.ts'

const MINUTE = 60_000
/** The gateway's own session, for messages with QoS -1. */
const GATEWAY = 'sn:roost-gateway'

/** A server to which nothing has happened. */
function untouched(setup: Setup): Census {
  const world = worldOf(setup)
  openOwnSession(world)
  return census(world.server, new Set([world.store, LANGUAGE]))
}

/**
 * What is left of a site when everybody has gone for good, in memory and in the store. A store that was full may not have been told of an end: the
 * next process tells it.
 */
function left(site: Site, taken: readonly Step[], farewell: Farewell): Census {
  const guests = new Guests(site.world)
  for (const [i, step] of taken.entries()) {
    if (i % 5 === 0) guests.come()
    if (site.allows(step)) site.take(step)
  }
  bidFarewell(site, guests, farewell)
  const counts = new Map(census(site.world.server, new Set([site.world.store, LANGUAGE])))
  if (taken.some((step) => step.do === 'fill')) {
    site.world.stopAndStart()
    // Wills that the full store did not take are published now.
    site.run(5 * MINUTE)
    site.abandon()
  }
  const { store } = site.world
  for (const record of store.crash({ folded: store.appended }).replay()) {
    if ('key' in record && record.key.startsWith(GATEWAY)) continue
    const at = `stored.${record.type}`
    counts.set(at, (counts.get(at) ?? 0) + 1)
  }
  return counts
}

/** All QoS 2 ids of a sensor have ended before a restart. Their empty table was counted, and then lost when the sensor rested. */
const QOS2_IDS_ENDED: Step[] = [
  { do: 'connect', who: 0 },
  { do: 'advance', ms: 15_000 },
  { do: 'cut', who: 0, behind: 'PUBCOMP', way: 'down' },
  { do: 'advance', ms: 7_200_000 },
  { do: 'restart' },
  { do: 'sleep', who: 0, seconds: 60 },
  { do: 'publish', who: 0, topic: 0, qos: -1, retain: false, long: false, times: 1, expires: 0 },
]

test('after all sessions have expired every map and tree is empty', { timeout: 600_000 }, () => {
  const steps = fc.array(STEP, { minLength: 1, maxLength: 60, size: 'max' })
  const lives = fc.property(setups(), steps, fc.constantFrom(...FAREWELLS), (scarce, taken, farewell) => {
    const site = new Site(scarce)
    expect(differences(left(site, taken, farewell), untouched(site.setup))).toEqual([])
  })
  fc.assert(lives, { ...runs(50), examples: [[{}, QOS2_IDS_ENDED, 'settled']] })
})
