import { Fifo } from '../base/fifo.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { NameMap } from '../base/name-map.ts'
import { SmallMap } from '../base/small-map.ts'
import { hasWildcard, realFilter, sharedFilter } from '../mqtt/topics.ts'
import { type Access, readsAll } from './access.ts'
import type { Condition } from './conditions.ts'
import { deepLevelsOf, filterShape, SessionShapes, ShapeCounts } from './filter-shapes.ts'
import type { BrokerLimits } from './limits.ts'
import type { LiveTopics } from './live-topics.ts'
import { RouteCache, TopicsMet } from './route-cache.ts'
import type { Session } from './session.ts'
import { MEMBER_COST, ShareGroup } from './share-group.ts'
import type { ConditionalSubscription, Subscription } from './subscription.ts'
import {
  add,
  type ConditionalTarget,
  conditionalTarget,
  type MutableTarget,
  type Route,
  type SharedTargets,
  type Target,
  targetOf,
} from './targets.ts'
import { type Looked, TopicTree } from './topic-tree.ts'

/** Filters of ended sessions that are removed from the tree in one turn of the event loop: some milliseconds. */
const FILTERS_PER_TURN = 1024

/**
 * Levels that are examined in one turn after changes of identity before all routes are dropped instead: rebuilding the ones in use
 * costs no more.
 */
const INVALIDATE_LOOKS = 2048
/** What a filter counts for among them. */
const FILTER_LOOKS = 1

/** The limits on filters that may match the same topic. */
export type CrowdedLimit = 'max_wildcard_shapes_per_session' | 'max_shared_copies_per_session' | 'max_deep_wildcard_levels'

type CrowdLimits = Pick<BrokerLimits, 'maxWildcardShapesPerSession' | 'maxSharedCopiesPerSession' | 'maxDeepWildcardLevels'>

const NO_TARGETS: readonly Target[] = []
const NOT_SHARED: readonly SharedTargets[] = []

/**
 * Finds the recipients of a topic. Telemetry repeats its topics, so results are cached until a subscription to the topic or a
 * rule changes; a repeated topic costs one Map lookup on an interned string, access rules included.
 */
export class Router {
  readonly #access: Access
  readonly #tree: TopicTree<Session, Subscription>
  readonly #groups = new NameMap<ShareGroup>()
  readonly #groupTree: TopicTree<ShareGroup, ShareGroup>
  readonly #routes: RouteCache<Route>
  readonly #met = new TopicsMet()
  /** Members of groups in which every member may read every topic: one array for all topics of a group. */
  readonly #everybody = new Map<ShareGroup, readonly Target[]>()
  #everybodyBytes = 0
  readonly #looked: Looked
  readonly #live: LiveTopics | undefined
  /** The shapes of all filters, which limit the cost of comparing a topic with them. */
  readonly #shapes = new ShapeCounts()
  /** Ended sessions, with those of their filters that are still in the tree. */
  readonly #sweeping = new Fifo<{ readonly session: Session; readonly filters: Iterator<string> }>()
  readonly #gone = new Set<Session>()
  /** Filters that may still be removed in this turn. */
  #left = FILTERS_PER_TURN
  /** Levels that may still be examined in this turn after changes of identity. */
  #looksLeft = INVALIDATE_LOOKS
  #groupBytes = 0
  /** Members of all groups: there may be a million groups, and $SYS asks for their number every few seconds. */
  #sharedCount = 0
  /** Bytes of the sessions' subscriptions. */
  #mapBytes = 0
  /** Sessions that have subscriptions with a condition, and how many. */
  readonly #conditional = new Map<Session, number>()

  /** `routeBytes`: memory for cached routes; a default if absent. `live` is told of subscriptions. */
  constructor(access: Access, looked: Looked, routeBytes?: number, live?: LiveTopics) {
    this.#access = access
    this.#live = live
    this.#looked = looked
    this.#tree = new TopicTree(looked)
    this.#groupTree = new TopicTree(looked)
    this.#routes = new RouteCache(({ bytes }) => bytes, routeBytes, looked)
  }

  /** Bytes of memory for subscriptions. */
  get bytes(): number {
    return this.#tree.bytes + this.#groupTree.bytes + this.#groupBytes + this.#mapBytes
  }

