import fc from 'fast-check'
import { WITHOUT } from '../runs.ts'
import type { TrunkPacket } from './trunk.ts'

export type Side = 'near' | 'far'
export const SIDES = ['near', 'far'] as const
export const otherSide = (side: Side): Side => (side === 'near' ? 'far' : 'near')

/** A topic by its name on either side, and where its messages go. */
export interface PairTopic {
  readonly near: string
  readonly far: string
  readonly direction: 'in' | 'out' | 'both' | 'none'
  /** Of the bridge: the lower one counts. */
  readonly qos: 0 | 1 | 2
}

const same = (name: string, direction: PairTopic['direction'], qos: 0 | 1 | 2): PairTopic => ({
  near: name,
  far: name,
  direction,
  qos,
})

export const PAIR_TOPICS: readonly PairTopic[] = [
  same('out/a', 'out', 2),
  same('in/a', 'in', 2),
  same('both/a', 'both', 2),
  same('both/b', 'both', 2),
  same('one/a', 'both', 1),
  same('zero/a', 'both', 0),
  { near: 'here/a', far: 'there/a', direction: 'both', qos: 2 },
  same('own/a', 'none', 2),
]

/** Each retained by one application alone, always with the same QoS: who had two writers, or two QoS, could end in either of two states. */
export const KEPT_TOPICS: readonly (PairTopic & { readonly writer: Side; readonly with: 1 | 2 })[] = [
  { ...same('both/kept/near', 'both', 2), writer: 'near', with: 2 },
  { ...same('both/kept/far', 'both', 2), writer: 'far', with: 1 },
  { ...same('one/kept', 'both', 1), writer: 'near', with: 1 },
  { near: 'here/kept', far: 'there/kept', direction: 'both', qos: 2, writer: 'far', with: 2 },
]

/** How a pair is built. */
export interface PairSetup {
  readonly version: 'auto' | 3 | 4 | 5
  /** Messages with QoS 1 and 2 that the far server takes at once; its Receive Maximum. */
  readonly farReceives: number
  /** Messages with QoS 1 and 2 that the bridge has in flight at most, in each direction. */
  readonly window: number
  readonly notifies: boolean
  readonly maxQueuedMessages: number
  readonly startType: 'automatic' | 'lazy' | 'once'
}

export const PLAIN_PAIR: PairSetup = {
  version: 5,
  farReceives: 65_535,
  window: 20,
  notifies: false,
  maxQueuedMessages: 100_000,
  startType: 'automatic',
}

export type PairStep =
  | ({ readonly do: 'build' } & Partial<PairSetup>)
  | {
      readonly do: 'publish'
      readonly side: Side
      readonly app: 0 | 1
      readonly topic: number
      readonly qos: 0 | 1 | 2
      readonly times: number
    }
  /** A retained message, or its deletion. */
  | { readonly do: 'retain' | 'clear'; readonly topic: number }
  /** The stream of an application breaks. */
  | { readonly do: 'break'; readonly side: Side; readonly app: 0 | 1 }
  /** What happens to the network between the servers. */
  | { readonly do: 'cut' | 'silence' | 'refuse' | 'heal' }
  /** The network breaks right behind the next packet of this kind, which does not arrive. */
  | ({ readonly do: 'lose' } & TrunkPacket)
  /** Somebody connects to the far server with the client id of the bridge and a clean session. `unheard`: the CONNACK that says so is lost. */
  | { readonly do: 'forget'; readonly unheard?: boolean }
  /** An operator ends the session that the bridge has at the near server. `away`: the far one cannot be reached until there is another. */
  | { readonly do: 'end'; readonly away?: boolean }
  | { readonly do: 'crash'; readonly side: Side; readonly survivors: number; readonly torn: boolean }
  | { readonly do: 'restart' | 'stall' | 'unstall' | 'fill' | 'empty'; readonly side: Side }
  /** The store has room for what comes, and none for the packet ids of what leaves. */
  | { readonly do: 'fill-sent'; readonly side: Side }
  | { readonly do: 'slow'; readonly side: Side; readonly ms: number }
  | { readonly do: 'pause'; readonly side: Side; readonly ms: number }
  | { readonly do: 'advance'; readonly ms: number }

