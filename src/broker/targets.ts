import type { Instant } from '../base/machine.ts'
import type { Publish, QoS } from '../mqtt/publish.ts'
import { beginClient, type Conditions, type MessageFacts } from './conditions.ts'
import type { Session } from './session.ts'
import type { ShareGroup } from './share-group.ts'
import type { ConditionalSubscription, Subscription } from './subscription.ts'

/** One recipient of a topic; its overlapping subscriptions are combined, so that it gets one copy (MQTT-3.3.4-2). */
export interface Target {
  readonly session: Session
  /** The highest granted QoS of the matching subscriptions. */
  readonly qos: QoS
  readonly retainAsPublished: boolean
  /** The identifiers of all matching subscriptions that have one (MQTT-3.3.4-3, -4). */
  readonly subscriptionIdentifiers: readonly number[] | undefined
  /**
   * What applies to messages that the session itself publishes: the same, or less where No Local (MQTT-3.8.3-3) excludes
   * subscriptions.
   */
  readonly own: Target | undefined
  /** The shared subscription whose member it is. */
  readonly share: string | undefined
}

/** A shared subscription that matches a topic, with the members that may read it. */
export interface SharedTargets {
  readonly group: ShareGroup
  readonly members: readonly Target[]
}

/** A session with subscriptions whose conditions decide about each message. */
export interface ConditionalTarget {
  readonly session: Session
  /** Its subscriptions without a condition, combined; undefined if there are none. */
  readonly always: Target | undefined
  readonly subscriptions: readonly ConditionalSubscription[]
  /** What applies if the only one of its subscriptions lets the message through. */
  readonly alone: Target | undefined
}

/** All recipients of a topic: every one of `targets`, those of `conditional` that want the message, and a member of each of `shared`. */
export interface Route {
  readonly targets: readonly Target[]
  /** Undefined if no subscription has a condition. */
  readonly conditional: readonly ConditionalTarget[] | undefined
  readonly shared: readonly SharedTargets[]
  /** Bytes of memory for targets and shared. */
  readonly bytes: number
}

export type MutableTarget = { -readonly [K in keyof Target]: Target[K] } & {
  subscriptionIdentifiers: number[] | undefined
  own: MutableTarget | undefined
}

export function targetOf(session: Session, subscription: Subscription, share?: string | undefined): MutableTarget {
  const { qos, retainAsPublished, subscriptionIdentifier: identifier } = subscription
  const target: MutableTarget = {
    session,
    // [MQTT-4.8.2-3]
    qos,
    retainAsPublished,
    // [MQTT-3.3.4-3]
    subscriptionIdentifiers: identifier === undefined ? undefined : [identifier],
    own: undefined,
    share,
  }
  // [MQTT-3.8.3-3]
  if (!subscription.noLocal || share !== undefined) target.own = target
  return target
}

/** Adds another matching subscription of the same session. */
export function add(target: MutableTarget, subscription: Subscription): void {
  const { own } = target
  if (subscription.noLocal) {
    // The subscriptions so far apply to its own messages; from here on these are combined separately.
    if (own === target) target.own = { ...target, subscriptionIdentifiers: target.subscriptionIdentifiers?.slice() }
  } else if (own === undefined) target.own = targetOf(target.session, subscription)
  else if (own !== target) include(own, subscription)
  include(target, subscription)
}

function include(target: MutableTarget, { qos, retainAsPublished, subscriptionIdentifier: identifier }: Subscription): void {
  // [MQTT-3.3.4-2]
  if (qos > target.qos) target.qos = qos
  if (retainAsPublished) target.retainAsPublished = true
  if (identifier === undefined) return
  target.subscriptionIdentifiers ??= []
  // [MQTT-3.3.4-4]
  target.subscriptionIdentifiers.push(identifier)
}

/** `subscriptions`: at least one. `always`: those of the same session without a condition, combined. */
export function conditionalTarget(
  session: Session,
  subscriptions: readonly ConditionalSubscription[],
  always: Target | undefined,
): ConditionalTarget {
  const isAlone = always === undefined && subscriptions.length === 1
  return { session, always, subscriptions, alone: isAlone ? targetOf(session, subscriptions[0]!) : undefined }
}

/** What applies to a message; undefined if no condition lets it through. */
export function chosenTarget(target: ConditionalTarget, facts: MessageFacts): Target | undefined {
  const { session, always, subscriptions, alone } = target
  let chosen: MutableTarget | undefined
  beginClient(facts)
  for (const subscription of subscriptions) {
    if (!subscription.condition.matches(facts)) continue
    if (alone !== undefined) return alone
    chosen ??= always === undefined ? undefined : copyOf(always)
    if (chosen === undefined) chosen = targetOf(session, subscription)
    else add(chosen, subscription)
  }
  return chosen ?? always
}

function copyOf(target: Target): MutableTarget {
  const { own } = target
  const copy: MutableTarget = { ...target, subscriptionIdentifiers: target.subscriptionIdentifiers?.slice(), own: undefined }
  if (own === target) copy.own = copy
  else if (own !== undefined) {
    copy.own = { ...own, subscriptionIdentifiers: own.subscriptionIdentifiers?.slice(), own: undefined }
  }
  return copy
}

/** The members of a shared subscription whose condition lets a message through, or that have none. */
export function candidates(
  conditions: Conditions,
  { group, members }: SharedTargets,
  message: Publish,
  now: Instant,
): readonly Target[] {
  if (group.conditional === 0) return members
  const facts = conditions.factsOf(message, now)
  conditions.askClients(members.length)
  return members.filter(({ session }) => {
    beginClient(facts)
    return group.members.get(session)?.condition?.matches(facts) !== false
  })
}
