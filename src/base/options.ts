import { z } from 'zod'

/** What values an option takes. */
interface Kind<T> {
  readonly schema: z.ZodType<T>
  /** Completes "expected ..." in an error. */
  readonly expected: string
  /** Stands for the value in the help; a switch has none. */
  readonly placeholder?: string
  /** Relative to the working directory in a flag, and to the configuration file in that file. */
  readonly path?: true
}

const whole = (min: number, max: number): Kind<number> => ({
  schema: z.int().min(min).max(max),
  expected: `a whole number from ${min} to ${max}`,
  placeholder: 'number',
})

const real = (min: number, max: number): Kind<number> => ({
  schema: z.number().min(min).max(max),
  expected: `a number from ${min} to ${max}`,
  placeholder: 'number',
})

/** Seconds, where 0 is never: Infinity inside, so that whoever waits need not ask. */
const secondsOrNever = (max: number): Kind<number> => ({
  schema: z
    .int()
    .min(0)
    .max(max)
    .transform((seconds) => (seconds === 0 ? Number.POSITIVE_INFINITY : seconds)),
  expected: `a whole number from 1 to ${max}, or 0 for never`,
  placeholder: 'number',
})

const choice = <const T extends string>(...names: T[]): Kind<T> => ({
  schema: z.enum(names) as unknown as z.ZodType<T>,
  expected: `one of ${names.join(', ')}`,
  placeholder: names.join('|'),
})

const address: Kind<string> = {
  schema: z.string().regex(/^[^\s/]+$/),
  expected: 'a host name or an IP address',
  placeholder: 'address',
}

const onOff: Kind<boolean> = { schema: z.boolean(), expected: 'true or false' }

const directory: Kind<string> = { schema: z.string().min(1), expected: 'the path of a directory', placeholder: 'dir', path: true }

const optionalFile: Kind<string | undefined> = {
  schema: z.string().min(1).optional(),
  expected: 'the path of a file',
  placeholder: 'file',
  path: true,
}

/** Headings of the help and of the documentation, in their order. */
export const OPTION_GROUPS = ['Listeners', 'Access', 'State', 'Log', 'MQTT broker', 'MQTT-SN gateway', 'Configuration'] as const

interface Entry extends Kind<unknown> {
  readonly group: (typeof OPTION_GROUPS)[number]
  /** As it would be written in the configuration file. */
  readonly default: string | number | boolean | undefined
  /** One or two sentences, with the unit. */
  readonly about: string
  /** Has no key in the configuration file. */
  readonly flagOnly?: true
}

const KIB = 1024
const MIB = 1024 * KIB

/**
 * Every option there is, by its key in the configuration file: the one source of flags, keys, defaults, bounds and their
 * documentation. A key is Mosquitto's name or the MQTT-SN specification's; our own names end in their unit. Every bound has a
 * largest value: nothing in Roost may grow without end.
 */
