import {
  choice,
  KIB,
  MIB,
  type OptionDefinition,
  onOff,
  real,
  secondsOrNever,
  trueFalse,
  whole,
  wholeOrMost,
  wholeOrOff,
} from './kinds.ts'

/** Limits and behaviour of the broker. */
export const BROKER_OPTIONS = {
  max_packet_size: {
    group: 'MQTT broker',
    ...wholeOrMost(20, 268_435_460, 0),
    default: 16 * MIB,
    about:
      'Maximum size of an MQTT packet in bytes, including the fixed header; 0 means 268435460, the largest that MQTT allows. A larger one ends its connection before it is read.',
  },
  max_receive_buffer_bytes: {
    group: 'MQTT broker',
    ...whole(MIB, 16 * KIB * MIB),
    default: 128 * MIB,
    about:
      'Maximum size in bytes of all packets that have arrived only in part, on all connections together; a single packet may be larger. Above it, of the IPv4 address or IPv6 /64 with most of these bytes, the connection whose packet began first is closed.',
  },
  max_connect_packet_size: {
    group: 'MQTT broker',
    ...whole(64, 268_435_460),
    default: 64 * KIB,
    about: 'Maximum size of a CONNECT packet in bytes, which limits what a client can send before it is authenticated.',
  },
  message_size_limit: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 268_435_455, 'no limit'),
    default: 0,
    about:
      'Maximum size of a published payload in bytes; 0 leaves it to max_packet_size. A larger message is refused, and its connection stays open.',
  },
  max_user_properties: {
    group: 'MQTT broker',
    ...whole(0, 65_535),
    default: 1000,
    about: 'Maximum number of user properties in one packet.',
  },
  max_property_bytes: {
    group: 'MQTT broker',
    ...whole(1024, 268_435_455),
    default: 256 * KIB,
    about:
      'Maximum size in bytes of all properties of one MQTT 5 packet, or of one will; the default has room for each property that may occur once, however long it is. More ends the connection (0x97).',
  },
  maximum_qos: {
    group: 'MQTT broker',
    ...whole(0, 2),
    default: 2,
    listener: 'inherits',
    about: 'Highest QoS that clients may publish with. MQTT 5 clients are informed in CONNACK.',
  },
  max_topic_alias: {
    group: 'MQTT broker',
    ...whole(0, 65_535),
    default: 10,
    listener: 'inherits',
    about: 'Number of topic aliases that one MQTT 5 client may use; 0 means none.',
  },
  retain_available: {
    group: 'MQTT broker',
    ...trueFalse,
    default: true,
    about: 'Whether retained messages are supported. If false, a client that publishes one is disconnected.',
  },
  check_retain_source: {
    group: 'MQTT broker',
    ...trueFalse,
    default: true,
    about: 'Delivers a retained message only while the client that published it would still be allowed to publish it.',
  },
  upgrade_outgoing_qos: {
    group: 'MQTT broker',
    ...onOff,
    default: false,
    about:
      'Delivers with the QoS of the subscription even if the message was published with a lower one. This deviates from the specification.',
  },
  max_inflight_messages: {
    group: 'Queues',
    ...wholeOrMost(1, 65_535, 0),
    default: 20,
    about:
      'Maximum number of QoS 1 and 2 messages in flight to one client; a client may ask for fewer (Receive Maximum); 0 means 65535.',
  },
  max_inflight_bytes: {
    group: 'Queues',
    ...wholeOrOff(1, 16 * KIB * MIB, 'no limit'),
    default: 0,
    about:
      'Payload bytes of QoS 1 and 2 messages in flight to one client above which no further message is sent. As in Mosquitto, the message that exceeds it is still sent; 0 leaves it to max_inflight_messages.',
  },
  max_queued_messages: {
    group: 'Queues',
    ...wholeOrMost(1, 10_000_000, 0),
    default: 1000,
    about: 'Maximum number of messages queued in one session, besides those in flight; 0 means 10000000.',
  },
  max_queued_bytes: {
    group: 'Queues',
    ...wholeOrMost(KIB, 16 * KIB * MIB, 0),
    default: 8 * MIB,
    about: 'Maximum size in bytes of topics, payloads and properties queued in one session; 0 means 17179869184.',
  },
  queue_full: {
    group: 'Queues',
    ...choice('drop_newest', 'drop_oldest'),
    default: 'drop_newest',
    about:
      'Which message a full queue drops, with a line in the log: the new one, as Mosquitto does, or the oldest. QoS 0 messages are dropped first in both cases.',
  },
  queue_qos0_messages: {
    group: 'Queues',
    ...onOff,
    default: false,
    about: 'Queues QoS 0 messages for absent clients too.',
  },
  connect_timeout_seconds: {
    group: 'MQTT broker',
    ...real(0.1, 3600),
    default: 10,
    about:
      'Time in seconds within which a client has to send CONNECT and be authenticated, including the wait for its turn and all exchanges of AUTH. A PROXY header, TLS handshake and WebSocket upgrade may take as long again before that. A client that is still waiting then is refused with Server busy.',
  },
  max_publish_rate: {
    group: 'Queues',
    ...wholeOrOff(1, 1_000_000, 'no limit'),
    default: 0,
    about:
      'Maximum number of messages per second that one client may publish; 0 means no limit. Faster publishers are throttled.',
  },
  max_keepalive: {
    group: 'MQTT broker',
    ...whole(10, 65_535),
    default: 65_535,
    about:
      'Maximum keep alive in seconds. MQTT 5 clients that ask for more are assigned this value (Server Keep Alive), others are refused.',
  },
  persistent_client_expiration: {
    group: 'Sessions',
    ...secondsOrNever(4_294_967_294),
    default: 0,
    about:
      'Seconds after which the session of an absent sensor or MQTT 3 client expires, and the maximum expiry of MQTT 5 sessions; 0 means never.',
  },
  max_sessions: {
    group: 'Sessions',
    ...whole(1, 10_000_000),
    default: 100_000,
    about:
      'Maximum number of sessions of MQTT clients, connected or not; sensors have a limit of their own (max_sn_sessions). At the limit, the oldest unused session is deleted: its client is disconnected, has never reconnected, and left no subscription, message or will. If there is none, a new client is refused with Quota exceeded.',
  },
  max_sn_sessions: {
    group: 'Sessions',
    ...wholeOrOff(1, 10_000_000, 'max_sessions'),
    default: 0,
    about:
      'Maximum number of sessions of sensors; 0 uses the value of max_sessions. At the limit, a new sensor is refused with congestion, unless an unused session can be deleted.',
  },
  max_sessions_per_address: {
    group: 'Sessions',
    ...whole(0, 10_000_000),
    default: 0,
    about:
      'Maximum number of sessions of MQTT clients, and as many again of sensors, from one IPv4 address or IPv6 /64; 0 means a quarter of max_sessions or max_sn_sessions. Raise it if most clients share an address, for example behind a proxy without proxy_protocol.',
  },
  max_sessions_per_user: {
    group: 'Sessions',
    ...whole(0, 10_000_000),
    default: 0,
    about:
      'Maximum number of sessions of MQTT clients of one authenticated user; 0 means a quarter of max_sessions. Raise it if most clients share a user.',
  },
  max_subscriptions_per_session: {
    group: 'Sessions',
    ...whole(1, 1_000_000),
    default: 10_000,
    about: 'Maximum number of topic filters of one session.',
  },
  max_wildcard_shapes_per_session: {
    group: 'Sessions',
    ...whole(1, 1_000_000),
    default: 32,
    about:
      'Maximum number of topic filters of one session that may match the same topic. Filters with wildcards in the same places count once, however many there are: `a/+/c` and `x/+/z`.',
  },
  max_shared_copies_per_session: {
    group: 'Sessions',
    ...whole(1, 1_000_000),
    default: 16,
    about:
      'Maximum number of copies of one message that a session may get through shared subscriptions: one for each group, and within a group one for each arrangement of wildcards.',
  },
  max_conditions: {
    ...whole(0, 100_000),
    group: 'MQTT broker',
    default: 1000,
    about:
      'Maximum number of different conditions that subscriptions may have (docs/filters.md). Each message is evaluated against those of its subscribers, once each. 0 refuses all that clients ask for.',
  },
  max_deep_wildcard_levels: {
    group: 'Sessions',
    ...whole(128, 10_000_000),
    default: 32_768,
    about:
      'Maximum number of levels beyond the eighth, summed over all topic filters with wildcards (filters with wildcards in the same places count once). It bounds the cost of matching one topic; a filter of up to eight levels is never refused because of it.',
  },
  max_topic_levels: {
    group: 'MQTT broker',
    ...whole(1, 65_535),
    default: 128,
    about: 'Maximum number of levels of a topic name or filter: `a/b/c` has three.',
  },
  max_retained_messages: {
    group: 'MQTT broker',
    ...whole(1, 100_000_000),
    default: 100_000,
    about:
      'Maximum number of topics with a retained message. One user may have half of them; without a user, one IPv4 address or IPv6 /64.',
  },
  max_retained_bytes: {
    group: 'MQTT broker',
    ...whole(KIB, 1024 * KIB * MIB),
    default: 64 * MIB,
    about:
      'Maximum size in bytes of topics, payloads and properties of all retained messages. One user may have half of it, as for max_retained_messages.',
  },
  sys_interval: {
    group: 'MQTT broker',
    ...wholeOrOff(1, 65_535, 'off'),
    default: 10,
    about: 'Seconds between two updates of the topics under $SYS; 0 means off.',
  },
} as const satisfies Record<string, OptionDefinition>
