import type { ClientCounters } from '../../base/client-figures.ts'
import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import type { Condition } from '../../broker/conditions.ts'
import { waitingSince } from '../../broker/oldest-waiting.ts'
import type { Session } from '../../broker/session.ts'
import { messageOf, qosOf } from '../../broker/session-queue.ts'
import { DAY_LETTERS, DAY_STATES } from '../../gateway/client/sensor-figures.ts'
import type { Sensor } from '../../gateway/sensors.ts'
import type { Server } from '../../server.ts'
import type { SessionKey } from '../../store/store.ts'
import type { SensorSession } from '../../upstream/sensors/sensor-session.ts'
import { clusterSession, type UpstreamSummary, upstreamDetail, upstreamSummary } from './sensor-upstream.ts'
import { subscriptionJson } from './subscription-json.ts'

/** States of MQTT clients, and of sensors. */
export const CLIENT_STATES = ['connected', 'disconnected', 'active', 'asleep', 'awake', 'lost'] as const
export type ClientState = (typeof CLIENT_STATES)[number]
export const PROTOCOLS = ['mqtt', 'mqtt-sn'] as const
export type Protocol = (typeof PROTOCOLS)[number]

/** One client in a list, in the names of the API. What is not known is undefined, and so left out of the JSON. */
export interface ClientSummary {
  /** `mqtt:` or `sn:` and the client id. */
  readonly id: SessionKey
  readonly client_id: string
  readonly protocol: Protocol
  readonly state: ClientState
  /** When that state began; for an MQTT client that was connected before Roost started, undefined. */
  readonly since: string | undefined
  readonly last_heard: string | undefined
  readonly sleep_seconds: number | undefined
  readonly next_wake: string | undefined
  readonly user: string | undefined
  /** Name of the listener, or of the port for sensors. */
  readonly port: string | undefined
  readonly address: string | undefined
  /** Node id behind a forwarder. */
  readonly node: string | undefined
  readonly subscription_count: number
  /** Queued, or delivered and not acknowledged. */
  readonly waiting_messages: number
  readonly waiting_bytes: number
  /** Of a sensor whose session is at a cluster, while it is connected. */
  readonly upstream: UpstreamSummary | undefined
}

/** A client before anything about it is written out: what filters look at. */
export interface ClientEntry {
  readonly key: SessionKey
  readonly clientId: string
  readonly protocol: Protocol
  readonly state: ClientState
  readonly user: string | undefined
  readonly port: string
  /** Undefined for a sensor whose session has ended, and that may still repeat its DISCONNECT. */
  readonly session: Session | undefined
  readonly sensor: Sensor | undefined
}

/** A session, or the sensor that has it. */
export function sessionEntry(server: Server, session: Session): ClientEntry {
  const { key, clientId, kind, link } = session
  if (kind === 'sn') {
    const sensor = server.gateway.sensors.get(clientId)
    if (sensor !== undefined) return sensorEntry(sensor, session)
  }
  const state = link === undefined ? 'disconnected' : kind === 'sn' ? 'active' : 'connected'
  return {
    key,
    clientId,
    protocol: kind === 'sn' ? 'mqtt-sn' : 'mqtt',
    state,
    user: userOf(session),
    port: kind === 'sn' ? '' : session.listener === '' ? session.owner.listener : session.listener,
    session,
    sensor: undefined,
  }
}

export const sensorEntry = (sensor: Sensor, session: Session | undefined): ClientEntry => ({
  key: `sn:${sensor.clientId}`,
  clientId: sensor.clientId,
  protocol: 'mqtt-sn',
  state: sensor.state,
  user: sensor.username ?? (session === undefined ? undefined : userOf(session)),
  port: sensor.port,
  session,
  sensor,
})

/** After a restart only the owner of the session is known, until its client returns. */
const userOf = ({ username, owner }: Session): string | undefined => username ?? owner.username

/** With every property in place: spreading takes four times as long. */
export function summaryOf(
  server: Server,
  { key, clientId, protocol, state, user, port, session, sensor }: ClientEntry,
): ClientSummary {
  const time = (at: Instant | undefined): string | undefined => (at === undefined ? undefined : isoTime(server.wallEpoch + at))
  const connection = sensor !== undefined || session?.link === undefined ? undefined : server.connections.of(session.link.id)
  const cluster = protocol === 'mqtt-sn' ? clusterSession(server, clientId) : undefined
  const since = sensor?.since ?? connection?.connectedAt ?? (session === undefined ? undefined : disconnectedAt(session))
  return {
    id: key,
    client_id: clientId,
    protocol,
    state,
    since: time(since),
    last_heard: time(sensor?.lastHeard ?? connection?.lastReceived),
    sleep_seconds: orNone(sensor?.sleepSeconds, 0),
    next_wake: time(sensor?.nextWake),
    user,
    port: orNone(port, ''),
    address: orNone(sensor?.address ?? connection?.peer, ''),
    node: sensor?.node,
    subscription_count: session?.subscriptions?.size ?? cluster?.filters.size ?? 0,
    waiting_messages:
      session === undefined ? (sensor?.waiting.messages ?? 0) : session.queueLength + (session.inflight?.size ?? 0),
    waiting_bytes: session === undefined ? (sensor?.waiting.bytes ?? 0) : session.queuedBytes + session.inflightWeight,
    upstream: cluster?.upstream && upstreamSummary(cluster.upstream),
  }
}

