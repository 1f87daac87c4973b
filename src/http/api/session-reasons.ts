import type { Instant } from '../../base/machine.ts'
import { WAITING_BYTES } from '../../base/memory-costs.ts'
import type { Broker } from '../../broker/broker.ts'
import { queueBound } from '../../broker/limits.ts'
import { fullOf } from '../../broker/queue-room.ts'
import type { Inflight, Session } from '../../broker/session.ts'
import { messageOf } from '../../broker/session-queue.ts'
import type { Subscription } from '../../broker/subscription.ts'
import { covers, realFilter, sharedFilter } from '../../mqtt/topics.ts'
import { type Reason, short, wait } from './reason.ts'

/** Reasons of one kind: filters, topics. */
export const LISTED_REASONS = 5
/** Waiting messages and subscriptions that are looked at. */
const EXAMINED = 1000

/** Reasons that follow from what the client has subscribed to, and may read. `topic`: the one that is asked about. */
export function* subscriptionReasons(broker: Broker, session: Session, topic: string | undefined): Iterable<Reason> {
  const { access, limits } = broker.operator.rules
  const subscriptions = [...(session.subscriptions?.values() ?? [])].slice(0, EXAMINED)
  if (subscriptions.length === 0) {
    yield noSubscriptions
    return
  }
  if (topic !== undefined && !matchesAny(session, topic)) {
    const filters = subscriptions.map(({ filter }) => filter)
    yield noMatch(filters, topic)
  }
  if (topic !== undefined && !(session.reaches(topic) && access.read(session, topic)))
    yield { code: 'read-denied', text: `the access rules do not let it read ${short(topic)}`, topic }
  yield* deniedFilters(broker, session, subscriptions)
  yield* conditionsOf(subscriptions, topic)
  yield* sharedWith(broker, subscriptions, topic)
  if (session.link !== undefined || limits.queueQos0Messages) return
  const plain = subscriptions.filter(({ qos }) => qos === 0).length
  const whose = plain === 0 ? '' : `, nor any for its ${plain} ${plain === 1 ? 'subscription' : 'subscriptions'} with QoS 0`
  const text = `while it is away, no QoS 0 messages are kept for it${whose}`
  yield { code: 'qos0-while-away', text, option: 'queue_qos0_messages' }
}

export const noSubscriptions: Reason = { code: 'no-subscriptions', text: 'it has no subscriptions' }

export function noMatch(filters: readonly string[], topic: string): Reason {
  const named = filters.slice(0, LISTED_REASONS).map(short)
  const more = filters.length > named.length ? `, and ${filters.length - named.length} more` : ''
  return { code: 'no-match', text: `no subscription matches ${short(topic)}: it has ${named.join(', ')}${more}`, topic }
}

/** Whether one of its subscriptions matches the topic. */
export function matchesAny({ subscriptions }: Session, topic: string): boolean {
  for (const { filter } of subscriptions?.values() ?? []) if (covers(realFilter(filter), topic)) return true
  return false
}

function* deniedFilters({ operator }: Broker, session: Session, subscriptions: readonly Subscription[]): Iterable<Reason> {
  const { access } = operator.rules
  const denied = subscriptions.filter(({ filter }) => !access.subscribe(session, realFilter(filter)))
  for (const { filter } of denied.slice(0, LISTED_REASONS))
    yield { code: 'read-denied', text: `the access rules do not let it read what ${short(filter)} matches`, filter }
}

/** Subscriptions whose condition has held messages back: its figures are those of all subscriptions that have it. */
function* conditionsOf(subscriptions: readonly Subscription[], topic: string | undefined): Iterable<Reason> {
  let left = LISTED_REASONS
  for (const { filter, condition } of subscriptions) {
    if (condition === undefined || (topic !== undefined && !covers(realFilter(filter), topic))) continue
    const { evaluated, passed, failed } = condition.stats
    if ((condition.isValid && passed === evaluated) || left-- === 0) continue
    const said = short(condition.text)
    const failures = failed === 0 ? '' : `, ${failed} of them because it could not be evaluated (docs/filters.md)`
    const text = condition.isValid
      ? `the condition of ${short(filter)}, ${said}, did not let ${evaluated - passed} of ${evaluated} messages through${failures}`
      : `the condition of ${short(filter)}, ${said}, is not valid any more: nothing matches it`
    yield { code: 'condition', text, filter, messages: evaluated - passed }
  }
}

