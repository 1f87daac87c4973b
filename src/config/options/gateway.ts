import {
  choice,
  type OptionDefinition,
  onOff,
  optionalAddressList,
  optionalFile,
  optionalText,
  optionalTrueFalse,
  real,
  secondsOrNever,
  topicIdRange,
  whole,
  wholeOrOff,
} from './kinds.ts'

/** Settings of the MQTT-SN gateway. */
export const GATEWAY_OPTIONS = {
  gateway_id: {
    group: 'MQTT-SN gateway',
    ...whole(0, 255),
    default: 1,
    about: 'Gateway id (GwId), by which sensors distinguish gateways.',
  },
  gateway_topic_ids: {
    group: 'MQTT-SN gateway',
    ...topicIdRange,
    default: '1025-65534',
    about:
      'Topic ids that this gateway assigns. Gateways between which sensors move need ranges that do not overlap: an id of another gateway is then answered with 0x02 (invalid topic id), and otherwise may mean another topic here. Once a range is used up, REGISTER is refused.',
  },
  upstream: {
    group: 'MQTT-SN gateway',
    ...optionalAddressList,
    placeholder: 'url',
    flagOnly: true,
    repeated: true,
    default: undefined,
    about:
      'Node of a cluster of MQTT brokers at which the sensors have their sessions, instead of the embedded broker; may be repeated. The key upstream of the file says more.',
  },
  predefined_topics: {
    group: 'MQTT-SN gateway',
    ...optionalFile,
    default: undefined,
    about: 'YAML or JSON file of predefined topic ids.',
  },
  sn_unanswered: {
    group: 'MQTT-SN gateway',
    ...choice('drop', 'keep'),
    default: 'drop',
    about:
      'What happens to a QoS 1 or 2 message that a sensor does not acknowledge after all retransmissions although it is still heard. drop: the message is dropped, and the next one is sent. keep: it is sent again after 300 seconds, and the others wait.',
  },
  sleep_margin: {
    group: 'MQTT-SN gateway',
    ...real(1, 100),
    default: 1.5,
    about:
      'A sleeping sensor counts as lost after its sleep duration times this factor, or after its sleep duration plus t_retry if that is longer: after 20 seconds for a sleep of 10, after 90 for one of 60.',
  },
  queue_limit: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 10_000_000, 'max_queued_messages'),
    default: 0,
    about: 'Maximum number of messages queued for one sensor, mainly while it sleeps; 0 means max_queued_messages.',
  },
  max_sn_topics_per_client: {
    group: 'MQTT-SN gateway',
    ...whole(1, 64_000),
    default: 1000,
    about:
      'Maximum number of topic ids registered for one sensor. Above it, its REGISTER or SUBSCRIBE is refused; a message to it takes over the least recently used id that the sensor did not ask for itself.',
  },
  max_sn_client_id_length: {
    group: 'MQTT-SN gateway',
    ...whole(1, 200),
    default: 64,
    about: "Maximum length of a sensor's client id in bytes. The specification says 23, but many sensors use more.",
  },
  max_sn_idle_seconds: {
    group: 'MQTT-SN gateway',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about: 'Seconds of silence after which a sensor with keep alive 0 counts as lost; 0 means never.',
  },
  sn_inflight_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 16),
    default: 1,
    about: 'Maximum number of QoS 1 and 2 messages in flight from the gateway to one sensor. The specification allows one.',
  },
  sn_uplink_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 64),
    default: 16,
    about:
      'Maximum number of QoS 1 and 2 messages that one sensor may have in flight to the gateway; more are answered with congestion. The specification allows one, but many clients send several.',
  },
  wake_messages: {
    group: 'MQTT-SN gateway',
    ...whole(1, 65_535),
    default: 100,
    about: 'Maximum number of messages delivered to a sleeping sensor in one awake period. The others wait for the next PINGREQ.',
  },
  wake_bytes: {
    group: 'MQTT-SN gateway',
    ...wholeOrOff(1, 1_000_000_000, 'no limit'),
    default: 0,
    about:
      'Bytes sent to a sensor in one awake period after which no further message is started, to limit its airtime; the rest waits for the next PINGREQ. 0 means no limit.',
  },
  roam: {
    group: 'MQTT-SN gateway',
    ...choice('asleep', 'anywhere', 'never'),
    default: 'asleep',
    about:
      'Whether a sleeping sensor that wakes at another address gets its messages there or has to connect again. asleep: within its network (the networks of its rule in sn_users, or else its /24 or IPv6 /64). anywhere: at any address, so anyone who knows its client id gets its messages. never: nowhere. A sensor that is awake always has to connect again.',
  },
  register: {
    group: 'MQTT-SN gateway',
    ...choice('lazy', 'eager', 'never'),
    default: 'lazy',
    about:
      'When a sensor that reconnects with its session is sent the topic ids of that session (REGISTER). lazy: each before the first message that needs it. eager: all after CONNACK. never: not at all, for sensors that never forget them.',
  },
  strict_sleep: {
    group: 'MQTT-SN gateway',
    ...onOff,
    default: false,
    about:
      'Requires a sleeping sensor to connect before it publishes or subscribes, as the specification says literally. Otherwise the request is served, and the sensor stays asleep.',
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
      'Accepts QoS -1 messages, which need no connection. If not set: only while sensors need no user, or if qos_m1_username is set.',
  },
  qos_m1_username: {
    group: 'MQTT-SN gateway',
    ...optionalText(/./, 'a user name', 'name'),
    default: undefined,
    about: 'User as which QoS -1 messages are published.',
  },
  qos_m1_inline_topic: {
    group: 'MQTT-SN gateway',
    ...onOff,
    default: false,
    about:
      'Accepts QoS -1 messages with the topic name in the payload and its length as topic id, as RSMB and some Paho clients send them. The specification forbids them.',
  },
  presence_topic: {
    group: 'MQTT-SN gateway',
    ...optionalText(
      /^(?!\$)[^#+%\0]*\/%c(\/[^#+%\0]*)?$/,
      'a topic in which %c is a level of its own, but not the first, like roost/sensors/%c',
      'topic',
    ),
    default: undefined,
    about:
      'Topic of the retained message that says in which state a sensor is, in addition to the one under $SYS (sys_interval); %c stands for the client id. Only the broker publishes there. If not set: roost/sensors/%c with home_assistant_discovery, otherwise none. SIGHUP does not reload it.',
  },
  home_assistant_discovery: {
    group: 'MQTT-SN gateway',
    ...optionalText(/^(?![$/])[^#+%\0]*[^#+%\0/]$/, 'a topic prefix like homeassistant', 'discovery-prefix'),
    default: undefined,
    about:
      "Home Assistant's discovery prefix, homeassistant unless you changed it there: each sensor becomes a device in Home Assistant. If not set: none does. SIGHUP does not reload it.",
  },
} as const satisfies Record<string, OptionDefinition>
