import fc from 'fast-check'
import { expect, test } from 'vitest'
import { knownRuns } from './runs.ts'
import { type Census, census } from './sim/census.ts'
import { growth } from './sim/census-differences.ts'
import { bridgeOptions } from './sim/pair-life.ts'
import { PairSite } from './sim/pair-site.ts'
import { PAIR_STEP, type PairSetup, type PairStep, pairSetups, SIDES } from './sim/pair-step.ts'
import { LANGUAGE } from './sim/world.ts'

/** The bridge and its sessions are still there, with moments and numbers of their own: of numbers only what is held, or under way, counts. */
const isSum = (field: string): boolean =>
  /\.#?(sum|bytes|\w*Bytes|queued\w*|unanswered|outstanding|inFlight|oneByOne|quotas|refusals)$/.test(field)

/** What may differ between two such lives. */
const MAY_DIFFER = [
  // Of a session: timers that it once needed, an allowance for its subscriptions, and where its figures stand.
  /^Session\.(#timers|figuresAt)$|^Timer\.(owner|place)\b|^ClientLink\.lookups$/,
  // What the bridge and its stream have said, and carried; the first at most 100 lines.
  /^BridgeNotifications\.#|^UpstreamLink\.(told|failedWith)|\.counted\.|\.figures\.|^TopicAliases\b/,
]

/** Everything that a session and a stream keep once it has happened. */
const ONCE: readonly PairStep[] = [
  { do: 'restart', side: 'near' },
  { do: 'advance', ms: 60_000 },
  { do: 'restart', side: 'far' },
  { do: 'advance', ms: 60_000 },
  { do: 'cut' },
  { do: 'advance', ms: 60_000 },
  ...SIDES.flatMap((side) =>
    ([0, 1, 2] as const).map((qos): PairStep => ({ do: 'publish', side, app: 0, topic: 2, qos, times: 12 })),
  ),
  { do: 'advance', ms: 60_000 },
]

/** What both servers hold in memory when faults have ended, everything has arrived, and all but the bridge have gone for good. */
function left(scarce: Partial<PairSetup>, taken: readonly PairStep[]): Census[] {
  const site = new PairSite(scarce, bridgeOptions)
  for (const step of taken) site.take(step)
  site.settle()
  site.probe()
  site.abandon()
  return SIDES.map((side) => census(site.worlds[side].server, new Set([site.worlds[side].store, LANGUAGE]), isSum))
}

test('a bridge and its sessions hold nothing more when everything has arrived', { timeout: 600_000 }, () => {
  const steps = fc.array(PAIR_STEP, { minLength: 1, maxLength: 60, size: 'max' })
  // For one that connects once messages wait for ever, and what one says of itself stays retained.
  const setups = pairSetups().filter(({ startType, notifies = false }) => startType !== 'once' && !notifies)
  const lives = fc.property(setups, steps, (scarce, taken) => {
    const quiet = left(scarce, ONCE)
    const found = left(scarce, [...taken, ...ONCE]).flatMap((counts, i) =>
      growth(counts, quiet[i]!).map((what) => `${SIDES[i]} ${what}`),
    )
    expect(
      found.filter((what) => !MAY_DIFFER.some((names) => names.test(what.slice(what.indexOf(' ') + 1, what.lastIndexOf(':'))))),
    ).toEqual([])
  })
  fc.assert(lives, knownRuns(4))
})
