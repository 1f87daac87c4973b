import type { Instant } from '../../base/machine.ts'
import type { Session } from '../../broker/session.ts'
import type { GatewayClient } from '../../gateway/client/client.ts'
import type { Exchange } from '../../gateway/client/exchange.ts'
import { canRegister } from '../../gateway/client/outbound-message.ts'
import type { Sensor } from '../../gateway/sensors.ts'
import { shortTopicId } from '../../gateway/translate.ts'
import { MsgType } from '../../mqttsn/messages.ts'
import { type Reason, short, wait } from './reason.ts'
import { LISTED_REASONS, waitingOf } from './session-reasons.ts'

/** Octets of a PUBLISH besides its payload; 2 more if its length takes three octets. */
const PUBLISH_OCTETS = 7
const LONG_FROM = 256
/** Different topics that are looked at: predefined ids are searched for each. */
const TOPICS_EXAMINED = 32

/** Reasons that follow from the state of a sensor. */
export function* stateReasons(client: GatewayClient, sensor: Sensor, now: Instant): Iterable<Reason> {
  const { state, since, nextWake, waiting } = sensor
  const { messages, bytes } = waiting
  const until = messages === 0 ? 'messages for it wait' : wait(messages)
  if (client.setup.isUnderWay || client.state === 'willTopic' || client.state === 'willMsg')
    yield { code: 'connecting', text: `it connects: ${until} for CONNACK`, messages, bytes }
  else if (state === 'asleep' && nextWake !== undefined && nextWake <= now) {
    const text = `it should have woken already: ${until} until it does, or is lost`
    yield { code: 'overdue', text, since: nextWake, until: client.supervision.deadline, messages, bytes }
  } else if (state === 'asleep')
    yield { code: 'asleep', text: `it is asleep: ${until} until it wakes`, since, until: nextWake, messages, bytes }
  else if (state === 'lost') yield { code: 'lost', text: `it is lost: ${until} until it connects again`, since, messages, bytes }
  else if (state === 'disconnected') {
    const text = `it has disconnected: ${until} until it connects again`
    yield { code: 'disconnected', text, since, messages, bytes }
  } else if (client.route === '') {
    const text = `another client uses its address now: ${until} until it is heard again`
    yield { code: 'address-taken', text, messages, bytes }
  }
}

/** Reasons that follow from what is under way between gateway and sensor. */
export function* exchangeReasons(client: GatewayClient, session: Session | undefined): Iterable<Reason> {
  const { outbound, host, route, awakePeriod, state } = client
  const { exchanges, retries, halted } = outbound
  const queued = session?.queueLength ?? 0
  yield* portReasons(client)
  if (client.awaitsStore)
    yield { code: 'store-waits', text: 'answers and messages to it wait until the store has written its records' }
  // What waits for the port or the store has not been sent yet.
  const isSent = retries.count > 0 || !(host.ports.isWaiting(route) || client.awaitsStore)
  if (client.isReachable && isSent)
    for (const exchange of exchanges.open.slice(0, LISTED_REASONS)) yield unanswered(client, exchange)
  if (client.isReachable && outbound.windowFull && queued > 0) {
    const limit = host.options.inflightMessages
    const text = `${exchanges.open.length} of ${limit} messages are under way: ${wait(queued)} behind them`
    yield { code: 'window-full', text, messages: queued, limit, option: 'sn_inflight_messages' }
  }
  const lacksRecord = halted === 'lacks id' || (halted === 'rests' && exchanges.open.length === 0 && exchanges.again.length > 0)
  if (lacksRecord) yield { code: 'store-full', text: 'the store is full: no topic id can be recorded for its messages' }
  else if (halted === 'rests') {
    const why = retries.isIgnored ? 'it was heard, but did not acknowledge' : 'it answered that it is congested'
    yield { code: 'congested', text: `${why}: its messages are sent again later`, until: retries.due }
  }
  if (state === 'awake' && queued > 0 && (awakePeriod.isClosed || awakePeriod.limit !== undefined)) {
    const text = `this awake period has delivered as much as it may: ${wait(queued)} for the next one`
    yield { code: 'wake-limit', text, messages: queued, option: awakePeriod.limit ?? 'wake_messages' }
  }
}

