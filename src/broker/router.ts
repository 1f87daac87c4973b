import { SmallMap } from '../base/small-map.ts'
import type { QoS } from '../mqtt/packets.ts'
import { realFilter, sharedFilter } from '../mqtt/topics.ts'
import type { Access } from './access.ts'
import { RouteCache } from './route-cache.ts'
import type { Session, Subscription } from './session.ts'
import { ShareGroup } from './share-group.ts'
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
  /** The shared subscription that it stands for. */
  readonly share: string | undefined
}

/** A shared subscription that matches a topic, with those of its members who may read it. */
export interface SharedTargets {
  readonly group: ShareGroup
  readonly members: readonly Target[]
}

/** Everybody who gets a topic: all of `targets`, and one of each of `shared`. */
export interface Route {
  readonly targets: readonly Target[]
  readonly shared: readonly SharedTargets[]
}

const NOT_SHARED: readonly SharedTargets[] = []

/**
 * Who gets a topic. Telemetry repeats its topics, so results are kept until a subscription to the topic changes, or a rule; one Map lookup on an
 * interned string is all that a repeated topic costs, access rules included.
 */
export class Router {
  readonly #access: Access
  readonly #tree = new TopicTree<Session, Subscription>()
  readonly #groups = new Map<string, ShareGroup>()
  readonly #groupTree = new TopicTree<ShareGroup, ShareGroup>()
  readonly #routes = new RouteCache<Route>()

  constructor(access: Access) {
    this.#access = access
  }

  /** Levels and subscriptions looked at so far. */
  get looked(): number {
    return this.#tree.looked + this.#groupTree.looked + this.#routes.looked
  }

  get subscriptionCount(): number {
    return this.#tree.size + this.sharedSubscriptionCount
  }

  /** Of the subscriptions, those that are shared. */
  get sharedSubscriptionCount(): number {
    let shared = 0
    for (const { members } of this.#groups.values()) shared += members.size
    return shared
  }

  group(name: string): ShareGroup | undefined {
    return this.#groups.get(name)
  }

  /** Rules changed: who may read what is asked again. */
  invalidate(): void {
    this.#routes.clear()
  }

  /** The identity behind a session changed: what it may read is asked again. */
  invalidateOf(session: Session): void {
    for (const filter of session.subscriptions?.keys() ?? []) this.#routes.invalidate(realFilter(filter))
  }

  /** Gives whether the filter is new to this session. */
  subscribe(session: Session, subscription: Subscription): boolean {
    const { filter } = subscription
    session.subscriptions ??= new SmallMap()
    const before = session.subscriptions.get(filter)
    // Clients subscribe again each time they connect.
    if (before !== undefined && isSame(before, subscription)) return false
    session.subscriptions.set(filter, subscription)
    const shared = sharedFilter(filter)
    if (shared === undefined || shared === 'invalid') this.#tree.set(filter, session, subscription)
    else this.#join(filter, shared.filter, session, subscription)
    this.#routes.invalidate(realFilter(filter))
    return before === undefined
  }

  unsubscribe(session: Session, filter: string): boolean {
    if (!session.subscriptions?.delete(filter)) return false
    this.#forget(session, filter)
    return true
  }

  unsubscribeAll(session: Session): void {
    if (session.subscriptions === undefined) return
    for (const filter of session.subscriptions.keys()) this.#forget(session, filter)
    session.subscriptions = undefined
  }

  route(topic: string): Route {
    let route = this.#routes.get(topic)
    if (route === undefined) {
      route = { targets: this.#targets(topic), shared: this.#shared(topic) }
      this.#routes.set(topic, route)
    }
    return route
  }

  #join(name: string, filter: string, session: Session, subscription: Subscription): void {
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = new ShareGroup(name, filter)
      this.#groups.set(name, group)
      this.#groupTree.set(filter, group, group)
    }
    group.members.set(session, subscription)
  }

  /** At once, so that no route keeps a session that has ended. */
  #forget(session: Session, filter: string): void {
    this.#routes.invalidate(realFilter(filter))
    const group = this.#groups.get(filter)
    if (group === undefined) {
      this.#tree.delete(filter, session)
      return
    }
    group.members.delete(session)
    if (group.members.size > 0) return
    this.#groups.delete(filter)
    this.#groupTree.delete(group.filter, group)
  }

  #targets(topic: string): readonly Target[] {
    const bySession = new Map<Session, Subscription[]>()
    for (const [session, subscription] of this.#tree.match(topic)) {
      const known = bySession.get(session)
      if (known === undefined) {
        // A subscription that was allowed to overlap with what is denied, or that rules of today would refuse.
        if (this.#access.read(session, topic)) bySession.set(session, [subscription])
      } else known.push(subscription)
    }
    return Array.from(bySession, ([session, subscriptions]) => {
      const local = subscriptions.filter((subscription) => !subscription.noLocal)
      if (local.length === subscriptions.length) return merge(session, subscriptions, 'self')
      return merge(session, subscriptions, local.length === 0 ? undefined : merge(session, local, 'self'))
    })
  }

  #shared(topic: string): readonly SharedTargets[] {
    const matching = this.#groupTree.match(topic)
    if (matching.length === 0) return NOT_SHARED
    return matching.map(([group]) => {
      const members: Target[] = []
      for (const [session, subscription] of group.members) {
        if (this.#access.read(session, topic)) members.push(merge(session, [subscription], 'self', group.name))
      }
      return { group, members }
    })
  }
}

function isSame(a: Subscription, b: Subscription): boolean {
  return (
    a.qos === b.qos &&
    a.noLocal === b.noLocal &&
    a.retainAsPublished === b.retainAsPublished &&
    a.retainHandling === b.retainHandling &&
    a.subscriptionIdentifier === b.subscriptionIdentifier
  )
}

function merge(
  session: Session,
  subscriptions: readonly Subscription[],
  own: Target | 'self' | undefined,
  share?: string | undefined,
): Target {
  const identifiers = subscriptions.flatMap(({ subscriptionIdentifier }) => subscriptionIdentifier ?? [])
  const target = {
    session,
    // Not Math.max with all of them: so many arguments no stack holds.
    qos: subscriptions.reduce<number>((most, { qos }) => Math.max(most, qos), 0) as QoS,
    retainAsPublished: subscriptions.some(({ retainAsPublished }) => retainAsPublished),
    subscriptionIdentifiers: identifiers.length === 0 ? undefined : identifiers,
    own: undefined as Target | undefined,
    share,
  }
  target.own = own === 'self' ? target : own
  return target
}
