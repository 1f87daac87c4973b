import {
  choice,
  type Entry,
  onOff,
  optionalFile,
  optionalText,
  optionalTrueFalse,
  real,
  secondsOrNever,
  whole,
  wholeOrOff,
} from './kinds.ts'

/** Settings of the MQTT-SN gateway. */
export const GATEWAY_OPTIONS = {
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
  t_wait: {
    group: 'MQTT-SN gateway',
    ...real(0.1, 86_400),
    default: 300,
    about: 'Seconds for which a sensor is left alone that answers with congestion (T_WAIT). Its messages wait.',
  },
  sn_unanswered: {
    group: 'MQTT-SN gateway',
    ...choice('drop', 'keep'),
    default: 'drop',
    about:
      'What becomes of a message with QoS 1 or 2 that a sensor does not acknowledge after all retries, although it is heard: it is dropped and the next one follows, or it is sent again after t_wait and the others wait behind it.',
  },
  sleep_margin: {
    group: 'MQTT-SN gateway',
    ...real(1, 100),
    default: 1.5,
    about:
      'A sensor that sleeps counts as lost after the larger of its sleep duration times this factor and its sleep duration plus t_retry: after 20 seconds for a sleep of 10, after 90 for one of 60.',
  },
  queue_limit: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 10_000_000, 'max_queued_messages'),
    default: 0,
    about: 'Messages that wait for one sensor, while it sleeps above all; 0 is as many as for others (max_queued_messages).',
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
    about:
      'Topic ids registered for one sensor. Above it a REGISTER or SUBSCRIBE is refused; for a message to the sensor the id that was used least recently gives way, of those that the sensor did not ask for itself.',
  },
  max_sn_client_id_length: {
    group: 'MQTT-SN gateway',
    ...whole(1, 200),
    default: 64,
    about: 'Bytes of the longest client id of a sensor. The specification says 23, and many sensors have more.',
  },
  sn_inflight_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 16),
    default: 1,
    about:
      'QoS 1 and 2 messages that may be on their way from the gateway to one sensor at once. By the specification it is one.',
  },
  sn_uplink_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 64),
    default: 16,
    about:
      'QoS 1 and 2 messages that one sensor may have on their way to the gateway at once; what it sends above it is told congestion. By the specification it is one, but many clients send several.',
  },
  wake_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 65_535),
    default: 100,
    about: 'Messages delivered in one awake period; the rest waits for the next PINGREQ.',
  },
  wake_bytes: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 1_000_000_000, 'no bound'),
    default: 0,
    about:
      'Bytes sent in one awake period after which no further message begins: what its airtime may cost; the rest waits for the next PINGREQ. 0 is no bound.',
  },
  roam: {
    group: 'MQTT-SN gateway',
    ...choice('asleep', 'anywhere', 'never'),
    default: 'asleep',
    about:
      'Whether a sleeping sensor that wakes at another address is followed there, or has to connect again: within its network, which is the networks of its rule in sn_users, or else its /24 (IPv4) or /64 (IPv6); anywhere, which gives its messages to whoever knows its client id; or never. One that is awake always has to.',
  },
  register: {
    group: 'MQTT-SN gateway',
    ...choice('lazy', 'eager', 'never'),
    default: 'lazy',
    about:
      'When a sensor that connects again without a clean session is told the topic ids of its session: before the first message with each, all at once, or not at all, because it never forgets.',
  },
  strict_sleep: {
    group: 'MQTT-SN gateway',
    ...onOff,
    default: false,
    about:
      'A sleeping sensor that publishes or subscribes is told to connect first, by the letter of the specification. Otherwise it is served, and sleeps on.',
  },
  sn_users: {
    group: 'MQTT-SN gateway',
    ...optionalFile,
    default: undefined,
    about: 'YAML or JSON file of rules: which sensor connects as which user, and which may not connect.',
  },
  sn_username: {
    group: 'MQTT-SN gateway',
    ...optionalText(/./, 'a user name', 'name'),
    default: undefined,
    about:
      'User that sensors connect as which no rule of sn_users fits; %c stands for the client id, but makes no sensor a user who has a password.',
  },
  forwarders: {
    group: 'MQTT-SN gateway',
    ...optionalTrueFalse,
    default: undefined,
    about:
      'Takes sensors behind forwarders. Without it: as long as sensors need no user (allow_anonymous, or nothing that authenticates).',
  },
  qos_m1: {
    group: 'MQTT-SN gateway',
    ...optionalTrueFalse,
    default: undefined,
    about:
      'Takes messages with QoS -1, which need no connection. Without it: as long as sensors need no user, or if qos_m1_username says whose they are.',
  },
  qos_m1_username: {
    group: 'MQTT-SN gateway',
    ...optionalText(/./, 'a user name', 'name'),
    default: undefined,
    about: 'User that messages with QoS -1 are published as.',
  },
  qos_m1_inline_topic: {
    group: 'MQTT-SN gateway',
    ...onOff,
    default: false,
    about:
      'Takes QoS -1 messages that have their topic name inside and its length as topic id, as RSMB and some Paho clients do. The specification forbids them.',
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
} as const satisfies Record<string, Entry>