const of = <T extends PairStep['do']>(doing: T, rest: Record<string, fc.Arbitrary<unknown>> = {}): fc.Arbitrary<PairStep> =>
  fc.record({ do: fc.constant(doing), ...rest }) as unknown as fc.Arbitrary<PairStep>

const side = fc.constantFrom(...SIDES)
const app = fc.constantFrom(0, 1)

const ALL: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<PairStep> }[] = [
  {
    weight: 16,
    arbitrary: of('publish', {
      side,
      app,
      topic: fc.nat(PAIR_TOPICS.length - 1),
      qos: fc.constantFrom(0, 1, 1, 2, 2),
      times: fc.constantFrom(1, 1, 3, 12),
    }),
  },
  { weight: 3, arbitrary: of('retain', { topic: fc.nat(KEPT_TOPICS.length - 1) }) },
  { weight: 2, arbitrary: of('clear', { topic: fc.nat(KEPT_TOPICS.length - 1) }) },
  { weight: 8, arbitrary: of('advance', { ms: fc.constantFrom(5, 20, 100, 1000, 5000, 60_000, 200_000) }) },
  { weight: 4, arbitrary: of('cut') },
  { weight: 2, arbitrary: of('silence') },
  { weight: 1, arbitrary: of('refuse') },
  { weight: 3, arbitrary: of('heal') },
  { weight: 4, arbitrary: of('crash', { side, survivors: fc.nat(3), torn: fc.boolean() }) },
  { weight: 1, arbitrary: of('restart', { side }) },
  { weight: 1, arbitrary: of('forget', { unheard: fc.boolean() }) },
  {
    weight: 5,
    arbitrary: of('lose', {
      way: fc.constantFrom('up', 'down'),
      type: fc.constantFrom('CONNACK', 'SUBSCRIBE', 'SUBACK', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBREL', 'PUBCOMP'),
    }),
  },
  { weight: 2, arbitrary: of('end', { away: fc.constantFrom(true, true, false) }) },
  { weight: 2, arbitrary: of('break', { side, app }) },
  { weight: 1, arbitrary: of('stall', { side }) },
  { weight: 2, arbitrary: of('unstall', { side }) },
  { weight: 1, arbitrary: of('fill', { side }) },
  { weight: 1, arbitrary: of('fill-sent', { side }) },
  { weight: 2, arbitrary: of('empty', { side }) },
  { weight: 1, arbitrary: of('slow', { side, ms: fc.constantFrom(3, 100, 2000) }) },
  { weight: 1, arbitrary: of('pause', { side, ms: fc.constantFrom(700, 5000, 60_000) }) },
]

export const PAIR_STEP: fc.Arbitrary<PairStep> = fc.oneof(...ALL).filter((step) => !WITHOUT.includes(step.do))

/** Half of the pairs are plain; in the others something is scarce or different. */
export const pairSetups = (): fc.Arbitrary<Partial<PairSetup>> =>
  fc.oneof(
    fc.constantFrom<Partial<PairSetup>>({}, { version: 4 }),
    fc.record(
      {
        version: fc.constantFrom<PairSetup['version']>('auto', 3, 4, 5, 5),
        farReceives: fc.constantFrom(1, 2, 10),
        window: fc.constantFrom(1, 3, 100),
        notifies: fc.constant(true),
        maxQueuedMessages: fc.constantFrom(5, 30),
        startType: fc.constantFrom<PairSetup['startType']>('automatic', 'automatic', 'lazy', 'lazy', 'once'),
      },
      { requiredKeys: [] },
    ),
  )
