import { BRIDGE_OPTIONS } from './bridges.ts'
import { choice, type Kind, optionalFile, optionalText, optionalWhole, text, whole } from './kinds.ts'

interface UpstreamOption extends Kind<unknown, unknown> {
  readonly default: string | number | boolean | undefined
  /** One or two sentences, with the unit. */
  readonly about: string
}

const pattern = /^[^\0]+$/s

/** The keys of `upstream`, named as in `bridges` where they mean the same. */
export const UPSTREAM_OPTIONS = {
  targets: {
    ...BRIDGE_OPTIONS.addresses,
    about:
      'Nodes of the cluster: a URL (`mqtt://`, `mqtts://`, `ws://`, `wss://`), or a list of them that are tried in turn. Required, unless `--upstream` names them.',
  },
  round_robin: {
    ...BRIDGE_OPTIONS.round_robin,
    about:
      'Each sensor begins with the next node, and goes on to the next after a lost connection; otherwise each begins with the first.',
  },
  protocol_version: {
    ...choice('auto', 'mqttv50', 'mqttv311'),
    default: 'auto',
    about: 'MQTT version. auto: 5.0, or 3.1.1 for nodes that do not speak it.',
  },
  client_id: {
    ...text(pattern, 'a pattern of client ids like %c', 'pattern'),
    default: '%c',
    about:
      'Client id of a sensor at the cluster: `%c` is its own, which it must contain, `%g` the gateway id, `%u` its user, `%%` a percent sign. All gateways between which sensors move need the same, so without `%g`.',
  },
  username: {
    ...optionalText(pattern, 'a pattern of user names', 'pattern'),
    default: undefined,
    about:
      'User name at the cluster, with the same placeholders: `%u` is the user of `sn_users` or `sn_username`. If not set: none.',
  },
  password_file: {
    ...optionalFile,
    default: undefined,
    about:
      'File whose first line is the password at the cluster, with the same placeholders: a percent sign in it is written `%%`.',
  },
  keepalive_interval: {
    ...whole(5, 65_535),
    default: 900,
    about:
      "Keep alive in seconds of the connections to the cluster, whatever a sensor's own is. A node may ask for less (Server Keep Alive).",
  },
  sleepers: {
    ...choice('keep', 'park'),
    default: 'keep',
    about:
      'Connections of sleeping sensors. keep: they stay, so that what comes is there when the sensor wakes. park: they are closed until then, where connections cost money or unacknowledged messages are punished.',
  },
  quiet_time_ms: {
    ...whole(0, 60_000),
    default: 100,
    about:
      'Milliseconds without a message after which a sensor that has just been connected counts as served, and PINGRESP lets it sleep: MQTT does not say where the backlog ends.',
  },
  receive_maximum: {
    ...whole(1, 1000),
    default: 20,
    about: 'QoS 1 and 2 messages in flight at most for one sensor, in each direction. Others wait at the cluster.',
  },
  maximum_qos: {
    ...whole(1, 2),
    default: 2,
    about:
      'Maximum QoS of messages sent to the cluster. 1: messages of sensors with QoS 2 are sent with QoS 1, for a cluster that may lose messages with QoS 2, as NATS does. A cluster without QoS 2 is detected without this option.',
  },
  wills: {
    ...choice('auto', 'upstream', 'gateway'),
    default: 'auto',
    about:
      'Who publishes the will of a lost sensor. upstream: the cluster, with MQTT 3.1.1 also when the gateway dies. gateway: the gateway, unless it is gone for good. auto: the cluster with MQTT 5, which waits `will_delay_interval` first, otherwise the gateway.',
  },
  will_delay_interval: {
    ...whole(0, 86_400),
    default: 60,
    about:
      'Seconds after which the cluster publishes the will of a sensor without a connection (MQTT 5): time for a gateway to restart.',
  },
  max_held_messages: {
    ...whole(1, 100_000),
    default: 100,
    about: 'Maximum number of QoS 0 messages held for a sleeping sensor. Beyond it, the oldest is dropped.',
  },
  max_held_bytes: {
    ...whole(1, 1_000_000_000),
    default: 65_536,
    about: 'Maximum size in bytes of these messages.',
  },
  dials_per_second: {
    ...whole(1, 10_000),
    default: 50,
    about: 'Attempts to connect per second, of all sensors together. Clusters accept 15 to 100 new sessions per second.',
  },
  restart_timeout: BRIDGE_OPTIONS.restart_timeout,
  connect_timeout_seconds: {
    ...whole(1, 300),
    default: 10,
    about: 'Seconds within which a node has to accept a connection; then the next one is tried.',
  },
  max_packet_size: {
    ...optionalWhole(20, 268_435_460),
    default: undefined,
    about: 'Maximum size in bytes of a packet from the cluster; the global max_packet_size if not set.',
  },
  bind_address: BRIDGE_OPTIONS.bind_address,
  cafile: {
    ...BRIDGE_OPTIONS.cafile,
    about: 'CA certificates (PEM) used to verify the nodes, instead of those that Node.js comes with.',
  },
  capath: BRIDGE_OPTIONS.capath,
  certfile: {
    ...BRIDGE_OPTIONS.certfile,
    about: 'PEM file of the client certificate of this gateway, with its chain, for all sensors.',
  },
  keyfile: BRIDGE_OPTIONS.keyfile,
  insecure: {
    ...BRIDGE_OPTIONS.insecure,
    about: 'Accepts a certificate of a node for another host name. That it comes from a known CA is verified all the same.',
  },
  alpn: BRIDGE_OPTIONS.alpn,
  tls_version: BRIDGE_OPTIONS.tls_version,
} as const satisfies Record<string, UpstreamOption>

export type UpstreamKey = keyof typeof UPSTREAM_OPTIONS

export const upstreamKeys = Object.keys(UPSTREAM_OPTIONS) as readonly UpstreamKey[]

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : K
type ValueOf<E> = E extends Kind<infer T, infer _Given> ? T : never

/** The values of `upstream`, by their names in the code. */
export type UpstreamValues = { readonly [K in UpstreamKey as CamelCase<K>]: ValueOf<(typeof UPSTREAM_OPTIONS)[K]> }

/** `upstream` with its effective settings. */
export interface UpstreamConfig extends UpstreamValues {
  /** Where it is configured, for errors: `roost.yaml:3:1: upstream`, or `--upstream`. */
  readonly origin: string
  /** Where its targets are. */
  readonly targetsOrigin: string
}
