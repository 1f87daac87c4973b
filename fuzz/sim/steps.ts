import fc from 'fast-check'
import { WITHOUT } from '../runs.ts'
import type { Claims } from './claims.ts'
import type { Life } from './life.ts'
import { setups } from './setup.ts'
import { FILTERS, type Step, TOPICS } from './step.ts'
import { FATES } from './tape-network.ts'
import { COMMIT_MS } from './world.ts'

const HOUR = 3600_000
const DAY = 24 * HOUR
const NODES = 3
const node = fc.nat(NODES - 1)
const station = fc.integer({ min: NODES, max: 2 * NODES - 1 })
const anybody = fc.nat(2 * NODES - 1)
const topic = fc.nat(TOPICS.length - 1)
const filter = fc.nat(FILTERS.length - 1)
const qos = fc.constantFrom(-1, 0, 1, 1, 2, 2)
const long = fc.constantFrom(false, false, true)
/** 0 is none. */
const expires = fc.constantFrom(0, 0, 0, 0, 5, 60, 3600)
const unfit = fc.constantFrom(false, false, false, true)
const times = fc.constantFrom(1, 1, 1, 3, 12)
const fates = fc.array(fc.constantFrom(...FATES), { minLength: 1, maxLength: 6 })

const of = <T extends Step['do']>(doing: T, rest: Record<string, fc.Arbitrary<unknown>> = {}): fc.Arbitrary<Step> =>
  fc.record({ do: fc.constant(doing), ...rest }) as unknown as fc.Arbitrary<Step>

