import type { Checker } from './checkers/checker.ts'
import { checkersFor } from './checkers/index.ts'
import { PLAIN, type Scarce } from './setup.ts'
import { Site } from './site.ts'
import type { Step } from './step.ts'

/** What a run came to. */
export interface Lived {
  /** What went wrong, each with the name of the checker that says so. */
  readonly found: readonly string[]
  readonly trace: readonly string[]
}

/** A site with its checkers: safety is looked at after every step, liveness at the end. */
export class Life {
  readonly site: Site
  /** The steps so far. */
  readonly taken: Step[] = []
  readonly #checkers: readonly Checker[]

  constructor(scarce: Scarce = {}) {
    this.site = new Site(scarce)
    if (Object.keys(scarce).length > 0) this.taken.push({ do: 'build', ...scarce })
    this.#checkers = checkersFor(this.site)
    this.site.world.observers.push(...this.#checkers)
    this.site.begin()
  }

  get trace(): readonly string[] {
    return this.site.world.trace
  }

  /** Takes a step, and gives what is wrong after it. */
  take(step: Step): string[] {
    this.taken.push(step)
    this.site.world.trace.push(JSON.stringify(step))
    this.site.take(step)
    return this.#wrong()
  }

  /** Faults end: what is owed has to arrive, and when everybody is gone for good everything has to be forgotten. */
  finish(): string[] {
    this.site.settle()
    for (const checker of this.#checkers) checker.settled?.()
    const found = [...this.#wrong(), ...pending(this.site), ...this.site.claims.lost().map((what) => `at least once: ${what}`)]
    if (found.length > 0) return found
    this.site.abandon()
    return [...this.#wrong(), ...remains(this.site)]
  }

  #wrong(): string[] {
    for (const checker of this.#checkers) checker.look?.()
    return this.#checkers.flatMap(({ name, found }) => found.map((what) => `${name}: ${what}`))
  }
}

/** Lives through the steps, up to the first at which something is wrong, and to the end if nothing is. `prepare`: before the first. */
export function live([first, ...others]: readonly Step[], prepare: (life: Life) => void = () => {}): Lived {
  const { do: built, ...scarce } = first?.do === 'build' ? first : { do: 'build' }
  const life = new Life(scarce)
  prepare(life)
  for (const step of first?.do === 'build' || first === undefined ? others : [first, ...others]) {
    if (!life.site.allows(step)) continue
    const found = life.take(step)
    if (found.length > 0) return { found, trace: life.trace }
  }
  return { found: life.finish(), trace: life.trace }
}

/** What is still under way although nothing stands in its way any more. */
function pending({ setup, world, nodes, stations }: Site): string[] {
  const { broker, gateway } = world.server
  return [
    ...nodes.flatMap(({ id, sensor: { client } }) => {
      const backlog = gateway.client(id)?.link?.backlog ?? 0
      return [
        ...(backlog > 0 ? [`${backlog} messages wait for ${id}, which is ${client.state}`] : []),
        ...(client.idle ? [] : [`${id} waits for an answer`]),
      ]
    }),
    ...[...broker.sessions].flatMap(({ key, inflight }) =>
      inflight === undefined || inflight.size === 0 ? [] : [`${key} has not acknowledged ${inflight.size} messages to the end`],
    ),
    ...stations.flatMap(({ id, tcp: { client } }) => {
      // There may be no room for its session.
      const isOut = setup.maxSessions < PLAIN.maxSessions && client.state !== 'connected'
      return client.idle || isOut ? [] : [`${id} waits for an acknowledgement`]
    }),
  ].map((what) => `pending: ${what}`)
}

/** What is left although everybody is gone for good. */
function remains({ world }: Site): string[] {
  const { broker, gateway, connections } = world.server
  const sessions = [...broker.sessions].filter(({ key }) => !key.startsWith('sn:roost-gateway')).map(({ key }) => key)
  return [
    ...sessions.map((key) => `session ${key}`),
    ...(broker.subscriptionCount > 0 ? [`${broker.subscriptionCount} subscriptions`] : []),
    ...(broker.retained.count > 0 ? [`${broker.retained.count} retained messages`] : []),
    ...((broker.asked?.size ?? 0) > 0 ? [`${broker.asked?.size} messages that wait for a hook`] : []),
    ...(gateway.clientCount > 0 ? [`${gateway.clientCount} sensors`] : []),
    ...(connections.size > 0 ? [`${connections.size} connections`] : []),
    ...(world.server.nextTimeout() === undefined ? [] : ['a timer']),
  ].map((what) => `nothing is left: ${what}`)
}
