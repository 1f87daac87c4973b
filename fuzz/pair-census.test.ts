import fc from 'fast-check'
import { expect, test } from 'vitest'
import { runs } from './runs.ts'
import { type Census, census } from './sim/census.ts'
import { growth } from './sim/census-differences.ts'
import { bridgeOptions } from './sim/pair-life.ts'
import { PairSite } from './sim/pair-site.ts'
import { PAIR_STEP, type PairSetup, type PairStep, pairSetups, SIDES } from './sim/pair-step.ts'
import { LANGUAGE } from './sim/world.ts'

/** Of the bridge and its stream, which are still there: what counts, numbers things, or is a moment; and what was said once, at most 100 lines. */
const MAY_DIFFER = [
  /^(UpstreamLink\.status|Bridge\.counts|(Upstream)?(Stream|Connection)\.(counted|figures))\./,
  /^Upstream\.#lastConnection$|^UpstreamLink\.#(requestId|asked)$|^PendingRequests\.#(last|againMs)$|^Inbound\.#stream$|^Timer\.order$/,
  /^(UpstreamStream|Connection)\.(id|turn|packets|dialledAt|connectedAt|lastReceived|lastSent|pingedAt)$/,
  /^Bridge\.(since|#movedAt|#attempts|#connects|#sessionsLost|#idleAt)$|^Session\.drainedAt$|^Timer\.deadline$|^KnownTarget\./,
  /^PacketIdMap\.#(first|last)$|^PacketIds\.#(next|recordedId)$|^TopicNames\.#last$|^TopicAliases\b/,
  // Of a session: what it held when last asked, its figures' place, timers that it once needed, and an allowance for its subscriptions.
  /^Session\.(tallied|#timers)$|^Timer\.(owner|place)\b|^ClientLink\.(lookups|patienceMs|#pressedAt)$|^TokenBucket\.#perSecond$|^Session\.figuresAt$/,
  /^BridgeNotifications\.#|^UpstreamLink\.(told|failedWith|failures|unexplained|retryAt)/,
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
  return SIDES.map((side) => census(site.worlds[side].server, new Set([site.worlds[side].store, LANGUAGE])))
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
  fc.assert(lives, runs(4))
})
