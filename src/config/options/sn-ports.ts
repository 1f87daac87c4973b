import { PRIVATE_NETWORKS, parseNetwork } from '../../base/networks.ts'
import { address, choice, listOf, type OptionDefinition, onOff, optionalText, real, whole, wholeOrOff } from './kinds.ts'

const GROUP = 'MQTT-SN ports' as const
const PER_PORT = { group: GROUP, snListener: 'inherits' } as const

/**
 * MQTT-SN ports. These are the flags and global keys of the default port, and, without `sn_`, the keys of each entry of
 * `sn_listeners`.
 */
export const SN_PORT_OPTIONS = {
  sn_host: {
    group: GROUP,
    ...address,
    default: '127.0.0.1',
    snListener: 'own',
    about: 'Address on which the MQTT-SN gateway listens (UDP).',
  },
  sn_port: {
    group: GROUP,
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
      "How frames are delimited on the serial line: SLIP (RFC 1055) with a CRC-16, or only MQTT-SN's Length field, for a line that loses nothing.",
  },
  sn_default_client_id: {
    group: GROUP,
    ...optionalText(/^[^\0]{1,64}$/, 'a client id', 'id'),
    default: undefined,
    snListener: 'own',
    about:
      'Client id of a sensor that connects without one, for a line with a single sensor. If not set, such a sensor is refused.',
  },
  sn_max_frame: {
    ...PER_PORT,
    ...whole(16, 65_535),
    default: 65_535,
    about:
      'Maximum size of a frame on the radio in bytes; UDP itself allows 65507, over IPv6 65527. Messages are not split: one that does not fit is dropped, with a line in the log.',
  },
  t_retry: {
    ...PER_PORT,
    ...real(0.1, 3600),
    default: 10,
    about: "Seconds to wait for a sensor's answer before a message is sent again (T_retry).",
  },
  n_retry: {
    ...PER_PORT,
    ...whole(1, 100),
    default: 3,
    about: 'Number of retransmissions before the sensor counts as lost (N_retry).',
  },
  sn_bytes_per_second: {
    ...PER_PORT,
    ...wholeOrOff(1, 100_000_000, 'no limit'),
    default: 0,
    about: 'Bytes per second that the medium carries; frames beyond that wait. 0 means no limit.',
  },
  sn_duty_cycle: {
    ...PER_PORT,
    ...real(0.001, 100),
    default: 100,
    about:
      'Percentage of any hour during which the gateway may send. The time that a frame takes follows from sn_bytes_per_second.',
  },
  t_adv: {
    ...PER_PORT,
    ...wholeOrOff(1, 65_535, 'off'),
    default: 900,
    about: 'Seconds between two ADVERTISE messages (T_adv); 0 means off.',
  },
  standby: {
    ...PER_PORT,
    ...onOff,
    default: false,
    about: 'Sends ADVERTISE only while no other gateway is heard.',
  },
  multicast_group: {
    group: GROUP,
    ...optionalText(/^(none|(22[4-9]|23\d)(\.\d{1,3}){3}|ff[\da-f.:]+)$/i, 'an IPv4 or IPv6 multicast address, or none', 'group'),
    default: undefined,
    snListener: 'own',
    about:
      'Multicast group to which ADVERTISE is sent, and in which SEARCHGW is received. If not set: 225.1.1.1 or ff1e:feed:caca:dead::feed:caca:dead, as in the Paho gateway.',
  },
  multicast_port: {
    group: GROUP,
    ...whole(0, 65_535),
    default: 0,
    snListener: 'own',
    about: 'UDP port of the group; 0 means the same port as sn_port.',
  },
  multicast_interface: {
    group: GROUP,
    ...optionalText(/^\S+$/, 'an IPv4 address of this machine, or for IPv6 the name of an interface', 'interface'),
    default: undefined,
    snListener: 'own',
    about: "Interface of the group: its address, or for IPv6 its name. If not set: that of sn_host, or the system's choice.",
  },
  trusted_networks: {
    group: GROUP,
    ...listOf('networks like 10.0.0.0/8 or fe80::/10', 'networks', parseNetwork),
    default: PRIVATE_NETWORKS.join(','),
    about:
      'Networks whose source addresses are trusted. To any other address the gateway sends at most three times the bytes it received from it, until that address has acknowledged a message (docs/security.md). Addresses in these networks are not banned for failed logins (ban_after).',
  },
  gateway_networks: {
    group: GROUP,
    ...listOf('networks like 10.0.0.0/8 or fe80::/10', 'networks', parseNetwork),
    default: '',
    about:
      'Networks of other gateways. ADVERTISE from elsewhere is ignored, and does not silence a gateway on standby. If empty: trusted_networks.',
  },
  max_sn_unproven_addresses: {
    group: GROUP,
    ...whole(1, 10_000_000),
    default: 10_000,
    about: 'Maximum number of addresses outside trusted_networks, not validated yet, that are remembered.',
  },
  max_sn_unproven_sessions: {
    group: GROUP,
    ...whole(1, 10_000_000),
    default: 50_000,
    about:
      'Maximum number of sensors at such addresses. Above it no new one is accepted from them, so that forged source addresses leave room for others within max_sn_sessions.',
  },
} as const satisfies Record<string, OptionDefinition>