const orNone = <T>(value: T | undefined, none: T): T | undefined => (value === none ? undefined : value)

/** When the client of this session left, which its expiry tells; unknown if it never expires. */
function disconnectedAt(session: Session): Instant | undefined {
  const expiry = expiryOf(session)
  return expiry === undefined ? undefined : expiry - session.expirySeconds * 1000
}

/** When the session expires, while its client is away. */
export function expiryOf({ link, refused, timers }: Session): Instant | undefined {
  // What is due already, and waits for the store, is only tried again.
  if (link !== undefined || refused !== undefined) return undefined
  return timers.find(({ armed, owner }) => armed && owner.about === 'expiry')?.deadline
}

/** Messages of a queue that are listed one by one. */
const LISTED_MESSAGES = 100
/** Subscriptions, topic ids and access rules that are listed. */
export const LISTED = 1000
/** Characters of the names in one such list, because peers choose them. */
const CHARACTERS_MAX = 128 * 1024
/** Larger wills are left out. */
const PAYLOAD_MAX = 1024 * 1024

/** Everything that is known of one client. `payloads`: the user may see them. */
export function clientDetail(server: Server, now: Instant, entry: ClientEntry, payloads: boolean): object {
  const { session } = entry
  const counters = session === undefined ? undefined : clientCounters(server, session)
  const cluster = entry.protocol === 'mqtt-sn' ? clusterSession(server, entry.clientId) : undefined
  return {
    ...summaryOf(server, entry),
    ...(entry.protocol === 'mqtt' ? connectionJson(server, session) : sensorJson(server, now, entry)),
    ...(counters !== undefined && { counters: countersJson(counters) }),
    ...(session !== undefined && sessionJson(server, now, session)),
    ...(cluster !== undefined && clusterJson(server, cluster)),
    will: willJson(server, entry, payloads),
  }
}

function clusterJson(server: Server, { upstream, filters }: SensorSession): object {
  return {
    upstream: upstream && upstreamDetail(server, upstream),
    subscriptions: first(filters.all(), LISTED, ({ filter }) => filter.length).map(subscriptionJson),
  }
}

const VERSIONS = { 3: '3.1', 4: '3.1.1', 5: '5.0' } as const
/** Milliseconds of silence after which a client is lost, for a second of keep alive. */
const SILENCE_MS = 1500

function connectionJson({ connections }: Server, session: Session | undefined): object {
  const link = session?.link
  const connection = link === undefined ? undefined : connections.of(link.id)
  if (link === undefined || connection === undefined) return {}
  return {
    protocol_version: VERSIONS[connection.decoder.version],
    keep_alive_seconds: connection.keepAliveMs / SILENCE_MS,
    bridge: link.bridge || undefined,
    /** Messages that it may be sent before it acknowledges. */
    window: link.window,
    /** Its PUBLISHes with QoS 1 whose PUBACK waits for the store. */
    unanswered_publishes: link.unacknowledged,
    reads: !connection.congested,
    paused: connection.paused || undefined,
  }
}

/** What an MQTT client has sent and was sent, as long as its session lasts; undefined where that is not counted. */
export function clientCounters({ connections, clientFigures }: Server, session: Session): ClientCounters | undefined {
  const { figuresAt, link } = session
  if (clientFigures === undefined || figuresAt < 0) return undefined
  const connection = link === undefined ? undefined : connections.of(link.id)
  return clientFigures.counters(figuresAt, connection?.counted)
}

function sensorJson({ gateway }: Server, now: Instant, { clientId, sensor }: ClientEntry): object {
  // A sensor at rest becomes an object for this, and rests again with the next input: nothing else can tell.
  const client = gateway.client(clientId)
  if (client === undefined || sensor === undefined) return { protocol_version: '1.2' }
  const { registry, route, cleanSession, outbound } = client
  const { open } = outbound.exchanges
  const figures = gateway.sensors.figuresOf(now, sensor)
  return {
    protocol_version: '1.2',
    keep_alive_seconds: sensor.keepAliveSeconds,
    clean: cleanSession,
    address_validated: gateway.isProven(route),
    waits_for_port: gateway.ports.isWaiting(route) || undefined,
    exchanges: open.slice(0, LISTED_MESSAGES).map(({ awaiting, msgId }) => ({ awaiting, msg_id: msgId })),
    ...(figures !== undefined && { counters: countersJson(figures.counters), last_day: dayStates(figures.day) }),
    topic_id_count: registry.size,
    topic_ids: first(registry.list(LISTED), LISTED, ({ name }) => name.length).map(({ id, name, offered }) => ({
      id,
      topic: name,
      requested_by: offered === undefined ? 'sensor' : 'gateway',
      /** False: it is registered again before it is used, because the sensor may have forgotten it. */
      known: registry.knows(id),
    })),
  }
}