/** Life goes on most of the time; faults are rarer, and do not all come at once. */
const ALL: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<Step> }[] = [
  { weight: 6, arbitrary: of('connect', { who: anybody }) },
  { weight: 4, arbitrary: of('subscribe', { who: anybody, filter }) },
  { weight: 7, arbitrary: of('join', { who: anybody, filter }) },
  {
    weight: 10,
    arbitrary: of('publish', {
      who: anybody,
      topic,
      qos,
      retain: fc.constantFrom(false, false, false, true),
      long,
      times,
      expires,
      unfit,
    }),
  },
  { weight: 2, arbitrary: of('burst', { who: node, times: fc.constantFrom(2, 5, 20) }) },
  { weight: 1, arbitrary: of('keep', { who: node }) },
  {
    weight: 3,
    arbitrary: of('cut', {
      who: anybody,
      behind: fc.constantFrom('PUBLISH', 'PUBREC', 'PUBREC', 'PUBREC', 'PUBREL', 'PUBCOMP'),
      way: fc.constantFrom('up', 'down'),
    }),
  },
  { weight: 3, arbitrary: of('sleep', { who: node, seconds: fc.constantFrom(60, 300, 3600) }) },
  { weight: 3, arbitrary: of('wake', { who: node }) },
  { weight: 8, arbitrary: of('advance', { ms: fc.constantFrom(50, 1000, 15_000, 60_000, 600_000, 7_200_000) }) },
  { weight: 4, arbitrary: of('tape', { who: node, up: fc.boolean(), fates }) },
  { weight: 1, arbitrary: of('register', { who: node, topic }) },
  { weight: 1, arbitrary: of('unsubscribe', { who: anybody, filter }) },
  { weight: 1, arbitrary: of('ping', { who: node }) },
  { weight: 1, arbitrary: of('will', { who: node }) },
  { weight: 3, arbitrary: of('congest', { who: node }) },
  { weight: 1, arbitrary: of('disconnect', { who: anybody }) },
  { weight: 1, arbitrary: of('disconnect-with-will', { who: anybody }) },
  { weight: 1, arbitrary: of('break', { who: anybody }) },
  { weight: 1, arbitrary: of('break-all') },
  { weight: 2, arbitrary: of('set-clock', { by: fc.constantFrom(-30 * DAY, -HOUR, 10_000, HOUR, 30 * DAY) }) },
  { weight: 2, arbitrary: of('pause', { ms: fc.constantFrom(700, 5000, 60_000, 600_000) }) },
  { weight: 1, arbitrary: of('roam', { who: node }) },
  { weight: 1, arbitrary: of('reboot', { who: node }) },
  { weight: 1, arbitrary: of('partition', { who: node }) },
  { weight: 1, arbitrary: of('namesake', { who: node }) },
  {
    weight: 1,
    arbitrary: of('guess', {
      who: node,
      msgId: fc.constantFrom(1, 2, 3, 66, 40_000),
      says: fc.constantFrom(undefined, 'PUBREC', 'PUBREL', 'PUBCOMP', 'congestion', 'invalid topic id', 'not supported'),
      topicId: fc.constantFrom(0, 0x0401, 0x0402),
      times: fc.constantFrom(1, 5),
    }),
  },
  { weight: 1, arbitrary: of('look-away', { who: station }) },
  { weight: 1, arbitrary: of('forge', { who: station, packetId: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 1, arbitrary: of('look-back', { who: station }) },
  { weight: 1, arbitrary: of('heal') },
  { weight: 1, arbitrary: of('stall') },
  { weight: 1, arbitrary: of('unstall') },
  { weight: 1, arbitrary: of('slow', { ms: fc.constantFrom(COMMIT_MS, 500, 20_000) }) },
  { weight: 1, arbitrary: of('fill') },
  { weight: 1, arbitrary: of('empty') },
  { weight: 1, arbitrary: of('restart') },
  {
    weight: 2,
    arbitrary: of('http-publish', { topic, qos: fc.constantFrom(0, 1, 2), retain: fc.constantFrom(false, true), unfit }),
  },
  { weight: 1, arbitrary: of('http-delete', { topic }) },
  { weight: 1, arbitrary: of('http-delete-many', { filter }) },
  { weight: 1, arbitrary: of('http-list') },
  { weight: 1, arbitrary: of('http-disconnect', { who: anybody }) },
  { weight: 1, arbitrary: of('http-end', { who: anybody }) },
  { weight: 2, arbitrary: of('crash', { survivors: fc.nat(3), torn: fc.boolean() }) },
]

export const STEP: fc.Arbitrary<Step> = fc.oneof(...ALL).filter((step) => !WITHOUT.includes(step.do))

/** Sensors sleep, and send and are sent messages in their sleep; now and then anything else happens. */
export const NIGHT_STEP: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: of('sleep', { who: node, seconds: fc.constantFrom(60, 300) }) },
  { weight: 5, arbitrary: of('wake', { who: node }) },
  { weight: 8, arbitrary: of('publish', { who: anybody, topic, qos, retain: fc.boolean(), long, times, expires, unfit }) },
  { weight: 6, arbitrary: of('advance', { ms: fc.constantFrom(50, 1000, 15_000, 60_000, 150_000, 600_000) }) },
  { weight: 3, arbitrary: of('tape', { who: node, up: fc.boolean(), fates }) },
  { weight: 2, arbitrary: of('subscribe', { who: node, filter }) },
  { weight: 1, arbitrary: of('roam', { who: node }) },
  { weight: 1, arbitrary: of('partition', { who: node }) },
  { weight: 10, arbitrary: STEP },
)

/** What happens to a site, in order: it is built first. */
export const steps = (most: number): fc.Arbitrary<Step[]> =>
  fc
    .tuple(setups(), fc.array(STEP, { minLength: 1, maxLength: most, size: 'max' }))
    .map(([scarce, taken]) => [{ do: 'build', ...scarce }, ...taken])

/** The same as commands of model-based testing: `Claims` is the model, and the life around the production server is what it is held against. */
export const commands = (most: number): fc.Arbitrary<Iterable<Happens>> =>
  fc.commands<Claims, Life>([STEP.map((step) => new Happens(step))], { maxCommands: most, size: 'max' }) as fc.Arbitrary<
    Iterable<Happens>
  >

class Happens implements fc.Command<Claims, Life> {
  readonly #step: Step

  constructor(step: Step) {
    this.#step = step
  }

  check(): boolean {
    return true
  }

  run(_claims: Claims, life: Life): void {
    if (!life.site.allows(this.#step)) return
    const found = life.take(this.#step)
    if (found.length > 0) throw new Error(found.join('\n'))
  }

  toString(): string {
    return JSON.stringify(this.#step)
  }
}
