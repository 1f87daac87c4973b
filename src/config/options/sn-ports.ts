import { PRIVATE_NETWORKS, parseNetwork } from '../../base/networks.ts'
import { address, choice, type Entry, listOf, onOff, optionalText, real, whole, wholeOrOff } from './kinds.ts'

const GROUP = 'MQTT-SN ports' as const
const HABITS = { group: GROUP, snListener: 'inherits' } as const

/** Where and how sensors come in: one port as flags and global keys, and those of each entry of `sn_listeners`, where `sn_` is left out. */
export const SN_PORT_OPTIONS = {
  sn_host: {
    group: GROUP,
    common: true,
    ...address,
    default: '127.0.0.1',
    snListener: 'own',
    about: 'Address on which the MQTT-SN gateway listens (UDP).',
  },
  sn_port: {
    group: GROUP,
    common: true,
    ...whole(0, 65_535),
    default: 1884,
    snListener: 'own',
    about: 'UDP port of the MQTT-SN gateway; 0 picks a free one.',
  },
  sn_device: {
    group: GROUP,
    ...optionalText(/^[^\0]+$/, 'the path of a serial device', 'path'),
    default: undefined,
    snListener: 'own',
    about: 'Serial device with a radio behind it, instead of sn_host and sn_port. Needs the package serialport.',
  },
  sn_baud_rate: {
    group: GROUP,
    ...whole(300, 4_000_000),
    default: 115_200,
    snListener: 'own',
    about: 'Bits per second of the serial device; 8 data bits, no parity, 1 stop bit.',
  },
  sn_framing: {
    group: GROUP,
    ...choice('slip', 'length'),
    default: 'slip',
    snListener: 'own',
    about:
      "How frames are told apart on the serial line: SLIP (RFC 1055) with a CRC-16, or by MQTT-SN's own Length on a line that loses nothing.",
  },
  sn_default_client_id: {
    group: GROUP,
    ...optionalText(/^[^\0]{1,64}$/, 'a client id', 'id'),
    default: undefined,
    snListener: 'own',
    about:
      'Client id of a sensor that connects without one, where there is only one: at the end of a line. Without it such a sensor is refused.',
  },
  sn_max_frame: {
    ...HABITS,
    ...whole(16, 65_535),
    default: 65_535,
    about:
      'Octets of the largest frame that the radio can carry; UDP itself allows 65507, over IPv6 65527. Nothing is split: a message that does not fit is refused, with a line in the log.',
  },
  t_retry: {
    ...HABITS,
    ...real(0.1, 3600),
    default: 10,
    about: "Seconds to wait for a sensor's answer before a message is sent again (T_retry).",
  },
  n_retry: {
    ...HABITS,
    ...whole(1, 100),
    default: 3,
    about: 'Times that a message is sent again before the sensor counts as lost (N_retry).',
  },
  sn_bytes_per_second: {
    ...HABITS,
    ...wholeOrOff(1, 100_000_000, 'no bound'),
    default: 0,
    about: 'Bytes per second that the medium carries; the rest waits. 0 is no limit.',
  },
  sn_duty_cycle: {
    ...HABITS,
    ...real(0.001, 100),
    default: 100,
    about: 'Percentage of any hour during which the gateway may send, computed from sn_bytes_per_second.',
  },
  t_adv: {
    ...HABITS,
    ...wholeOrOff(1, 65_535, 'off'),
    default: 900,
    about: 'Seconds between two ADVERTISE messages (T_adv); 0 is off.',
  },
  standby: {
    ...HABITS,
    ...onOff,
    default: false,
    about: 'Sends ADVERTISE only while no other gateway is heard to do so.',
  },
  multicast_group: {
    group: GROUP,
    ...optionalText(/^(none|(22[4-9]|23\d)(\.\d{1,3}){3}|ff[\da-f.:]+)$/i, 'an IPv4 or IPv6 multicast address, or none', 'group'),
    default: undefined,
    snListener: 'own',
    about:
      'Group that ADVERTISE goes to and in which SEARCHGW is heard. Without it 225.1.1.1 or ff1e:feed:caca:dead::feed:caca:dead, as the Paho gateway has it.',
  },
  multicast_port: {
    group: GROUP,
    ...whole(0, 65_535),
    default: 0,
    snListener: 'own',
    about: 'UDP port of the group; 0 is that of the listener.',
  },
  multicast_interface: {
    group: GROUP,
    ...optionalText(/^\S+$/, 'an IPv4 address of this machine, or for IPv6 the name of an interface', 'interface'),
    default: undefined,
    snListener: 'own',
    about: 'Interface of the group: its address, for IPv6 its name. Without it that of sn_host, or what the system chooses.',
  },
  trusted_networks: {
    group: GROUP,
    ...listOf('networks like 10.0.0.0/8 or fe80::/10', 'networks', parseNetwork),
    default: PRIVATE_NETWORKS.join(','),
    about:
      'Networks whose sender addresses are trusted. Any other address is sent at most three times what came from it, until it has acknowledged a message (docs/security.md). Failed logins (ban_after) ban no address in them.',
  },
  gateway_networks: {
    group: GROUP,
    ...listOf('networks like 10.0.0.0/8 or fe80::/10', 'networks', parseNetwork),
    default: '',
    about:
      'Networks of other gateways: ADVERTISE from anywhere else is ignored and does not silence a gateway on standby. If empty: trusted_networks.',
  },
  max_sn_unproven_addresses: {
    group: GROUP,
    ...whole(1, 10_000_000),
    default: 10_000,
    about: 'Addresses outside trusted_networks that have given no such proof and are remembered.',
  },
  max_sn_unproven_sessions: {
    group: GROUP,
    ...whole(1, 10_000_000),
    default: 50_000,
    about:
      'Sensors at such addresses; above this, no new one is accepted from them, so that forged senders leave room for others within max_sn_sessions.',
  },
} as const satisfies Record<string, Entry>