const dayStates = (day: string): string[] => Array.from(day, (letter) => DAY_STATES[DAY_LETTERS.indexOf(letter)]!)

/** Figures of a client for a list: `counters`, and `day` as letters. */
export function figuresJson(server: Server, now: Instant, { sensor, session }: ClientEntry): object {
  const figures = sensor === undefined ? undefined : server.gateway.sensors.figuresOf(now, sensor)
  if (figures !== undefined) return { counters: countersJson(figures.counters), day: figures.day }
  const counters = session === undefined ? undefined : clientCounters(server, session)
  return counters === undefined ? {} : { counters: countersJson(counters) }
}

const countersJson = (counters: ClientCounters & { readonly wakes?: number }): object => ({
  messages_received: counters.messagesReceived,
  messages_sent: counters.messagesSent,
  bytes_received: counters.bytesReceived,
  bytes_sent: counters.bytesSent,
  retransmissions: counters.retransmissions,
  dropped: counters.dropped,
  refused: counters.refused,
  wakes: counters.wakes,
})

function conditionJson({ text, isValid, stats: { evaluated, passed, failed } }: Condition): object {
  return { text, valid: isValid, evaluated, passed, failed }
}

function sessionJson(server: Server, now: Instant, session: Session): object {
  const { persistent, expirySeconds, mountPoint, subscriptions, inflight, receipts, owner } = session
  const expiry = expiryOf(session)
  return {
    created: sinceSecond(server, session.createdAt),
    user_verified: owner.verified || undefined,
    persistent,
    expiry_seconds: orNone(expirySeconds, Number.POSITIVE_INFINITY),
    expires: expiry === undefined ? undefined : isoTime(server.wallEpoch + expiry),
    mount_point: orNone(mountPoint, ''),
    subscriptions: first(subscriptions?.values() ?? [], LISTED, ({ filter }) => filter.length).map((each) => ({
      ...subscriptionJson(each),
      identifier: each.subscriptionIdentifier,
      condition: each.condition && conditionJson(each.condition),
    })),
    queue: {
      messages: session.queueLength,
      bytes: session.queuedBytes,
      oldest: sinceSecond(server, waitingSince(session)),
      first: first(session.queue ?? [], LISTED_MESSAGES, (each) => messageOf(each).topic.length).map((each) =>
        messageJson(server, now, messageOf(each), qosOf(each)),
      ),
    },
    in_flight: {
      messages: inflight?.size ?? 0,
      bytes: session.inflightWeight,
      first: first(inflight?.values() ?? [], LISTED_MESSAGES, ({ queued }) => queued.message.topic.length).map(
        ({ packetId, queued, released, departed }) => ({
          packet_id: packetId,
          state: released ? 'received' : departed ? 'sent' : 'waiting',
          ...messageJson(server, now, queued.message, queued.qos),
        }),
      ),
    },
    /** Its QoS 2 messages that are accepted, and not released by PUBREL. */
    unreleased: receipts?.size ?? 0,
  }
}

/** A time of which only the second is kept; undefined if it is not known. */
export const sinceSecond = ({ wallEpoch }: Pick<Server, 'wallEpoch'>, second: number | undefined): string | undefined =>
  second === undefined || second < 0 ? undefined : isoTime(wallEpoch + second * 1000)

function messageJson(server: Server, now: Instant, message: ReturnType<typeof messageOf>, qos: number): object {
  const { wallEpoch } = server
  const { topic, payloadLength, from, expiresAt } = message
  return {
    topic,
    qos,
    payload_bytes: payloadLength,
    publisher: orNone(from, ''),
    accepted: sinceSecond(server, message.acceptedAt),
    expires: expiresAt === undefined ? undefined : isoTime(wallEpoch + expiresAt),
    expired: (expiresAt !== undefined && expiresAt <= now) || undefined,
  }
}

function willJson({ gateway }: Server, { clientId, protocol, session }: ClientEntry, payloads: boolean): object | undefined {
  const will = session?.will ?? (protocol === 'mqtt-sn' ? gateway.client(clientId)?.will : undefined)
  if (will === undefined) return undefined
  const { topic, qos, retain, payload, properties } = will
  return {
    topic,
    qos,
    retain,
    payload_bytes: payload.length,
    delay_seconds: properties.willDelayInterval ?? 0,
    payload_base64: payloads && payload.length <= PAYLOAD_MAX ? Buffer.from(payload).toString('base64') : undefined,
  }
}

/** The first entries, without exceeding so many characters by more than one entry. */
export function first<T>(all: Iterable<T>, most: number, lengthOf: (each: T) => number): T[] {
  const some: T[] = []
  let left = CHARACTERS_MAX
  for (const each of all) {
    if (some.length === most || left <= 0) break
    left -= lengthOf(each)
    some.push(each)
  }
  return some
}
