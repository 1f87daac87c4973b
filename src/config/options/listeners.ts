import { parseNetwork } from '../../base/networks.ts'
import { parseOrigin } from '../../base/origins.ts'
import {
  address,
  certificates,
  choice,
  listOf,
  type OptionDefinition,
  onOff,
  optionalFile,
  optionalText,
  permissions,
  text,
  trueFalse,
  whole,
  wholeOrMost,
} from './kinds.ts'

/** The key `name` of an entry of `listeners`, the only key that is not a flag as well. */
export const LISTENER_NAME = text(/^[\w.:-]{1,64}$/, 'a name of letters, digits and any of . : _ -', 'name')

/**
 * Listeners for MQTT clients. These are the flags and global keys of the default listener, and the keys of each entry
 * of `listeners`.
 */
export const LISTENER_OPTIONS = {
  host: {
    group: 'Listeners',
    ...address,
    default: '127.0.0.1',
    listener: 'own',
    about: 'Address on which the MQTT broker listens (TCP).',
  },
  port: {
    group: 'Listeners',
    ...whole(0, 65_535),
    default: 1883,
    listener: 'own',
    about: 'TCP port of the MQTT broker; 0 picks a free one.',
  },
  socket_path: {
    group: 'Listeners',
    ...optionalFile,
    expected: 'the path of a socket',
    placeholder: 'path',
    default: undefined,
    listener: 'own',
    about: 'Unix socket to listen on, instead of host and port. Counts as loopback.',
  },
  socket_mode: {
    group: 'Listeners',
    ...permissions,
    default: '0660',
    listener: 'own',
    about: 'Permissions of the Unix socket, in octal digits. Connecting requires write permission.',
  },
  protocol: {
    group: 'Listeners',
    ...choice('mqtt', 'websockets'),
    default: 'mqtt',
    listener: 'own',
    about: 'Protocol of the listener: plain MQTT, or MQTT over WebSocket.',
  },
  websockets_path: {
    group: 'Listeners',
    ...optionalText(/^\/[^\s?#]*$/, 'a path like "/mqtt"', 'path'),
    default: undefined,
    listener: 'own',
    about: 'The only path that WebSocket clients may request. If not set, any path is accepted, as with Mosquitto.',
  },
  websockets_origin: {
    group: 'Listeners',
    ...listOf('origins like "app.example.org" or "https://app.example.org:8443", or "*"', 'origins', parseOrigin),
    default: '',
    listener: 'inherits',
    about:
      'Web origins that may connect over WebSocket besides those of this machine: a host, or scheme, host and port; * allows every page. If empty, pages of any site may connect where clients have to authenticate, and only pages of this machine where they do not.',
  },
  websockets_trusted_proxies: {
    group: 'Listeners',
    ...listOf('networks like 10.0.0.0/8 or ::1', 'networks', parseNetwork),
    default: '',
    listener: 'inherits',
    about:
      "Networks of the reverse proxies whose X-Forwarded-For header is trusted to contain the client's address, for max_connections_per_address and the log. The header is ignored from other addresses.",
  },
  proxy_protocol: {
    group: 'Listeners',
    ...onOff,
    default: false,
    listener: 'own',
    about: "Expects a PROXY protocol header (version 1 or 2) with the client's address from a proxy in front of the listener.",
  },
  set_tcp_nodelay: {
    group: 'Listeners',
    ...trueFalse,
    default: true,
    listener: 'inherits',
    about:
      "Disables Nagle's algorithm (TCP_NODELAY). Mosquitto's default is false; Roost writes in batches itself, so waiting would only add delay.",
  },
  certfile: {
    group: 'TLS',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: 'PEM file of the certificate, including its chain. Together with keyfile it makes the listener a TLS listener.',
  },
  keyfile: {
    group: 'TLS',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: "PEM file of the certificate's private key.",
  },
  cafile: {
    group: 'TLS',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: 'CA certificates (PEM) used to verify client certificates.',
  },
  capath: {
    group: 'TLS',
    ...optionalFile,
    expected: 'the path of a directory',
    placeholder: 'dir',
    default: undefined,
    listener: 'own',
    about: 'Directory of such CA certificates, with names as made by `openssl rehash`.',
  },
  crlfile: {
    group: 'TLS',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about:
      'PEM file of certificate revocation lists, with one for each CA that issues client certificates. CAs above those are checked if a list for them is present. Some versions of Node.js (24.21, 26.8) do not report intermediate CAs that a client sends; add those to cafile.',
  },
  require_certificate: {
    group: 'TLS',
    ...certificates,
    default: 'no',
    listener: 'own',
    about:
      'Whether clients need a certificate that cafile or capath verifies: true means required, false means no. If the user name is taken from the certificate, a certificate is requested even if this is no, and a client without one is refused at CONNECT.',
  },
  use_identity_as_username: {
    group: 'TLS',
    ...onOff,
    default: false,
    listener: 'own',
    about: 'Uses the common name (CN) of the client certificate as the user name. No password is needed then.',
  },
  use_subject_as_username: {
    group: 'TLS',
    ...onOff,
    default: false,
    listener: 'own',
    about: 'Uses the whole subject of the client certificate as the user name, as in `CN=sensor 1,O=Example`.',
  },
  tls_version: {
    group: 'TLS',
    ...choice('tlsv1.2', 'tlsv1.3'),
    default: 'tlsv1.2',
    listener: 'own',
    about: 'Oldest TLS version that is accepted.',
  },
  ciphers: {
    group: 'TLS',
    ...optionalText(/^[\w+\-!@=:,.]+$/, 'names of ciphers with colons between them', 'list'),
    default: undefined,
    listener: 'own',
    about: 'TLS ciphers in OpenSSL notation, including those of TLS 1.3. If not set, the default of Node.js is used.',
  },
  mount_point: {
    group: 'Listeners',
    ...optionalText(/^[^+#\0]+$/, 'a topic prefix without + and #', 'prefix'),
    default: undefined,
    listener: 'inherits',
    about: "Prefix of all topics of the listener's clients, which can reach nothing outside it. Usually ends in /.",
  },
  max_connections: {
    group: 'Listeners',
    ...wholeOrMost(1, 1_000_000, -1),
    default: 10_000,
    listener: 'inherits',
    about: 'Maximum number of open MQTT connections: on all listeners together, and on each one. -1 means 1000000.',
  },
  max_connections_per_address: {
    group: 'Listeners',
    ...wholeOrMost(1, 1_000_000, 0),
    default: 1000,
    about:
      'Maximum number of open connections from one IPv4 address or IPv6 /64; 0 means 1000000. Raise it if clients share an address, for example behind a proxy without proxy_protocol.',
  },
  per_listener_settings: {
    group: 'Listeners',
    ...onOff,
    default: false,
    about: "Accepted for compatibility with Mosquitto and ignored: a listener's own setting always overrides the global one.",
  },
} as const satisfies Record<string, OptionDefinition>
