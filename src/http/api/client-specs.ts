import { CONNECTION_STATES } from '../../upstream/sensors/cluster-totals.ts'
import {
  base64,
  decimal,
  flag,
  listOf,
  NEXT_CURSOR,
  object,
  oneOfWords,
  PAGE_QUERY,
  PROBLEM,
  type RouteSpec,
  type Schema,
  text,
  whole,
} from '../schema.ts'
import { CLIENT_STATES, PROTOCOLS } from './client-json.ts'
import { REASONS } from './reason.ts'

const TAG = 'clients'
const TIME = 'ISO 8601, UTC'
const ID = text('`mqtt:` or `sn:` and the client id; or the client id alone, if only one client has it')
const NONE: Readonly<Record<number, { readonly description: string; readonly schema: Schema }>> = {
  404: { description: 'there is no such client', schema: PROBLEM },
  409: { description: 'an MQTT client and a sensor have this client id, or it cannot be done now', schema: PROBLEM },
}

const SUMMARY = {
  id: text('`mqtt:` or `sn:` and the client id'),
  client_id: text('client id'),
  protocol: oneOfWords('its protocol', PROTOCOLS),
  state: oneOfWords(
    'of an MQTT client: connected, disconnected; of a sensor: active, asleep, awake, lost, disconnected',
    CLIENT_STATES,
  ),
  subscription_count: whole('its subscriptions'),
  waiting_messages: whole('messages that are queued, or delivered and not acknowledged'),
  waiting_bytes: whole('their topics, payloads and properties'),
} as const
const SUMMARY_OPTIONAL = {
  since: text(`when that state began; ${TIME}`),
  last_heard: text(`when something last came from it; ${TIME}`),
  sleep_seconds: whole('how long a sensor said that it sleeps'),
  next_wake: text(`when its sleep ends; ${TIME}`),
  user: text('user name'),
  port: text('name of the listener, or of the port for sensors'),
  address: text('network address, for sensors behind a forwarder that of the forwarder'),
  node: text('node id behind a forwarder, in hexadecimal digits'),
} as const
const OF_CLUSTER = {
  state: oneOfWords(
    'of the connection of its session to the cluster; waiting: for the next attempt; parked: until the sensor wakes',
    CONNECTION_STATES,
  ),
}
const OF_CLUSTER_OPTIONAL = { target: text('URL of the target that is connected, or was tried last') }
const UPSTREAM_DETAIL = object(
  {
    ...OF_CLUSTER,
    since: text(`when that began, or the last attempt; ${TIME}`),
    unanswered: whole('messages with QoS 1 and 2 that the cluster has not acknowledged'),
    sent: whole('messages to the cluster since the sensor has connected'),
    received: whole('messages from it'),
    resent: whole('messages sent again, after a lost connection'),
    dropped: whole('messages dropped on the way; notices say why'),
    sessions_lost: whole('how often the cluster has lost the session'),
    dials: whole('attempts to connect'),
    connects: whole('of these with success'),
  },
  {
    ...OF_CLUSTER_OPTIONAL,
    client_id: text('client id at the cluster'),
    version: text('MQTT version of the connection: 5.0 or 3.1.1'),
    round_trip_ms: decimal('round trip of the last PINGREQ or message'),
    last_error: text('why the last connection ended, or the last attempt failed'),
  },
)

const COUNTERS = object(
  {
    messages_received: whole('messages that it published'),
    messages_sent: whole('messages that it was sent, retransmissions included'),
    bytes_received: whole('bytes of all packets that it sent'),
    bytes_sent: whole('bytes of all packets that it was sent'),
    retransmissions: whole('messages that it was sent again'),
    dropped: whole('messages for it that were dropped; notices say why'),
    refused: whole('CONNECTs, messages and requests that it was refused; notices say why'),
  },
  { wakes: whole('how often a sensor woke and went to sleep again') },
)
const DAY = text(
  'what a sensor mostly did in the last 96 quarters of an hour, the current one last, a letter for each: `s` asleep, `w` awake, `l` lost, `-` unknown; since the process started',
  { minLength: 96, maxLength: 96 },
)