function unanswered({ outbound: { retries }, retryProfile, host, route }: GatewayClient, exchange: Exchange): Reason {
  const { awaiting, msgId, message, delivery } = exchange
  const topic = message.type === MsgType.REGISTER ? message.topicName : delivery?.message.topic
  const what =
    message.type === MsgType.REGISTER ? 'REGISTER of the topic id' : message.type === MsgType.PUBREL ? 'PUBREL' : 'the message'
  const { nRetry } = retryProfile
  const again = retries.count === 0 ? 'sent once' : `sent again ${retries.count} of ${nRetry} times`
  const where = topic === undefined ? '' : ` for ${short(topic)}`
  return {
    code: 'not-acknowledged',
    text: `it has not answered ${what}${where}: ${awaiting} is awaited, ${again}`,
    awaiting,
    msgId,
    retransmissions: retries.count,
    retransmissionsLimit: nRetry,
    ...(topic !== undefined && { topic }),
    ...(!host.ports.isWaiting(route) && { until: retries.due }),
  }
}

function* portReasons({ host: { ports }, route }: GatewayClient): Iterable<Reason> {
  if (route === '') return
  const { name: port } = ports.of(route)
  if (!ports.has(route)) yield { code: 'port-missing', text: 'its port is not configured any more' }
  else if (ports.isHeld(route)) {
    const text = 'its address is not validated: more than three times the bytes that it sent wait until it acknowledges a message'
    yield { code: 'address-not-validated', text, option: 'trusted_networks' }
  } else if (ports.isWaiting(route) || ports.hasRefused(route)) {
    const text = `port ${port} may not send yet: airtime is used up, or others are before it`
    yield { code: 'airtime', text, port, until: ports.earliestTo(route) }
  }
}

/** Reasons that follow from topic ids and lengths of what waits. `topic`: the one that is asked about. */
export function* topicReasons(client: GatewayClient, session: Session, topic: string | undefined): Iterable<Reason> {
  const { registry, host, route } = client
  const { topicsPerClient } = host.options
  const room = route === '' ? host.options.maxDatagram : host.ports.roomTo(route)
  const waiting = waitingOf(session)
  const large = waiting.find(({ payloadLength }) => octetsOf(payloadLength) > room)
  if (large !== undefined) {
    const octets = octetsOf(large.payloadLength)
    const text = `a message on ${short(large.topic)} takes ${octets} octets, more than a datagram of ${room}, and is dropped`
    yield { code: 'too-large', text, topic: large.topic, bytes: octets, bytesLimit: room, option: 'sn_max_frame' }
  }
  const ids = new Map(registry.list(registry.size).map(({ id, name }) => [name, id]))
  const isUsedUp = registry.size >= topicsPerClient && registry.list(registry.size).every(({ offered }) => offered === undefined)
  const topics = new Set(topic === undefined ? [] : [topic])
  for (const each of waiting) if (topics.size < TOPICS_EXAMINED) topics.add(each.topic)
  let left = LISTED_REASONS
  for (const each of topics) {
    const reason = topicReason(client, each, ids.get(each), isUsedUp)
    if (reason === undefined) continue
    yield reason
    if (--left === 0) return
  }
}

function topicReason(client: GatewayClient, topic: string, id: number | undefined, isUsedUp: boolean): Reason | undefined {
  const { registry, host, clientId } = client
  const name = short(topic)
  if (registry.refuses(topic))
    return { code: 'topic-refused', text: `it has refused to register ${name}: messages on it are dropped`, topic }
  const predefined = host.predefined.idOf(clientId, topic)
  const isPredefined = predefined !== undefined && registry.knowsPredefined(predefined)
  if ((id !== undefined && registry.knows(id)) || isPredefined || shortTopicId(topic) !== undefined) return undefined
  if (registry.ignores(topic))
    return { code: 'topic-refused', text: `it did not answer REGISTER for ${name}: messages on it are dropped`, topic }
  if (!canRegister(client, topic)) {
    const text = `${name} is too long for REGISTER in one datagram: messages on it are dropped`
    return { code: 'too-large', text, topic, option: 'sn_max_frame' }
  }
  if (id === undefined && isUsedUp) {
    const { topicsPerClient: limit } = host.options
    const text = `all ${limit} topic ids are taken by topics that it asked for: messages on ${name} are dropped`
    return { code: 'topic-ids-used-up', text, topic, limit, option: 'max_sn_topics_per_client' }
  }
  const what = id === undefined ? 'has no topic id yet' : 'has a topic id that it may have forgotten'
  return { code: 'topic-not-registered', text: `${name} ${what}: REGISTER precedes the message`, topic }
}

const octetsOf = (payload: number): number => {
  const octets = PUBLISH_OCTETS + payload
  return octets >= LONG_FROM ? octets + 2 : octets
}