export const OPTIONS = {
  host: { group: 'Listeners', ...address, default: '127.0.0.1', about: 'Address on which the MQTT broker listens (TCP).' },
  port: { group: 'Listeners', ...whole(0, 65_535), default: 1883, about: 'TCP port of the MQTT broker; 0 picks a free one.' },
  sn_host: { group: 'Listeners', ...address, default: '127.0.0.1', about: 'Address on which the MQTT-SN gateway listens (UDP).' },
  sn_port: {
    group: 'Listeners',
    ...whole(0, 65_535),
    default: 1884,
    about: 'UDP port of the MQTT-SN gateway; 0 picks a free one.',
  },

  allow_anonymous: {
    group: 'Access',
    ...onOff,
    default: false,
    about: 'Lets anybody connect without a password, from other machines too. Needed to listen on anything but loopback.',
  },

  data_dir: {
    group: 'State',
    ...directory,
    default: 'roost-data',
    about: 'Directory that keeps sessions, queues, retained messages and topic ids across restarts. One process at a time.',
  },
  memory: {
    group: 'State',
    ...onOff,
    default: false,
    about: 'Keeps the state in memory only: faster, and nothing survives a restart. Excludes data_dir.',
  },

  log_level: {
    group: 'Log',
    ...choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    placeholder: 'level',
    default: 'info',
    about: 'Least important level that is logged: trace, debug, info, warn, error, fatal or silent.',
  },
  log_format: {
    group: 'Log',
    ...choice('json', 'pretty'),
    default: 'pretty',
    about: 'Log on standard output: lines for people, or one JSON object a line for programs.',
  },

  max_packet_size: {
    group: 'MQTT broker',
    ...whole(KIB, 268_435_460),
    default: MIB,
    about: 'Bytes of the largest MQTT packet, fixed header included. A larger one ends its connection before it is read.',
  },
  max_connect_packet_size: {
    group: 'MQTT broker',
    ...whole(64, 268_435_460),
    default: 64 * KIB,
    about: 'Bytes of the largest CONNECT packet: what a stranger may make the broker hold.',
  },
  max_inflight_messages: {
    group: 'MQTT broker',
    ...whole(1, 65_535),
    default: 20,
    about: 'QoS 1 and 2 messages on their way to one client at once; a client may ask for fewer (Receive Maximum).',
  },
  max_queued_messages: {
    group: 'MQTT broker',
    ...whole(1, 10_000_000),
    default: 1000,
    about: 'Messages that wait in one session beyond those in flight. A full queue drops new messages, and says so.',
  },
  max_queued_bytes: {
    group: 'MQTT broker',
    ...whole(KIB, 16 * KIB * MIB),
    default: 8 * MIB,
    about: 'Bytes of topics and payloads that wait in one session.',
  },
  max_connections: {
    group: 'MQTT broker',
    ...whole(1, 1_000_000),
    default: 10_000,
    about: 'MQTT connections open at once.',
  },
  connect_timeout_seconds: {
    group: 'MQTT broker',
    ...real(0.1, 3600),
    default: 10,
    about: 'Seconds that a new connection has to send its whole CONNECT.',
  },
  max_keepalive: {
    group: 'MQTT broker',
    ...whole(10, 65_535),
    default: 65_535,
    about: 'Longest keep alive of MQTT 5 clients, in seconds: who asks for more is told to use this (Server Keep Alive).',
  },
  persistent_client_expiration: {
    group: 'MQTT broker',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about:
      'Seconds after which the session of an absent sensor or MQTT 3 client is forgotten; 0 is never. MQTT 5 clients say it themselves.',
  },
  max_sessions: {
    group: 'MQTT broker',
    ...whole(1, 10_000_000),
    default: 100_000,
    about: 'Sessions, those of absent clients and of sensors included.',
  },
  max_subscriptions_per_session: {
    group: 'MQTT broker',
    ...whole(1, 1_000_000),
    default: 10_000,
    about: 'Topic filters that one session may hold.',
  },
  max_topic_levels: {
    group: 'MQTT broker',
    ...whole(1, 65_535),
    default: 128,
    about: 'Levels of a topic name or filter: `a/b/c` has three.',
  },
  max_retained_messages: {
    group: 'MQTT broker',
    ...whole(1, 100_000_000),
    default: 100_000,
    about: 'Topics that keep a retained message.',
  },
  max_retained_bytes: {
    group: 'MQTT broker',
    ...whole(KIB, 1024 * KIB * MIB),
    default: 64 * MIB,
    about: 'Bytes of topics and payloads of all retained messages.',
  },
  socket_buffer_bytes: {
    group: 'MQTT broker',
    ...whole(KIB, KIB * MIB),
    default: MIB,
    about: 'Bytes that wait to be written to one TCP connection before its messages stay in their queue.',
  },

  gateway_id: {
    group: 'MQTT-SN gateway',
    ...whole(0, 255),
    default: 1,
    about: 'GwId by which sensors tell this gateway from others.',
  },
  predefined_topics: {
    group: 'MQTT-SN gateway',
    ...optionalFile,
    default: undefined,
    about: 'YAML or JSON file of predefined topic ids.',
  },
  t_retry: {
    group: 'MQTT-SN gateway',
    ...real(0.1, 3600),
    default: 10,
    about: "Seconds to wait for a sensor's answer before a message is sent again (T_retry).",
  },
  n_retry: {
    group: 'MQTT-SN gateway',
    ...whole(1, 100),
    default: 3,
    about: 'Times that a message is sent again before the sensor counts as lost (N_retry).',
  },
  sleep_margin: {
    group: 'MQTT-SN gateway',
    ...real(1, 100),
    default: 1.5,
    about: 'A sensor that sleeps counts as lost after its sleep duration times this factor.',
  },
  max_sn_sessions: {
    group: 'MQTT-SN gateway',
    ...whole(1, 10_000_000),
    default: 100_000,
    about: 'Sensors that the gateway remembers, asleep and lost ones included.',
  },
  max_sn_idle_seconds: {
    group: 'MQTT-SN gateway',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about: 'Seconds of silence after which a sensor that asked for no supervision (duration 0) counts as lost; 0 is never.',
  },
  max_sn_topics_per_client: {
    group: 'MQTT-SN gateway',
    ...whole(1, 64_000),
    default: 1000,
    about: 'Topic ids registered for one sensor.',
  },
  wake_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 65_535),
    default: 100,
    about: 'Messages delivered in one awake period; the rest waits for the next PINGREQ.',
  },
  qos2_hold_down_seconds: {
    group: 'MQTT-SN gateway',
    ...real(0, 3600),
    default: 60,
    about: 'Seconds for which a finished QoS 2 message id is remembered: longer than any datagram stays on its way.',
  },
  unknown_sender_replies_per_second: {
    group: 'MQTT-SN gateway',
    ...whole(0, 1_000_000),
    default: 100,
    about:
      'Answers to senders that nobody knows, all of them together, so that forged addresses cannot aim the gateway at others.',
  },

  config: {
    group: 'Configuration',
    ...optionalFile,
    default: undefined,
    about: 'YAML file of options: the same names with underscores, one `key: value` a line. Flags win over the file.',
    flagOnly: true,
  },
} as const satisfies Record<string, Entry>

export type OptionKey = keyof typeof OPTIONS

type CamelCase<K extends string> = K extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<CamelCase<Tail>>}` : K

/** The value of every option, by its name inside: `max_queued_messages` is `maxQueuedMessages`. */
export type Settings = { readonly [K in OptionKey as CamelCase<K>]: z.output<(typeof OPTIONS)[K]['schema']> }

export interface Option extends Entry {
  readonly key: OptionKey
  /** `max_queued_messages` */
  readonly name: keyof Settings
  /** `--max-queued-messages` */
  readonly flag: string
}

export const options: readonly Option[] = Object.entries(OPTIONS).map(([key, entry]) => ({
  ...entry,
  key: key as OptionKey,
  name: key.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase()) as keyof Settings,
  flag: `--${key.replaceAll('_', '-')}`,
}))
