import { choice, type Entry, KIB, MIB, onOff, real, secondsOrNever, trueFalse, whole, wholeOrMost, wholeOrOff } from './kinds.ts'

/** Bounds and habits of the broker. */
export const BROKER_OPTIONS = {
  max_packet_size: {
    group: 'MQTT broker',
    ...wholeOrMost(20, 268_435_460, 0),
    default: 16 * MIB,
    about:
      'Bytes of the largest MQTT packet, fixed header included; 0 is 268435460, the largest that MQTT has. A larger one ends its connection before it is read.',
  },
  max_receive_buffer_bytes: {
    group: 'MQTT broker',
    ...whole(MIB, 16 * KIB * MIB),
    default: 128 * MIB,
    about:
      'Bytes of packets that have arrived only in part, on all connections together; a single packet may be larger. Above this, the connection whose packet began first is closed.',
  },
  max_connect_packet_size: {
    group: 'MQTT broker',
    ...whole(64, 268_435_460),
    default: 64 * KIB,
    about: 'Bytes of the largest CONNECT packet: what a stranger may make the broker hold.',
  },
  message_size_limit: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 268_435_455, 'no bound'),
    default: 0,
    about:
      'Bytes of the largest payload that may be published; 0 leaves it to max_packet_size. A larger message is refused, and its connection stays.',
  },
  max_user_properties: {
    group: 'MQTT broker',
    ...whole(0, 65_535),
    default: 1000,
    about: 'User properties in one packet.',
  },
  max_property_bytes: {
    group: 'MQTT broker',
    ...whole(1024, 268_435_455),
    default: 256 * KIB,
    about:
      'Bytes of all properties of one MQTT 5 packet, or of one will; each property that comes once has room by default, however long it is. What is sent beyond this ends the connection (0x97).',
  },
  maximum_qos: {
    group: 'MQTT broker',
    ...whole(0, 2),
    default: 2,
    listener: 'inherits',
    about: 'Highest QoS that clients may publish with; MQTT 5 clients are told.',
  },
  max_topic_alias: {
    group: 'MQTT broker',
    ...whole(0, 65_535),
    default: 10,
    listener: 'inherits',
    about: 'Topic aliases that one MQTT 5 client may use; 0 is none.',
  },
  retain_available: {
    group: 'MQTT broker',
    ...trueFalse,
    default: true,
    about: 'Retained messages are kept. If false, a client that publishes one is disconnected.',
  },
  check_retain_source: {
    group: 'MQTT broker',
    ...trueFalse,
    default: true,
    about: 'A retained message is delivered only while the client that published it would still be allowed to.',
  },
  upgrade_outgoing_qos: {
    group: 'MQTT broker',
    ...onOff,
    default: false,
    about:
      'Delivers with the QoS of the subscription even if the message was published with less. Not what the specification says.',
  },
  max_inflight_messages: {
    group: 'MQTT broker',
    ...wholeOrMost(1, 65_535, 0),
    default: 20,
    about: 'QoS 1 and 2 messages in flight to one client; a client may ask for fewer (Receive Maximum); 0 is 65535.',
  },
  max_inflight_bytes: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 16 * KIB * MIB, 'no bound'),
    default: 0,
    about:
      'Payload bytes of QoS 1 and 2 in flight to one client. Below this, one more message is sent, however large, as in Mosquitto; 0 leaves it to max_inflight_messages.',
  },
  max_queued_messages: {
    group: 'MQTT broker',
    common: true,
    ...wholeOrMost(1, 10_000_000, 0),
    default: 1000,
    about: 'Messages that wait in one session beyond those in flight; 0 is 10000000.',
  },
  max_queued_bytes: {
    group: 'MQTT broker',
    ...wholeOrMost(KIB, 16 * KIB * MIB, 0),
    default: 8 * MIB,
    about: 'Bytes of topics, payloads and properties that wait in one session; 0 is 17179869184.',
  },
  queue_full: {
    group: 'MQTT broker',
    ...choice('drop_newest', 'drop_oldest'),
    default: 'drop_newest',
    about:
      'What a full queue drops, with a line in the log: the new message, as Mosquitto does, or the oldest. Messages with QoS 0 go first either way.',
  },
  queue_qos0_messages: {
    group: 'MQTT broker',
    ...onOff,
    default: false,
    about: 'Keeps messages with QoS 0 for absent clients too.',
  },
  connect_timeout_seconds: {
    group: 'MQTT broker',
    ...real(0.1, 3600),
    default: 10,
    about:
      'Time limit in seconds for a client to send CONNECT and be authenticated, including the wait for its turn. A client that is still waiting by then is refused with Server busy.',
  },
  max_publish_rate: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 1_000_000, 'no bound'),
    default: 0,
    about: 'Messages that one client may publish per second; 0 is no limit. A faster client is read more slowly.',
  },
  max_keepalive: {
    group: 'MQTT broker',
    ...whole(10, 65_535),
    default: 65_535,
    about:
      'Longest keep alive, in seconds: MQTT 5 clients that ask for more are told to use this (Server Keep Alive), others are refused.',
  },
  persistent_client_expiration: {
    group: 'MQTT broker',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about:
      'Seconds after which the session of an absent sensor or MQTT 3 client expires, and the longest expiry that MQTT 5 clients may ask for; 0 is never.',
  },
  max_sessions: {
    group: 'MQTT broker',
    ...whole(1, 10_000_000),
    default: 100_000,
    about:
      'Sessions of MQTT clients, connected or not. Sensors have as many again (max_sn_sessions). At the limit, the oldest unused session is deleted to make room: its client is disconnected, has never reconnected, and left no subscription, message or will. If there is none, the new client is refused with Quota exceeded.',
  },
  max_sn_sessions: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 10_000_000, 'max_sessions'),
    default: 0,
    about:
      'Sessions of sensors; 0 uses the value of max_sessions. At the limit, a new sensor is refused with congestion, unless an unused session can be deleted.',
  },
  max_sessions_per_address: {
    group: 'MQTT broker',
    ...whole(0, 10_000_000),
    default: 0,
    about:
      'Sessions of MQTT clients, and as many again of sensors, that one IPv4 address or IPv6 /64 may have; 0 is a quarter of max_sessions or max_sn_sessions. Raise it where most clients share an address, as behind a proxy without proxy_protocol.',
  },
  max_sessions_per_user: {
    group: 'MQTT broker',
    ...whole(0, 10_000_000),
    default: 0,
    about:
      'Sessions of MQTT clients that one authenticated user may have; 0 is a quarter of max_sessions. Raise it where most clients share a user.',
  },
  max_subscriptions_per_session: {
    group: 'MQTT broker',
    ...whole(1, 1_000_000),
    default: 10_000,
    about: 'Topic filters that one session may hold.',
  },
  max_wildcard_shapes_per_session: {
    group: 'MQTT broker',
    ...whole(1, 1_000_000),
    default: 32,
    about:
      'Topic filters of one session that may match the same topic. Filters with wildcards in the same places count once, however many there are: `a/+/c` and `x/+/z`.',
  },
  max_shared_copies_per_session: {
    group: 'MQTT broker',
    ...whole(1, 1_000_000),
    default: 16,
    about:
      'Copies of one message that a session may get through its shared subscriptions: one for each group, and within a group one for each arrangement of wildcards.',
  },
  max_deep_wildcard_levels: {
    group: 'MQTT broker',
    ...whole(128, 10_000_000),
    default: 32_768,
    about:
      'Levels beyond the eighth, summed over all topic filters with wildcards (filters with wildcards in the same places count once). It bounds what matching one topic may cost; a filter of up to eight levels is never refused for it.',
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
    about: 'Bytes of topics, payloads and properties of all retained messages.',
  },
  sys_interval: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 65_535, 'off'),
    default: 10,
    about: 'Seconds between two updates of the topics under $SYS; 0 is off.',
  },
} as const satisfies Record<string, Entry>
