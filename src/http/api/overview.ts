import { isoTime } from '../../base/iso-time.ts'
import type { Instant } from '../../base/machine.ts'
import type { HttpContext } from '../context.ts'
import { json, type Route } from '../exchange.ts'
import { decimal, flag, listOf, mapOf, object, type RouteSpec, text, whole } from '../schema.ts'
import { milliseconds } from './milliseconds.ts'
import { upstreamCounts } from './upstream.ts'

const inAndOut = (what: string) =>
  object({ received: whole(`${what} received since the start`), sent: whole(`${what} sent since the start`) })

const SPEC: RouteSpec = {
  tag: 'overview',
  summary: 'Returns the totals of this moment',
  description: 'The figures are those of $SYS and /metrics. "Since the start" marks counters.',
  answers: {
    200: {
      description: 'the totals',
      schema: object(
        {
          version: text('version of Roost'),
          started_at: text('when the process started, by the wall clock (ISO 8601)'),
          ready: flag('whether Roost should get traffic'),
          clients: object({
            connected: whole('clients that are connected; sleeping sensors are among them'),
            disconnected: whole('sessions without a connected client'),
            maximum: whole('most clients at the same time since the start'),
            expired: whole('sessions that expired since the start'),
          }),
          sensors: object({
            active: whole('MQTT-SN clients that are awake all the time'),
            asleep: whole('that sleep'),
            awake: whole('that fetch their messages, and sleep again'),
            lost: whole('that were silent for too long'),
            disconnected: whole('that have left, and have a session'),
          }),
          retransmissions: whole('messages sent to sensors again since the start'),
          airtime: listOf(
            object(
              { port: text('name of the port for sensors'), used_seconds: decimal('airtime used within the last hour') },
              { left_seconds: decimal("airtime left of the last hour's (duty_cycle); absent: no limit") },
            ),
            'of each port for sensors that has a data rate',
          ),
          queued_frames: whole('frames to sensors that wait for airtime'),
          connects: whole('CONNECT packets since the start'),
          packets: inAndOut('packets of all types'),
          messages: object({
            received: whole('messages received since the start'),
            sent: whole('deliveries sent since the start'),
            dropped: whole('deliveries dropped since the start'),
          }),
          payload_bytes: inAndOut('bytes of payload'),
          bytes: inAndOut('bytes'),
          retained: object({ messages: whole('retained messages'), bytes: whole('their topics, payloads and properties') }),
          waiting: object({
            messages: whole('messages queued or in flight, each receiver counted'),
            bytes: whole('bytes of these messages'),
          }),
          subscriptions: object({ plain: whole('subscriptions'), shared: whole('shared subscriptions') }),
          memory: object(
            {
              resident: whole('bytes that the system has given to the process'),
              heap: whole('bytes in use by objects and buffers'),
              clients: whole('bytes that clients make Roost hold'),
            },
            { limit: whole('memory_limit') },
          ),
          cpu_seconds: decimal('CPU time since the start'),
          notices: mapOf(whole('since the start'), 'notices by their code'),
          limits: mapOf(whole('since the start'), 'how often a limit was reached, by its option'),
        },
        {
          not_ready: text('why Roost is not ready'),
          bridges: object({ connected: whole('bridges that are connected'), configured: whole('all bridges') }),
          upstream: object({
            targets: object({
              up: whole('targets to which sensors are connected'),
              idle: whole('to which none is, and which have answered so far'),
              failing: whole('to which none is, and the last attempt has failed'),
              away: whole('of which three attempts in a row or more have failed'),
            }),
            connections: whole('connections of sensors to the cluster that are up'),
          }),
          event_loop_lag_ms: decimal('lag of the event loop at the last sample'),
          open_files: object({ used: whole('files and sockets that are open'), limit: whole('how many may be') }),
          store: object(
            {
              bytes: whole('bytes of the data directory in use'),
              waiting_bytes: whole('bytes of records that are not durable yet'),
            },
            { max_bytes: whole('max_data_bytes') },
          ),
        },
      ),
    },
  },
}

/** The totals, for people and for `roost status`. */
export const overviewRoutes = (context: HttpContext): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/overview',
    needs: 'view',
    always: true,
    spec: SPEC,
    answer: ({ now }) => json(overview(now, context)),
  },
]

function overview(now: Instant, { server, status }: HttpContext): object {
  const {
    clients,
    connects,
    messages,
    publishes,
    publishBytes,
    bytes,
    stored,
    subscriptions,
    notices,
    memory,
    process: { eventLoopLagMs },
  } = server.figures()
  const { retained } = server.broker
  const { sensors, traffic, ports } = server.gateway
  const notReady = status.notReady()
  const { heap, resident } = status.memory()
  const files = status.openFiles()
  const store = status.store()
  const used = [...memory.used.values()].reduce((sum, each) => sum + each, 0)
  return {
    version: status.version,
    started_at: isoTime(status.startedAt * 1000),
    ready: notReady === undefined,
    ...(notReady !== undefined && { not_ready: notReady }),
    clients,
    sensors: sensors.counts,
    retransmissions: traffic.retransmissions,
    airtime: Array.from(ports.airtime(now), ([port, { used, left }]) => ({
      port,
      used_seconds: used / 1000,
      ...finite('left_seconds', left / 1000),
    })),
    queued_frames: ports.queuedFrames,
    connects,
    packets: messages,
    messages: publishes,
    payload_bytes: publishBytes,
    bytes,
    retained: { messages: retained.count, bytes: retained.bytes },
    waiting: { messages: stored.messages - retained.count, bytes: stored.bytes - retained.bytes },
    subscriptions,
    ...bridgeCounts(server),
    upstream: upstreamCounts(server),
    memory: { resident, heap, clients: Math.round(used), ...finite('limit', memory.limit) },
    cpu_seconds: status.cpuSeconds(),
    event_loop_lag_ms: milliseconds(eventLoopLagMs),
    ...(files !== undefined && { open_files: files }),
    ...(store !== undefined && {
      store: { bytes: store.usedBytes, waiting_bytes: store.waitingBytes, ...finite('max_bytes', store.maxBytes) },
    }),
    notices: Object.fromEntries(notices.byCode),
    limits: Object.fromEntries(notices.byLimit),
  }
}

function bridgeCounts({ bridges }: HttpContext['server']): object {
  const { all = [] } = bridges ?? {}
  const connected = all.filter(({ state }) => state === 'connected').length
  return all.length === 0 ? {} : { bridges: { connected, configured: all.length } }
}

const finite = (name: string, value: number): object => (Number.isFinite(value) ? { [name]: value } : {})
