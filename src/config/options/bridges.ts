import type { BridgeTopic } from '../../upstream/topic-map.ts'
import {
  addressList,
  choice,
  type Kind,
  onOff,
  optionalFile,
  optionalOnOff,
  optionalText,
  optionalWhole,
  text,
  trueFalse,
  whole,
} from './kinds.ts'

interface BridgeOption extends Kind<unknown, unknown> {
  readonly default: string | number | boolean | undefined
  /** One or two sentences, with the unit. */
  readonly about: string
}

const name = text(/^[\w.:-]{1,64}$/, 'a name of letters, digits and any of . : _ -', 'name')
const optionalString = (expected: string): Kind<string | undefined> => optionalText(/^[^\0]+$/, expected, 'text')

/** The keys of an entry of `bridges`, as in mosquitto.conf, where some of them begin with `bridge_`. */
export const BRIDGE_OPTIONS = {
  name: { ...name, default: undefined, about: 'Name of the bridge, in the log, metrics and client ids. Required.' },
  addresses: {
    ...addressList,
    default: undefined,
    about:
      'Remote broker, or several that are tried in turn: a URL (`mqtt://`, `mqtts://`, `ws://`, `wss://`), or a host and a port (1883 if left out) as in mosquitto.conf, which TLS is used for if one of the TLS keys is set. `address` is the same. Required.',
  },
  round_robin: {
    ...onOff,
    default: false,
    about: 'After a lost connection the next address is tried first, instead of the first one.',
  },
  protocol: {
    ...choice('mqtt', 'websockets'),
    default: 'mqtt',
    about: 'Protocol for addresses that are not URLs: plain MQTT, or MQTT over WebSocket with the path /mqtt.',
  },
  start_type: {
    ...choice('automatic', 'lazy', 'once'),
    default: 'automatic',
    about:
      'When to connect: automatic: at the start, and again whenever the connection is lost; lazy: when `threshold` messages wait, until nothing was sent for `idle_timeout`; once: at the start only.',
  },
  idle_timeout: {
    ...whole(1, 86_400),
    default: 60,
    about: 'Seconds without a message after which a lazy bridge disconnects.',
  },
  threshold: {
    ...whole(1, 1_000_000),
    default: 10,
    about: 'Messages that have to wait before a lazy bridge connects.',
  },
  restart_timeout: {
    ...text(/^\d{1,4}( +\d{1,4})?$/, 'one or two numbers of seconds, like "1 60"', 'seconds'),
    default: '1 60',
    about:
      'Seconds between attempts to connect: a constant, or base and cap. Each failure doubles the longest wait, and each wait is random between base and that.',
  },
  keepalive_interval: {
    ...whole(5, 65_535),
    default: 60,
    about: 'Keep alive in seconds. The remote broker may ask for less (Server Keep Alive).',
  },
  protocol_version: {
    ...choice('auto', 'mqttv50', 'mqttv311', 'mqttv31'),
    default: 'auto',
    about: 'MQTT version. auto: 5.0, or 3.1.1 where the remote broker does not speak it.',
  },
  try_private: {
    ...trueFalse,
    default: true,
    about:
      'Says with the bridge bit of Mosquitto that this is a bridge, before MQTT 5: messages do not come back, and retained ones stay retained. A remote broker that does not know the bit is connected without it.',
  },
  remote_clientid: {
    ...optionalString('a client id'),
    default: undefined,
    about:
      'Client id at the remote broker; `<host name>.<name>` if not set. Set it where the host name changes, as in containers.',
  },
  remote_username: { ...optionalString('a user name'), default: undefined, about: 'User name at the remote broker.' },
  remote_password: {
    ...optionalString('a password'),
    default: undefined,
    about: 'Password at the remote broker. `password_file` keeps it out of the configuration.',
  },
  password_file: { ...optionalFile, default: undefined, about: 'File whose first line is the password at the remote broker.' },
  cleansession: {
    ...onOff,
    default: false,
    about: 'The remote broker forgets the session, with what waits there, whenever the connection is lost.',
  },
  session_expiry_interval: {
    ...whole(0, 0xffff_ffff),
    default: 0xffff_ffff,
    about: 'Seconds for which an MQTT 5 remote broker keeps the session without a connection; 4294967295 is for ever.',
  },
  local_clientid: {
    ...optionalString('a client id'),
    default: undefined,
    about: 'Client id of the session at this broker; `bridge:<name>` if not set. No other client can use it.',
  },
  local_cleansession: {
    ...optionalOnOff,
    placeholder: 'true|false',
    default: undefined,
    about: 'What waits here is dropped when the connection is lost. As `cleansession` if not set.',
  },
  notifications: {
    ...trueFalse,
    default: true,
    about: 'Publishes 1 while the bridge is connected and 0 while it is not, retained, here and at the remote broker.',
  },
  notifications_local_only: { ...onOff, default: false, about: 'Publishes that here only.' },
  notification_topic: {
    ...optionalText(/^[^+#\0]+$/, 'a topic without + and #', 'topic'),
    default: undefined,
    about: 'Its topic; `$SYS/broker/connection/<remote_clientid>/state` if not set.',
  },
  outgoing_retain: { ...trueFalse, default: true, about: 'Keeps the retain flag of messages that go out.' },
  attempt_unsubscribe: {
    ...trueFalse,
    default: true,
    about:
      'Unsubscribes at the start from topics that only go out, in case the remote session was used by another program before.',
  },
  receive_maximum: {
    ...whole(1, 1000),
    default: 100,
    about:
      'QoS 1 and 2 messages in flight at most, in each direction. The remote broker may allow fewer; with MQTT 3.1.1 there are at most 20 on the way there.',
  },
  max_packet_size: {
    ...optionalWhole(20, 268_435_460),
    default: undefined,
    about: 'Maximum size in bytes of a packet from the remote broker; the global max_packet_size if not set.',
  },
  bind_address: {
    ...optionalText(/^[^\s/]+$/, 'an IP address', 'address'),
    default: undefined,
    about: 'Local IP address from which to connect.',
  },
  cafile: {
    ...optionalFile,
    default: undefined,
    about: 'CA certificates (PEM) used to verify the remote broker, instead of those that Node.js comes with.',
  },
  capath: {
    ...optionalFile,
    expected: 'the path of a directory',
    placeholder: 'dir',
    default: undefined,
    about: 'Directory of such CA certificates.',
  },
  certfile: {
    ...optionalFile,
    default: undefined,
    about: 'PEM file of the client certificate for the remote broker, with its chain.',
  },
  keyfile: { ...optionalFile, default: undefined, about: "PEM file of that certificate's private key." },
  insecure: {
    ...onOff,
    default: false,
    about:
      'Accepts a certificate of the remote broker for another host name. That it comes from a known CA is verified all the same.',
  },
  alpn: {
    ...optionalText(/^[\x21-\x7e]{1,255}$/, 'the name of a protocol', 'name'),
    default: undefined,
    about: 'Application protocol to ask for in the TLS handshake: `mqtt` or `x-amzn-mqtt-ca` for AWS IoT Core on port 443.',
  },
  tls_version: { ...choice('tlsv1.2', 'tlsv1.3'), default: 'tlsv1.2', about: 'Oldest TLS version that is accepted.' },
} as const satisfies Record<string, BridgeOption>

export type BridgeKey = keyof typeof BRIDGE_OPTIONS

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : K
type ValueOf<E> = E extends Kind<infer T, infer _Given> ? T : never

/** The values of an entry, by their names in the code. */
export type BridgeValues = { readonly [K in BridgeKey as CamelCase<K>]: ValueOf<(typeof BRIDGE_OPTIONS)[K]> }

/** A bridge with its effective settings. */
export interface BridgeConfig extends BridgeValues {
  /** Where it is configured, for errors: `roost.yaml:3:5: bridges[0]`. */
  readonly origin: string
  /** At least one. */
  readonly topics: readonly BridgeTopic[]
}

export const bridgeKeys = Object.keys(BRIDGE_OPTIONS) as readonly BridgeKey[]

/** Other names that Mosquitto has for the same. */
const ALSO: Readonly<Record<string, BridgeKey | 'topics'>> = {
  address: 'addresses',
  clientid: 'remote_clientid',
  password: 'remote_password',
  remote_password_file: 'password_file',
  topic: 'topics',
  username: 'remote_username',
}

/** Returns the key that is meant, if `bridge_` may stand before it, or another name of Mosquitto's for it. */
export function bridgeKey(written: string): BridgeKey | 'topics' | undefined {
  const key = written.replace(/^bridge_/, '')
  if (key === 'topics' || Object.hasOwn(BRIDGE_OPTIONS, key)) return key as BridgeKey | 'topics'
  return Object.hasOwn(ALSO, key) ? ALSO[key] : undefined
}

/** Keys of mosquitto.conf without a counterpart, and why. */
export const WITHOUT_COUNTERPART: Readonly<Record<string, string>> = {
  psk: 'TLS with pre-shared keys is not supported; use certificates (cafile, certfile, keyfile)',
  identity: 'TLS with pre-shared keys is not supported; use certificates (cafile, certfile, keyfile)',
  local_username: 'access rules do not apply to bridges, so they need no local user',
  local_password: 'access rules do not apply to bridges, so they need no local user',
}