  /** Bytes of memory for cached routes. */
  get routeBytes(): number {
    return this.#routes.bytes + this.#everybodyBytes
  }

  /** Levels and subscriptions examined so far. */
  get looked(): number {
    return this.#looked.sum
  }

  get subscriptionCount(): number {
    return this.#tree.size + this.sharedSubscriptionCount
  }

  /** The number of shared subscriptions. */
  get sharedSubscriptionCount(): number {
    return this.#sharedCount
  }

  group(name: string): ShareGroup | undefined {
    return this.#groups.get(name)
  }

  /** The access rules have changed: read permissions are evaluated again. */
  invalidate(): void {
    this.#forgetRoutes()
    this.#met.clear()
  }

  #forgetRoutes(): void {
    this.#routes.clear()
    this.#everybody.clear()
    this.#everybodyBytes = 0
  }

  /**
   * The identity of a session has changed: its read permissions are evaluated again. If finding the affected routes would take
   * too long, all routes are dropped.
   */
  invalidateOf(session: Session): void {
    for (const filter of session.subscriptions?.keys() ?? []) {
      if (this.#looksLeft <= 0) {
        this.#forgetRoutes()
        return
      }
      const before = this.#looked.sum
      this.#routes.invalidate(realFilter(filter))
      const group = this.#groups.get(filter)
      if (group !== undefined) this.#forgetEverybody(group)
      this.#looksLeft -= FILTER_LOOKS + this.#looked.sum - before
    }
  }

  /** Returns whether the filter is new to this session. */
  subscribe(session: Session, subscription: Subscription): boolean {
    const { filter } = subscription
    if (session.subscriptions === undefined) {
      session.subscriptions = new SmallMap()
      this.#mapBytes += COST.smallMap
    }
    const before = session.subscriptions.get(filter)
    // Clients repeat their subscriptions each time they connect.
    if (before !== undefined && isSame(before, subscription)) return false
    const wasMap = session.subscriptions.isMap
    session.subscriptions.set(filter, subscription)
    this.#conditionChanged(session, before, subscription)
    if (session.subscriptions.isMap !== wasMap) this.#mapBytes += COST.map
    if (before === undefined) {
      session.filterBytes += filterBytes(filter)
      session.shapes?.add(filter)
      this.#shapes.add(filterShape(realFilter(filter)))
      this.#live?.subscribed(realFilter(filter))
    }
    const shared = sharedFilter(filter)
    // [MQTT-3.8.4-3]
    if (shared === undefined || shared === 'invalid') this.#tree.set(filter, session, subscription)
    else this.#join(filter, shared.filter, session, subscription)
    this.#routes.invalidate(realFilter(filter))
    return before === undefined
  }

  /** The limit that forbids one more filter which may match the same topics as others, if there is one. */
  crowded(session: Session, filter: string, limits: CrowdLimits): CrowdedLimit | undefined {
    const { subscriptions } = session
    if (subscriptions?.has(filter)) return undefined
    const { maxWildcardShapesPerSession, maxSharedCopiesPerSession, maxDeepWildcardLevels } = limits
    const isShared = sharedFilter(filter) !== undefined
    const most = isShared ? maxSharedCopiesPerSession : maxWildcardShapesPerSession
    if (subscriptions !== undefined && subscriptions.size >= most) {
      session.shapes ??= new SessionShapes(subscriptions.keys())
      if (session.shapes.with(filter) > most)
        return isShared ? 'max_shared_copies_per_session' : 'max_wildcard_shapes_per_session'
    }
    const shape = filterShape(realFilter(filter))
    const deep = deepLevelsOf(shape)
    if (deep === 0 || this.#shapes.has(shape) || this.#shapes.deepLevels + deep <= maxDeepWildcardLevels) return undefined
    return 'max_deep_wildcard_levels'
  }

  unsubscribe(session: Session, filter: string): boolean {
    const subscription = session.subscriptions?.get(filter)
    if (subscription === undefined) return false
    session.subscriptions!.delete(filter)
    this.#conditionChanged(session, subscription, undefined)
    session.filterBytes -= filterBytes(filter)
    session.shapes?.delete(filter)
    this.#forget(session, filter)
    return true
  }

  /** Removes the filters of a session that ends: many of them over several turns, but from now on nothing is routed to it. */
  unsubscribeAll(session: Session): void {
    const { subscriptions } = session
    if (subscriptions === undefined) return
    session.subscriptions = undefined
    session.shapes = undefined
    session.filterBytes = 0
    if (this.#conditional.has(session))
      for (const subscription of subscriptions.values()) this.#conditionChanged(session, subscription, undefined)
    this.#mapBytes -= COST.smallMap + (subscriptions.isMap ? COST.map : 0)
    if (subscriptions.size <= this.#left) {
      this.#left -= subscriptions.size
      for (const filter of subscriptions.keys()) this.#forget(session, filter)
      return
    }
    this.#gone.add(session)
    this.#sweeping.push({ session, filters: subscriptions.keys()[Symbol.iterator]() })
    this.#forgetRoutes()
  }

  /** Whether filters of ended sessions are still in the tree. */
  get isSweeping(): boolean {
    return this.#sweeping.length > 0
  }

  sweep(): void {
    for (let ended = this.#sweeping.peek(); ended !== undefined; ended = this.#sweeping.peek()) {
      for (; this.#left > 0; this.#left--) {
        const { value: filter } = ended.filters.next()
        if (filter === undefined) break
        this.#forget(ended.session, filter)
      }
      if (this.#left === 0) return
      this.#gone.delete(ended.session)
      this.#sweeping.shift()
    }
  }

  endTurn(): void {
    this.#left = FILTERS_PER_TURN
    this.#looksLeft = INVALIDATE_LOOKS
  }

  route(topic: string): Route {
    let route = this.#routes.get(topic)
    if (route === undefined) {
      const { targets, conditional } = this.#targets(topic)
      const shared = this.#shared(topic)
      route = { targets, conditional, shared, bytes: this.#bytesOf(targets, conditional, shared) }
      if (this.#met.meet(topic)) this.#routes.set(topic, route)
    }
    return route
  }

  /** The number of subscriptions of a session that have a condition. */
  conditionsOf(session: Session): number {
    return this.#conditional.get(session) ?? 0
  }

  /** The number of members of a shared subscription, by `$share/<group>/<filter>`. */
  membersOf(name: string): number {
    return this.#groups.get(name)?.members.size ?? 0
  }

  #join(name: string, filter: string, session: Session, subscription: Subscription): void {
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = new ShareGroup(name, filter)
      this.#groups.set(name, group)
      this.#groupTree.set(filter, group, group)
      this.#groupBytes += COST.shareGroup
    }
    if (!group.members.has(session)) {
      this.#groupBytes += COST.subscription + stringBytes(name)
      this.#sharedCount++
    }
    if (group.members.get(session)?.condition !== undefined) group.conditional--
    if (subscription.condition !== undefined) group.conditional++
    group.members.set(session, subscription)
    this.#forgetEverybody(group)
  }

  /** `undefined` for a subscription that did not exist before, or does not any more. */
  #conditionChanged(session: Session, before: Subscription | undefined, after: Subscription | undefined): void {
    const more = Number(after?.condition !== undefined) - Number(before?.condition !== undefined)
    if (more !== 0) {
      const count = this.conditionsOf(session) + more
      if (count === 0) this.#conditional.delete(session)
      else this.#conditional.set(session, count)
    }
    session.filterBytes += conditionBytes(after?.condition) - conditionBytes(before?.condition)
    after?.condition?.hold()
    before?.condition?.release()
  }

  /** Immediately, so that no route refers to a session that has ended. */
  #forget(session: Session, filter: string): void {
    const real = realFilter(filter)
    this.#shapes.delete(filterShape(real))
    this.#live?.unsubscribed(real)
    this.#routes.invalidate(real)
    const group = this.#groups.get(filter)
    if (group === undefined) {
      // [MQTT-3.10.4-2]
      this.#tree.delete(filter, session)
      return
    }
    if (group.members.get(session)?.condition !== undefined) group.conditional--
    if (group.members.delete(session)) this.#sharedCount--
    this.#forgetEverybody(group)
    this.#groupBytes -= COST.subscription + stringBytes(filter)
    if (group.members.size > 0) return
    this.#groups.delete(filter)
    this.#groupBytes -= COST.shareGroup
    this.#groupTree.delete(group.filter, group)
  }

  #targets(topic: string): Pick<Route, 'targets' | 'conditional'> {
    // Most topics that have no route yet have no or one subscriber: a Map is created for the second.
    const bySession = new SmallMap<Session, MutableTarget>()
    let conditions: Map<Session, ConditionalSubscription[]> | undefined
    this.#tree.match(topic, (subscription, session) => {
      const known = bySession.get(session)
      // The subscription may overlap denied topics, or have been made under earlier rules.
      if (known === undefined && (this.#gone.has(session) || !session.reaches(topic) || !this.#access.read(session, topic)))
        return
      if (isConditional(subscription)) {
        conditions ??= new Map()
        const others = conditions.get(session)
        if (others === undefined) conditions.set(session, [subscription])
        else others.push(subscription)
      } else if (known !== undefined) add(known, subscription)
      else bySession.set(session, targetOf(session, subscription))
    })
    if (conditions === undefined)
      return { targets: bySession.size === 0 ? NO_TARGETS : [...bySession.values()], conditional: undefined }
    const conditional: ConditionalTarget[] = []
    for (const [session, subscriptions] of conditions) {
      conditional.push(conditionalTarget(session, subscriptions, bySession.get(session)))
      bySession.delete(session)
    }
    return { targets: [...bySession.values()], conditional }
  }

  #shared(topic: string): readonly SharedTargets[] {
    if (this.#groups.size === 0) return NOT_SHARED
    const matching: ShareGroup[] = []
    this.#groupTree.match(topic, (group) => matching.push(group))
    if (matching.length === 0) return NOT_SHARED
    return matching.map((group) => ({ group, members: this.#everybody.get(group) ?? this.#members(group, topic) }))
  }

  #members(group: ShareGroup, topic: string): readonly Target[] {
    const members: Target[] = []
    let isEverybody = true
    for (const [session, subscription] of group.members) {
      this.#looked.sum += MEMBER_COST
      if (this.#gone.has(session)) continue
      isEverybody &&= session.mountPoint === '' && readsAll(this.#access, session)
      // [MQTT-3.3.4-5]
      if (isEverybody || (session.reaches(topic) && this.#access.read(session, topic)))
        members.push(targetOf(session, subscription, group.name))
    }
    if (isEverybody) {
      this.#everybody.set(group, members)
      this.#everybodyBytes += members.length * COST.target
    }
    return members
  }

  #forgetEverybody(group: ShareGroup): void {
    const members = this.#everybody.get(group)
    if (members === undefined) return
    this.#everybodyBytes -= members.length * COST.target
    this.#everybody.delete(group)
  }

  #bytesOf(targets: readonly Target[], conditional: Route['conditional'], shared: readonly SharedTargets[]): number {
    let count = targets.length
    for (const { subscriptions } of conditional ?? []) count += 2 + subscriptions.length
    for (const { group, members } of shared) count += 1 + (this.#everybody.get(group) === members ? 0 : members.length)
    return count * COST.target
  }
}

/**
 * Bytes that a filter counts in the share of its client: in full, even if others subscribe to the same or share its first levels.
 */
export function filterBytes(filter: string): number {
  const plain = COST.subscription + COST.smallMap + COST.entry + stringBytes(filter)
  if (!hasWildcard(filter) && sharedFilter(filter) === undefined) return plain
  let levels = 1
  for (let at = filter.indexOf('/'); at >= 0; at = filter.indexOf('/', at + 1)) levels++
  return plain + levels * (COST.level + COST.smallMap + COST.string) + stringBytes(filter)
}

/** Bytes that a condition counts in the share of its client, in full, even if others have the same. */
export const conditionBytes = (condition: Condition | undefined): number =>
  condition === undefined ? 0 : COST.condition + stringBytes(condition.text)

const isConditional = (subscription: Subscription): subscription is ConditionalSubscription =>
  subscription.condition !== undefined

function isSame(a: Subscription, b: Subscription): boolean {
  return (
    a.qos === b.qos &&
    a.noLocal === b.noLocal &&
    a.retainAsPublished === b.retainAsPublished &&
    a.retainHandling === b.retainHandling &&
    a.subscriptionIdentifier === b.subscriptionIdentifier &&
    a.condition === b.condition
  )
}
