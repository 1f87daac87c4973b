import type { QoS } from '../mqtt/packets.ts'
import type { Session, Subscription } from './session.ts'
import { TopicTree } from './topic-tree.ts'

/** One receiver of a topic: what its overlapping subscriptions come to, so that it gets one copy (MQTT-3.3.4-2). */
export interface Target {
  readonly session: Session
  /** The highest granted QoS of the matching subscriptions. */
  readonly qos: QoS
  readonly retainAsPublished: boolean
  /** Of all matching subscriptions that have one (MQTT-3.3.4-3, -4). */
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /** What the session gets of its own messages: itself, unless No Local (MQTT-3.8.3-3) takes some or all of it. */
  readonly own: Target | undefined
}

/**
 * Who gets a topic. Telemetry repeats its topics, so results are kept until any subscription changes; one Map lookup on an
 * interned string is all that a repeated topic costs.
 */
export class Router {
  readonly #tree = new TopicTree<Session, Subscription>()
  readonly #routes = new Map<string, readonly Target[]>()
  #generation = 0

  get subscriptionCount(): number {
    return this.#tree.size
  }

  /** Gives whether the filter is new to this session. */
  subscribe(session: Session, subscription: Subscription): boolean {
    session.subscriptions ??= new Map()
    const isNew = !session.subscriptions.has(subscription.filter)
    session.subscriptions.set(subscription.filter, subscription)
    this.#tree.set(subscription.filter, session, subscription)
    return isNew
  }

  unsubscribe(session: Session, filter: string): boolean {
    if (!session.subscriptions?.delete(filter)) return false
    this.#tree.delete(filter, session)
    return true
  }

  unsubscribeAll(session: Session): void {
    if (session.subscriptions === undefined) return
    for (const filter of session.subscriptions.keys()) this.#tree.delete(filter, session)
    session.subscriptions = undefined
  }

  route(topic: string): readonly Target[] {
    if (this.#generation !== this.#tree.generation) {
      this.#routes.clear()
      this.#generation = this.#tree.generation
    }
    let targets = this.#routes.get(topic)
    if (targets === undefined) {
      targets = this.#resolve(topic)
      // Topic names are the peers' choice: a bounded memory, begun anew when it is full.
      if (this.#routes.size >= ROUTES_MAX) this.#routes.clear()
      if (topic.length <= ROUTE_TOPIC_MAX) this.#routes.set(topic, targets)
    }
    return targets
  }

  #resolve(topic: string): readonly Target[] {
    const bySession = new Map<Session, Subscription[]>()
    for (const [session, subscription] of this.#tree.match(topic)) {
      const known = bySession.get(session)
      if (known === undefined) bySession.set(session, [subscription])
      else known.push(subscription)
    }
    return Array.from(bySession, ([session, subscriptions]) => {
      const local = subscriptions.filter((subscription) => !subscription.noLocal)
      if (local.length === subscriptions.length) return merge(session, subscriptions, 'self')
      return merge(session, subscriptions, local.length === 0 ? undefined : merge(session, local, 'self'))
    })
  }
}

const ROUTES_MAX = 16_384
const ROUTE_TOPIC_MAX = 1024

function merge(session: Session, subscriptions: readonly Subscription[], own: Target | 'self' | undefined): Target {
  const identifiers = subscriptions.flatMap(({ subscriptionIdentifier }) => subscriptionIdentifier ?? [])
  const target = {
    session,
    qos: Math.max(...subscriptions.map(({ qos }) => qos)) as QoS,
    retainAsPublished: subscriptions.some(({ retainAsPublished }) => retainAsPublished),
    subscriptionIdentifiers: identifiers.length === 0 ? undefined : identifiers,
    own: undefined as Target | undefined,
  }
  target.own = own === 'self' ? target : own
  return target
}
