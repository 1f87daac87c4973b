import { StartError } from '../base/start-error.ts'

/** A limit that is a constant, because no site has a reason to change it; most were options until 0.2.0. */
interface Fixed {
  readonly value: number
  /** One or two sentences, with the unit. */
  readonly about: string
  /** Until 0.2.0 also a key of an entry of `sn_listeners`. */
  readonly snListener?: true
}

/**
 * Constants, by the key that they have in log lines and `$SYS`, which was that of the option until 0.2.0 if there was
 * one. A limit that a site may have to change, or that protects the site, is an option (options/).
 */
export const FIXED = {
  max_topic_alias_bytes: {
    value: 65_536,
    about: 'Maximum size in bytes of the topic names that the topic aliases of one connection stand for.',
  },
  receive_maximum: {
    value: 1000,
    about: 'QoS 1 and 2 messages that one MQTT 5 client may have in flight to the broker (Receive Maximum).',
  },
  max_conditions_per_session: {
    value: 64,
    about: 'Subscriptions of one session that may have a condition (docs/filters.md).',
  },
  max_subscribe_packet_size: {
    value: 1_048_576,
    about: 'Maximum size in bytes of a SUBSCRIBE or UNSUBSCRIBE packet; max_packet_size if that is less.',
  },
  write_timeout_seconds: {
    value: 60,
    about:
      'Seconds without any progress after which a connection that has data to be sent is closed. A slow reader stays connected as long as it makes progress.',
  },
  max_event_loop_lag_ms: { value: 1000, about: 'Event loop lag, in milliseconds, above which new connections are refused.' },
  socket_buffer_bytes: {
    value: 1_048_576,
    about: 'Bytes buffered for one TCP connection above which its messages stay in the session queue.',
  },
  max_retained_lookups_per_second: {
    value: 2_000_000,
    about: 'Levels of retained topics per second that the wildcard subscriptions of one client may be matched against.',
  },
  t_wait: { value: 300, about: 'Seconds for which a sensor that answered with congestion is sent nothing (T_WAIT).' },
  qos2_hold_down_seconds: {
    value: 60,
    about: 'Seconds for which a completed QoS 2 message id is remembered, so that a late duplicate is recognised.',
  },
  unknown_sender_replies_per_second: {
    value: 100,
    about: 'DISCONNECT replies per second to senders that are not connected, all of them together.',
  },
  unproven_messages_per_second: {
    value: 10,
    about:
      'Messages per second, over all addresses that are not validated, that may exceed three times the bytes received: one per wake, so that a sleeping sensor has something to acknowledge.',
  },
  retry_backoff: {
    value: 1.5,
    about: 'Factor by which each retransmission interval is longer than the one before, up to an hour.',
    snListener: true,
  },
  retry_jitter: {
    value: 0.25,
    about: 'Fraction of a retransmission interval that is added at random, so that frames that collided do not collide again.',
    snListener: true,
  },
  sn_max_queued_frames: {
    value: 1000,
    about: 'Messages that may wait for airtime at one port, and as many acknowledgements, which are sent first.',
    snListener: true,
  },
  sn_receive_queue_bytes: {
    value: 4_194_304,
    about: 'Memory in bytes of the datagrams of sensors that wait because those before them take long. More are dropped.',
  },
  n_adv: {
    value: 3,
    about: 'ADVERTISE messages of another gateway that may be missed before it counts as gone (N_ADV).',
    snListener: true,
  },
  adv_radius: { value: 0, about: "Radius of the gateway's ADVERTISE behind forwarders. 0 reaches all nodes.", snListener: true },
  t_gwinfo: {
    value: 5,
    about: 'Longest random delay, in seconds, before SEARCHGW is answered on a serial port (T_GWINFO).',
    snListener: true,
  },
  multicast_ttl: { value: 1, about: 'TTL of multicast ADVERTISE: 1 stays within the local network.', snListener: true },
} as const satisfies Record<string, Fixed>

export type FixedKey = keyof typeof FIXED

export const fixedKeys = Object.keys(FIXED) as readonly FixedKey[]

const isFixed = (key: string): key is FixedKey => Object.hasOwn(FIXED, key)

/** Returns the constant that was formerly the option `key` at the top level of the file. */
export const fixedKey = (key: string): FixedKey | undefined => (isFixed(key) ? key : undefined)

/** As `fixedKey`, for a key of an entry of `sn_listeners`, in which `sn_` is left out. */
export const fixedEntryKey = (key: string): FixedKey | undefined => {
  const found = [key, `sn_${key}`].find(isFixed)
  return found !== undefined && 'snListener' in FIXED[found] ? found : undefined
}

/**
 * Returns the warning for a former option that is set to the value of its constant, which has no effect. Any other
 * value is an error: it was set for a reason, and must not be ignored silently.
 *
 * @param origin `--t-wait` or `roost.yaml:3:1: t_wait`
 * @throws StartError
 */
export function goneOption(key: FixedKey, value: unknown, origin: string): string {
  const { value: fixed } = FIXED[key]
  const line = `${origin}: no longer an option, fixed at ${fixed}`
  if (value === fixed) return `${line}; it can be removed`
  throw new StartError(`${line}; remove it`)
}