export const LIST_CLIENTS: RouteSpec = {
  tag: TAG,
  summary: 'Lists sessions and sensors',
  description:
    'A client that exists all the time is listed once, whatever comes and goes. A page may have fewer entries than `limit`, or none, and still a cursor: then the list continues there.',
  query: {
    q: text('part of the client id or the user name; letters of either case are the same'),
    state: oneOfWords('only those in this state', CLIENT_STATES),
    port: text('only those of the listener or port with this name'),
    protocol: oneOfWords('only those of this protocol', PROTOCOLS),
    figures: flag('`true`: with the figures of each, `counters` and `day`'),
    ...PAGE_QUERY,
  },
  answers: {
    200: {
      description: 'a page',
      schema: object(
        {
          clients: listOf(
            object(SUMMARY, {
              ...SUMMARY_OPTIONAL,
              upstream: object(OF_CLUSTER, OF_CLUSTER_OPTIONAL),
              ...{ counters: COUNTERS, day: DAY },
            }),
          ),
        },
        { cursor: NEXT_CURSOR },
      ),
    },
  },
}

const MESSAGE = {
  topic: text('topic name'),
  qos: whole('QoS of the delivery', 0, 2),
  payload_bytes: whole('length of the payload'),
}
const MESSAGE_OPTIONAL = {
  publisher: text('session that published it'),
  accepted: text(`when Roost accepted it; ${TIME}; absent if that was before it started`),
  expires: text(`when it expires; ${TIME}`),
  expired: flag('it has expired, and is dropped instead of sent'),
}
const totals = (first: Schema, optional: Readonly<Record<string, Schema>> = {}): Schema =>
  object(
    {
      messages: whole('how many'),
      bytes: whole('their topics, payloads and properties'),
      first: listOf(first, 'the first 100'),
    },
    optional,
  )

const OF_SESSION = {
  created: text(`when the session began; ${TIME}; absent if that was before Roost started`),
  user_verified: flag('the user name was verified'),
  persistent: flag('the session outlives its connection, and the process'),
  expiry_seconds: { type: 'number', minimum: 0, description: 'how long it outlives its connection; absent: for ever' },
  expires: text(`when it expires if its client does not return; ${TIME}`),
  mount_point: text('prefix of all its topics'),
  subscriptions: listOf(
    object(
      {
        filter: text('topic filter, with `$share/` and its group if it is shared'),
        qos: whole('granted QoS', 0, 2),
        no_local: flag('No Local'),
        retain_as_published: flag('Retain As Published'),
        retain_handling: whole('Retain Handling', 0, 2),
      },
      {
        identifier: whole('Subscription Identifier', 1),
        condition: object({
          text: text('what a message must fulfil, in CEL (docs/filters.md)'),
          valid: flag('it can be evaluated; if not, nothing passes'),
          evaluated: whole('messages that it was evaluated on, for all subscriptions that have it, since Roost started'),
          passed: whole('of these, those that it let through'),
          failed: whole('of these, those on which it could not be evaluated, which counts as false'),
        }),
      },
    ),
    'the first 1,000',
  ),
  queue: totals(object(MESSAGE, MESSAGE_OPTIONAL), {
    oldest: text(`when Roost accepted the message that has waited longest, queued or in flight, without retained ones; ${TIME}`),
  }),
  in_flight: totals(
    object(
      {
        packet_id: whole('packet id', 0, 65_535),
        state: oneOfWords('`received`: PUBREC has come, and PUBREL is repeated', ['waiting', 'sent', 'received']),
        ...MESSAGE,
      },
      MESSAGE_OPTIONAL,
    ),
  ),
  unreleased: whole('QoS 2 messages of the client that were accepted, and not released by PUBREL'),
} as const satisfies Readonly<Record<string, Schema>>

const OF_CONNECTION = {
  protocol_version: oneOfWords('version of the protocol', ['3.1', '3.1.1', '5.0', '1.2']),
  keep_alive_seconds: { type: 'number', minimum: 0, description: 'keep alive; 0: none' },
  bridge: flag('its CONNECT has the bridge bit'),
  window: whole('messages that it may be sent before it acknowledges one'),
  unanswered_publishes: whole('its messages with QoS 1 whose PUBACK waits for the store'),
  reads: flag('false: its socket takes nothing at the moment'),
  paused: flag('it is not read at the moment'),
} as const satisfies Readonly<Record<string, Schema>>

