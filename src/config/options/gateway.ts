import {
  choice,
  type Entry,
  onOff,
  optionalFile,
  optionalText,
  optionalTrueFalse,
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
    common: true,
    ...optionalFile,
    default: undefined,
    about: 'YAML or JSON file of predefined topic ids.',
  },
  sn_unanswered: {
    group: 'MQTT-SN gateway',
    ...choice('drop', 'keep'),
    default: 'drop',
    about:
      'What happens to a QoS 1 or 2 message that a sensor does not acknowledge after all retries although it is still heard: drop it and go on with the next, or keep it and send it again after 300 seconds while the others wait.',
  },
  queue_limit: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 10_000_000, 'max_queued_messages'),
    default: 0,
    about:
      'Messages that may wait for one sensor, above all while it sleeps; 0 is as many as for other clients (max_queued_messages).',
  },
  max_sn_idle_seconds: {
    group: 'MQTT-SN gateway',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about: 'Seconds of silence after which a sensor that asked for no supervision (duration 0) counts as lost; 0 is never.',
  },
  sn_inflight_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 16),
    default: 1,
    about: 'QoS 1 and 2 messages in flight from the gateway to one sensor. The specification allows one.',
  },
  sn_uplink_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 64),
    default: 16,
    about:
      'QoS 1 and 2 messages that one sensor may have in flight to the gateway; more are answered with congestion. The specification allows one, but many clients send several.',
  },
  wake_bytes: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 1_000_000_000, 'no bound'),
    default: 0,
    about:
      'Bytes sent in one awake period after which no further message is begun, to limit its airtime; the rest wait for the next PINGREQ. 0 is no limit.',
  },
  roam: {
    group: 'MQTT-SN gateway',
    ...choice('asleep', 'anywhere', 'never'),
    default: 'asleep',
    about:
      'Whether a sleeping sensor that wakes at another address gets its messages there or has to connect again. asleep: within its network (the networks of its rule in sn_users, or else its /24 or IPv6 /64). anywhere: at any address, so that whoever knows its client id gets its messages. never. A sensor that is awake always has to connect again.',
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
      'Tells a sleeping sensor that publishes or subscribes to connect first, as the specification says to the letter. Otherwise it is served and goes on sleeping.',
  },
  sn_users: {
    group: 'MQTT-SN gateway',
    common: true,
    ...optionalFile,
    default: undefined,
    about: 'YAML or JSON file of rules: which sensor connects as which user, and which may not connect.',
  },
  sn_username: {
    group: 'MQTT-SN gateway',
    common: true,
    ...optionalText(/./, 'a user name', 'name'),
    default: undefined,
    about:
      'User of sensors that match no rule in sn_users; %c stands for the client id, but no sensor becomes a user who has a password.',
  },
  forwarders: {
    group: 'MQTT-SN gateway',
    ...optionalTrueFalse,
    default: undefined,
    about:
      'Accepts sensors behind forwarders. If not set: only while sensors need no user (allow_anonymous, or no authentication configured).',
  },
  qos_m1: {
    group: 'MQTT-SN gateway',
    ...optionalTrueFalse,
    default: undefined,
    about:
      'Accepts QoS -1 messages, which need no connection. If not set: only while sensors need no user, or when qos_m1_username names one.',
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
      'Accepts QoS -1 messages with the topic name in the payload and its length as topic id, as RSMB and some Paho clients send them. The specification forbids them.',
  },
} as const satisfies Record<string, Entry>
