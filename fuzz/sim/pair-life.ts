import type { ServerOptions } from '../../src/server.ts'
import type { BridgeOptions } from '../../src/upstream/bridge-options.ts'
import type { Target } from '../../src/upstream/target.ts'
import type { BridgeTopic } from '../../src/upstream/topic-map.ts'
import { LOCAL_ID, PairSite, REMOTE_ID, SESSION_SECONDS } from './pair-site.ts'
import type { PairSetup, PairStep } from './pair-step.ts'

/** A pair of bridged servers with its checkers: what must not happen is looked for after every step, and what has to at the end. */
export class PairLife {
  readonly site: PairSite
  readonly taken: PairStep[] = []

  constructor(scarce: Partial<PairSetup> = {}) {
    this.site = new PairSite(scarce, bridgeOptions)
    if (Object.keys(scarce).length > 0) this.taken.push({ do: 'build', ...scarce })
  }

  take(step: PairStep): string[] {
    this.taken.push(step)
    this.site.take(step)
    return this.#wrong()
  }

  /** Faults end: what is owed has to have arrived, on both sides. */
  finish(): string[] {
    const { site } = this
    site.settle()
    // Before anything else is stored, which would remind a server of what waits for its store.
    const found = [...site.pending.map((what) => `pending: ${what}`), ...site.lost().map((what) => `at least once: ${what}`)]
    if (found.length > 0) return [...this.#wrong(), ...found]
    site.probe()
    if (site.hasEnded) return this.#wrong()
    return [
      ...this.#wrong(),
      ...site.pending.map((what) => `pending: ${what}`),
      ...site.claims.lost().map((what) => `at least once: ${what}`),
      ...site.claims.diverged((side, topic) => site.retained(side, topic)).map((what) => `retained: ${what}`),
    ]
  }

  #wrong(): string[] {
    const { checker, claims, servers } = this.site
    for (const server of servers) server.look()
    return [
      ...checker.found.map((what) => `trunk: ${what}`),
      ...servers.flatMap(({ found }) => found).map((what) => `each server: ${what}`),
      ...claims.repeated().map((what) => `once: ${what}`),
      ...claims.disordered().map((what) => `in order: ${what}`),
    ]
  }
}

const TARGET: Target = { url: 'mqtt://far', transport: 'mqtt', host: 'far', port: 1883, path: '', tls: undefined }
/** One for each kind of topic of `PAIR_TOPICS`, beside what both servers have under the same name. */
const TOPICS: readonly BridgeTopic[] = [
  { pattern: 'out/#', direction: 'out', qos: 2, localPrefix: '', remotePrefix: '' },
  { pattern: 'in/#', direction: 'in', qos: 2, localPrefix: '', remotePrefix: '' },
  { pattern: 'both/#', direction: 'both', qos: 2, localPrefix: '', remotePrefix: '' },
  { pattern: 'one/#', direction: 'both', qos: 1, localPrefix: '', remotePrefix: '' },
  { pattern: 'zero/#', direction: 'both', qos: 0, localPrefix: '', remotePrefix: '' },
  { pattern: '#', direction: 'both', qos: 2, localPrefix: 'here/', remotePrefix: 'there/' },
]

export function bridgeOptions({ version, window, notifies, startType }: PairSetup): Partial<ServerOptions> {
  const bridge: BridgeOptions = {
    name: 'far',
    topics: TOPICS,
    targets: {
      addresses: [TARGET],
      roundRobin: false,
      version,
      backoff: { baseMs: 1000, maxMs: 60_000 },
      connectTimeoutMs: 30_000,
    },
    startType,
    idleTimeoutMs: 30_000,
    threshold: 1,
    localClientId: LOCAL_ID,
    localCleanSession: false,
    connect: {
      bridge: true,
      clientId: REMOTE_ID,
      cleanStart: false,
      keepAlive: 60,
      username: undefined,
      password: undefined,
      properties: { sessionExpiryInterval: SESSION_SECONDS },
    },
    notificationTopic: notifies ? `$SYS/broker/connection/${REMOTE_ID}/state` : undefined,
    notifiesRemotely: true,
    outgoingRetain: true,
    attemptUnsubscribe: true,
    window,
    maxPacketSize: 1 << 20,
  }
  return { bridges: [bridge] }
}

/** Lives through the steps, up to the first at which something is wrong, and to the end if nothing is. */
export function livePair([first, ...others]: readonly PairStep[]): { found: readonly string[]; trace: readonly string[] } {
  const { do: built, ...scarce } = first?.do === 'build' ? first : { do: 'build' }
  const life = new PairLife(scarce)
  for (const step of first?.do === 'build' || first === undefined ? others : [first, ...others]) {
    const found = life.take(step)
    if (found.length > 0) return { found, trace: life.site.trace }
  }
  return { found: life.finish(), trace: life.site.trace }
}