const OF_SENSOR = {
  clean: flag('CleanSession of its CONNECT'),
  address_validated: flag('its address is trusted, or has acknowledged a message'),
  waits_for_port: flag('datagrams to it wait for airtime'),
  exchanges: listOf(
    object({ awaiting: text('message that the gateway waits for'), msg_id: whole('message id', 0, 65_535) }),
    'messages to it that are not acknowledged, the first 100',
  ),
  counters: COUNTERS,
  last_day: listOf(
    oneOfWords('what it mostly did', ['unknown', 'asleep', 'awake', 'lost']),
    'the last 96 quarters of an hour, the current one last; since the process started',
  ),
  topic_id_count: whole('its topic ids'),
  topic_ids: listOf(
    object({
      id: whole('topic id', 0, 65_535),
      topic: text('topic name'),
      requested_by: oneOfWords('who registered it', ['sensor', 'gateway']),
      known: flag('false: registered again before it is used, because the sensor may have forgotten it'),
    }),
    'the first 1,000',
  ),
} as const satisfies Readonly<Record<string, Schema>>

const WILL = object(
  {
    topic: text('topic name'),
    qos: whole('QoS', 0, 2),
    retain: flag('whether it is retained'),
    payload_bytes: whole('length of the payload'),
    delay_seconds: whole('Will Delay Interval'),
  },
  { payload_base64: base64('the payload, if it is not longer than 1 MiB; only for users who may manage') },
)

const REASON = object(
  { code: oneOfWords('docs/troubleshooting.md explains each', REASONS), text: text('the same in words, without times') },
  {
    since: text(`since when; ${TIME}`),
    until: text(`when it is expected to end, or was due to; ${TIME}`),
    messages: whole('messages that it holds back'),
    bytes: whole('their topics, payloads and properties'),
    limit: whole('of messages or topic ids'),
    bytes_limit: whole('of bytes'),
    dropped: whole('messages for this client that were dropped so far, for any reason'),
    option: text('option behind the limit'),
    topic: text('topic that it is about'),
    filter: text('topic filter of the subscription that it is about'),
    awaiting: text('type of the packet that is awaited'),
    msg_id: whole('message id, or packet id, of that packet', 0, 65_535),
    retransmissions: whole('how often the message was sent again'),
    retransmissions_limit: whole(
      'how often it is sent again at most, before the client counts as lost or the message is given up',
    ),
    port: text('name of the port'),
  },
)

export const READ_CLIENT: RouteSpec = {
  tag: TAG,
  summary: 'Returns everything that is known of a client',
  description: 'What is not known is left out.',
  params: { id: ID },
  query: { topic: text('`reasons` also say why it gets no messages on this topic', { minLength: 1 }) },
  answers: {
    200: {
      description: 'the client',
      schema: object(
        {
          ...SUMMARY,
          reasons: listOf(
            REASON,
            'why it does not get its messages at the moment, the most important first; empty: nothing holds them back',
          ),
        },
        { ...SUMMARY_OPTIONAL, ...OF_CONNECTION, ...OF_SENSOR, ...OF_SESSION, upstream: UPSTREAM_DETAIL, will: WILL },
      ),
    },
    ...NONE,
  },
}

export const DISCONNECT_CLIENT: RouteSpec = {
  tag: TAG,
  summary: 'Disconnects a client',
  description:
    'MQTT 5 clients get reason code 0x98 (Administrative action), sensors DISCONNECT. The will is published by its rules, and the session stays, unless it is clean.',
  params: { id: ID },
  answers: { 204: { description: 'it is disconnected' }, ...NONE },
}

export const END_CLIENT: RouteSpec = {
  tag: TAG,
  summary: 'Ends the session of a client',
  description:
    'Like its expiry: a will is published even if its delay has not passed; subscriptions, queued messages and topic ids are gone. Answered when that is durable. A session at a cluster ends there; if the cluster cannot be told within five seconds the answer is 503, and the session ends when it can.',
  params: { id: ID },
  answers: { 204: { description: 'the session is ended' }, ...NONE },
}