function* sharedWith(broker: Broker, subscriptions: readonly Subscription[], topic: string | undefined): Iterable<Reason> {
  const groups = subscriptions.filter(({ filter }) => sharedFilter(filter) !== undefined)
  let left = LISTED_REASONS
  for (const { filter } of groups) {
    const others = broker.operator.membersOf(filter) - 1
    if (others < 1 || left-- === 0 || (topic !== undefined && !covers(realFilter(filter), topic))) continue
    const members = others === 1 ? '1 other client' : `${others} other clients`
    yield { code: 'shared', text: `it shares ${short(filter)} with ${members}: one of them gets each message`, filter }
  }
}

/** Reasons that follow from its queue. `dropped`: messages for it that were dropped so far. */
export function* queueReasons(
  { operator }: Broker,
  now: Instant,
  session: Session,
  dropped: number | undefined,
): Iterable<Reason> {
  const { limits, memory } = operator.rules
  const { queueLength: messages, queuedBytes: bytes } = session
  const limit = queueBound(limits, session)
  const bytesLimit = limits.maxQueuedBytes
  const isFull = messages > 0 && (messages >= limit || bytes + bytes / messages > bytesLimit)
  if (isFull) {
    const which = limits.queueFull === 'drop_newest' ? 'further messages are dropped' : 'the oldest are dropped for new ones'
    const far = dropped === undefined ? '' : `, ${dropped} so far`
    const size = messages >= limit ? `${messages} of ${limit} messages` : `${bytes} of ${bytesLimit} bytes`
    const text = `its queue is full (${size}): ${which} (queue_full)${far}`
    yield { code: 'queue-full', text, messages, limit, bytes, bytesLimit, dropped, option: fullOf(limits, session) }
  }
  const over = memory.refusal(session, WAITING_BYTES + (messages === 0 ? 0 : bytes / messages))
  if (over !== undefined) {
    const text = `no memory is left for messages that would have to wait for it: ${over.reason}`
    yield { code: 'no-memory', text, option: over.limit, dropped }
  }
  const expired = waitingOf(session).filter(({ expiresAt }) => expiresAt !== undefined && expiresAt <= now).length
  if (expired > 0) {
    const text = expired === 1 ? '1 message has expired, and is dropped' : `${expired} messages have expired, and are dropped`
    yield { code: 'expired', text: `${text} instead of sent`, messages: expired }
  }
}

/** The first messages that wait for it, those in flight first. */
export function waitingOf(session: Session): ReturnType<typeof messageOf>[] {
  const waiting = [...(session.inflight?.values() ?? [])].slice(0, EXAMINED).map(({ queued }) => queued.message)
  for (const entry of session.queue ?? []) {
    if (waiting.length >= EXAMINED) break
    waiting.push(messageOf(entry))
  }
  return waiting
}

/** Reasons that follow from the connection of an MQTT client. */
export function* connectionReasons(
  session: Session,
  connection: { readonly congested: boolean; readonly maxPacketSize: number } | undefined,
): Iterable<Reason> {
  const { link, queueLength, inflight } = session
  if (link === undefined || connection === undefined) return
  if (connection.congested)
    yield {
      code: 'not-reading',
      text: `it does not read: its socket accepts no more bytes, ${wait(queueLength)}`,
      messages: queueLength,
    }
  const unanswered = inflight?.size ?? 0
  if (unanswered > 0) {
    const [first] = [...inflight!.values()] as [Inflight]
    const awaiting = first.released ? 'PUBCOMP' : first.queued.qos === 1 ? 'PUBACK' : 'PUBREC'
    const what = unanswered === 1 ? '1 message' : `${unanswered} messages`
    const text = `it has not acknowledged ${what}: ${awaiting} is awaited for packet id ${first.packetId}`
    yield {
      code: 'not-acknowledged',
      text,
      messages: unanswered,
      awaiting,
      msgId: first.packetId,
      topic: first.queued.message.topic,
    }
  }
  if (queueLength > 0 && unanswered > 0 && !link.windowOpen(session)) {
    const text = `${unanswered} of ${link.window} messages are under way: ${wait(queueLength)} behind them`
    yield { code: 'window-full', text, messages: queueLength, limit: link.window, option: 'max_inflight_messages' }
  }
  const most = connection.maxPacketSize
  const large = waitingOf(session).find(({ weight }) => weight > most)
  if (large === undefined) return
  const text = `a message on ${short(large.topic)} with ${large.weight} bytes exceeds its Maximum Packet Size, ${most}, and is dropped`
  yield { code: 'too-large', text, topic: large.topic, bytes: large.weight, bytesLimit: most }
}
