import fc from 'fast-check'
import { WITHOUT } from '../runs.ts'

/** Servers of a roaming site: two gateways, and the cluster behind them. */
export type Place = 'a' | 'b' | 'cluster'
export const PLACES = ['a', 'b', 'cluster'] as const
/** Of a gateway. */
export type Area = 'a' | 'b'
export const AREAS = ['a', 'b'] as const

export const NODES = 3
/** Last levels of topics, each below `up/<node>/` and `down/<node>/`. */
export const LEAVES = ['x', 'y'] as const

/** How a site is built. */
export interface RoamSetup {
  /** Of the gateways towards the cluster. */
  readonly version: 'auto' | 4 | 5
  /** That the cluster serves. */
  readonly maximumQos: 1 | 2
  readonly sleepers: 'keep' | 'park'
  /** Messages in flight between a gateway and the cluster for one sensor. */
  readonly window: number
  readonly wills: boolean
  /** Of the radio. */
  readonly lossy: boolean
}

export const PLAIN_ROAM: RoamSetup = {
  version: 5,
  maximumQos: 2,
  sleepers: 'keep',
  window: 20,
  wills: false,
  lossy: false,
}

export type RoamStep =
  | ({ readonly do: 'build' } & Partial<RoamSetup>)
  /** A sensor publishes. */
  | {
      readonly do: 'publish' | 'send'
      readonly node: number
      readonly leaf: number
      readonly qos: 0 | 1 | 2
      readonly times: number
    }
  | { readonly do: 'sleep'; readonly node: number; readonly seconds: number }
  | { readonly do: 'wake' | 'roam' | 'connect' | 'leave'; readonly node: number }
  /** It publishes, the stream to the cluster breaks with its message or the answer, and it goes on at the other gateway. */
  | {
      readonly do: 'move'
      readonly node: number
      readonly leaf: number
      readonly qos: 1 | 2
      readonly loses: 'message' | 'answer'
    }
  /** Somebody connects to the cluster with the client id of a sensor and a clean session: its session is lost. */
  | { readonly do: 'forget'; readonly node: number }
  /** The stream of an application breaks. */
  | { readonly do: 'break' }
  /** What happens to the network between a gateway and the cluster. */
  | { readonly do: 'cut' | 'silence' | 'refuse' | 'heal'; readonly area: Area }
  | { readonly do: 'crash'; readonly place: Place; readonly survivors: number; readonly torn: boolean }
  | { readonly do: 'restart' | 'stall' | 'unstall' | 'fill' | 'empty'; readonly place: Place }
  | { readonly do: 'slow' | 'pause'; readonly place: Place; readonly ms: number }
  | { readonly do: 'advance'; readonly ms: number }

const of = <T extends RoamStep['do']>(doing: T, rest: Record<string, fc.Arbitrary<unknown>> = {}): fc.Arbitrary<RoamStep> =>
  fc.record({ do: fc.constant(doing), ...rest }) as unknown as fc.Arbitrary<RoamStep>

const node = fc.nat(NODES - 1)
const area = fc.constantFrom(...AREAS)
const place = fc.constantFrom(...PLACES)
const what = {
  node,
  leaf: fc.nat(LEAVES.length - 1),
  qos: fc.constantFrom(0, 1, 1, 2, 2),
  times: fc.constantFrom(1, 1, 3, 8),
}

const MOVE = { node, leaf: what.leaf, qos: fc.constantFrom(1, 2), loses: fc.constantFrom('message', 'answer') }

const ALL: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<RoamStep> }[] = [
  { weight: 8, arbitrary: of('publish', what) },
  { weight: 10, arbitrary: of('send', what) },
  { weight: 5, arbitrary: of('sleep', { node, seconds: fc.constantFrom(30, 300, 3600) }) },
  { weight: 4, arbitrary: of('wake', { node }) },
  { weight: 5, arbitrary: of('roam', { node }) },
  { weight: 2, arbitrary: of('connect', { node }) },
  { weight: 3, arbitrary: of('move', MOVE) },
  { weight: 1, arbitrary: of('leave', { node }) },
  { weight: 8, arbitrary: of('advance', { ms: fc.constantFrom(5, 20, 100, 1000, 5000, 60_000, 400_000) }) },
  { weight: 3, arbitrary: of('cut', { area }) },
  { weight: 1, arbitrary: of('silence', { area }) },
  { weight: 1, arbitrary: of('refuse', { area }) },
  { weight: 3, arbitrary: of('heal', { area }) },
  { weight: 4, arbitrary: of('crash', { place, survivors: fc.nat(3), torn: fc.boolean() }) },
  { weight: 1, arbitrary: of('restart', { place }) },
  { weight: 1, arbitrary: of('forget', { node }) },
  { weight: 1, arbitrary: of('break') },
  { weight: 1, arbitrary: of('stall', { place }) },
  { weight: 2, arbitrary: of('unstall', { place }) },
  { weight: 1, arbitrary: of('fill', { place }) },
  { weight: 2, arbitrary: of('empty', { place }) },
  { weight: 1, arbitrary: of('slow', { place, ms: fc.constantFrom(3, 100, 2000) }) },
  { weight: 1, arbitrary: of('pause', { place, ms: fc.constantFrom(700, 5000, 60_000) }) },
]

export const ROAM_STEP: fc.Arbitrary<RoamStep> = fc.oneof(...ALL).filter((step) => !WITHOUT.includes(step.do))

/** Half of the sites are plain; in the others something is scarce or different. */
export const roamSetups = (): fc.Arbitrary<Partial<RoamSetup>> =>
  fc.oneof(
    fc.constantFrom<Partial<RoamSetup>>({}, { version: 4 }),
    fc.record(
      {
        version: fc.constantFrom<RoamSetup['version']>('auto', 4, 5, 5),
        maximumQos: fc.constant(1 as const),
        sleepers: fc.constant('park' as const),
        window: fc.constantFrom(1, 3),
        wills: fc.constant(true),
        lossy: fc.constant(true),
      },
      { requiredKeys: [] },
    ),
  )
