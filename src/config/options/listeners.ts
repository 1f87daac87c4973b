import { parseNetwork } from '../../base/networks.ts'
import { parseOrigin } from '../../base/origins.ts'
import {
  address,
  certificates,
  choice,
  type Entry,
  listOf,
  onOff,
  optionalFile,
  optionalText,
  permissions,
  text,
  trueFalse,
  whole,
  wholeOrMost,
} from './kinds.ts'

/** The key `name` of an entry of `listeners`, the only one that is not also a flag. */
export const LISTENER_NAME = text(/^[\w.:-]{1,64}$/, 'a name of letters, digits and any of . : _ -', 'name')

/** Where and how clients come in: the default listener's as flags and global keys, and those of each entry of `listeners`. */
export const LISTENER_OPTIONS = {
  host: {
    group: 'Listeners',
    common: true,
    ...address,
    default: '127.0.0.1',
    listener: 'own',
    about: 'Address on which the MQTT broker listens (TCP).',
  },
  port: {
    group: 'Listeners',
    common: true,
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
    about: 'Unix socket to listen on instead of host and port. Counts as loopback.',
  },
  socket_mode: {
    group: 'Listeners',
    ...permissions,
    default: '0660',
    listener: 'own',
    about: 'Permissions of the Unix socket, in octal digits: who may connect there.',
  },
  protocol: {
    group: 'Listeners',
    ...choice('mqtt', 'websockets'),
    default: 'mqtt',
    listener: 'own',
    about: 'What clients speak: MQTT, or MQTT within WebSocket.',
  },
  websockets_path: {
    group: 'Listeners',
    ...optionalText(/^\/[^\s?#]*$/, 'a path like "/mqtt"', 'path'),
    default: undefined,
    listener: 'own',
    about: 'The only path that WebSocket clients may ask for. Without it any path will do, as with Mosquitto.',
  },
  websockets_origin: {
    group: 'Listeners',
    ...listOf('origins like "app.example.org" or "https://app.example.org:8443", or "*"', 'origins', parseOrigin),
    default: '',
    listener: 'inherits',
    about:
      'Web pages that may connect over WebSocket besides those of this machine: by host, or by scheme, host and port; * is every page. If empty, pages of any site may try where clients have to authenticate, and only pages of this machine where they do not.',
  },
  websockets_trusted_proxies: {
    group: 'Listeners',
    ...listOf('networks like 10.0.0.0/8 or ::1', 'networks', parseNetwork),
    default: '',
    listener: 'inherits',
    about:
      'Proxies in front of WebSocket whose header X-Forwarded-For says the address of the client, which then counts for max_connections_per_address and in the log. From anybody else the header means nothing.',
  },
  proxy_protocol: {
    group: 'Listeners',
    ...onOff,
    default: false,
    listener: 'own',
    about: "Expects a PROXY protocol header (version 1 or 2) from a proxy in front, which says the client's address.",
  },
  set_tcp_nodelay: {
    group: 'Listeners',
    ...trueFalse,
    default: true,
    listener: 'inherits',
    about:
      "Sends small packets at once (TCP_NODELAY). Mosquitto's default is false; Roost batches what goes to a connection itself, so waiting would only add delay.",
  },
  certfile: {
    group: 'Listeners',
    common: true,
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: 'PEM file of the certificate, its chain included. With keyfile: clients have to speak TLS.',
  },
  keyfile: {
    group: 'Listeners',
    common: true,
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: "PEM file of the certificate's private key.",
  },
  cafile: {
    group: 'Listeners',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about: 'PEM file of the authorities whose client certificates count.',
  },
  capath: {
    group: 'Listeners',
    ...optionalFile,
    expected: 'the path of a directory',
    placeholder: 'dir',
    default: undefined,
    listener: 'own',
    about: 'Directory of such files, named as `openssl rehash` does.',
  },
  crlfile: {
    group: 'Listeners',
    ...optionalFile,
    default: undefined,
    listener: 'own',
    about:
      'PEM file of revocation lists, with one of each CA that issues client certificates. CAs above that are checked where there is a list for them. Some versions of Node.js (24.21, 26.8) do not tell which CAs a client has sent: those have to be in cafile.',
  },
  require_certificate: {
    group: 'Listeners',
    ...certificates,
    default: 'no',
    listener: 'own',
    about:
      'Whether a client has to show a certificate that cafile or capath verifies: true means required, false means no. Where the user name comes from the certificate, no still asks for one, and a client without it is refused at CONNECT.',
  },
  use_identity_as_username: {
    group: 'Listeners',
    ...onOff,
    default: false,
    listener: 'own',
    about: "Takes the common name (CN) of the client's certificate as its user name: it needs no password then.",
  },
  use_subject_as_username: {
    group: 'Listeners',
    ...onOff,
    default: false,
    listener: 'own',
    about: 'Takes the whole subject instead, as in `CN=sensor 1,O=Example`.',
  },
  tls_version: {
    group: 'Listeners',
    ...choice('tlsv1.2', 'tlsv1.3'),
    default: 'tlsv1.2',
    listener: 'own',
    about: 'Oldest version of TLS that is accepted.',
  },
  ciphers: {
    group: 'Listeners',
    ...optionalText(/^[\w+\-!@=:,.]+$/, 'names of ciphers with colons between them', 'list'),
    default: undefined,
    listener: 'own',
    about: "TLS ciphers in OpenSSL's notation, including those of TLS 1.3. If not set: the default of Node.js.",
  },
  mount_point: {
    group: 'Listeners',
    ...optionalText(/^[^+#\0]+$/, 'the beginning of a topic, without + and #', 'prefix'),
    default: undefined,
    listener: 'inherits',
    about: "Prefix for all topics of the listener's clients, which see nothing outside it. Usually ends in /.",
  },
  max_connections: {
    group: 'Listeners',
    ...wholeOrMost(1, 1_000_000, -1),
    default: 10_000,
    listener: 'inherits',
    about: 'MQTT connections open at once: of all listeners together, and within that of each; -1 is 1000000.',
  },
  max_connections_per_address: {
    group: 'Listeners',
    ...wholeOrMost(1, 1_000_000, 0),
    default: 1000,
    about:
      'Connections open at once from one IPv4 address or IPv6 /64; 0 is 1000000. Raise it where clients share an address, as behind a proxy without proxy_protocol.',
  },
  per_listener_settings: {
    group: 'Listeners',
    ...onOff,
    default: false,
    about: "Accepted for compatibility, without effect: a listener's setting always wins over the global one.",
  },
} as const satisfies Record<string, Entry>
