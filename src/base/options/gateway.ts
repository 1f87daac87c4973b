import { type Entry, optionalFile, real, secondsOrNever, whole } from './kinds.ts'

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
} as const satisfies Record<string, Entry>
