import {
  choice,
  type Entry,
  httpUrl,
  optionalFile,
  optionalFileOrUrl,
  optionalOnOff,
  optionalText,
  real,
  text,
  trueFalse,
  whole,
  wholeOrOff,
} from './kinds.ts'

/** Who may connect, as whom, and what they may do. */
export const ACCESS_OPTIONS = {
  allow_anonymous: {
    group: 'Access',
    common: true,
    ...optionalOnOff,
    default: undefined,
    listener: 'inherits',
    about:
      'true lets clients connect without a password, from other machines too. false never does, so that without any authentication no client is accepted. Left out, clients on this machine may connect as long as no authentication is configured.',
  },
  password_file: {
    group: 'Access',
    common: true,
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: 'File of users and hashed passwords, as mosquitto_passwd and `roost passwd` write it.',
  },
  acl_file: {
    group: 'Access',
    common: true,
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: "Mosquitto's file of access rules: who may read and write which topics. Says nothing about who may connect.",
  },
  subscription_access: {
    group: 'Access',
    ...choice('filtered', 'whole'),
    default: 'filtered',
    listener: 'inherits',
    about:
      'How much of a subscription the access rules have to allow. filtered: any part of it, and each message is checked before it is delivered, as in Mosquitto. whole: everything that it can match, or it is refused.',
  },
  jwt_secret_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: 'File of the shared secret (HS256, HS384, HS512) of JSON Web Tokens, which clients send as their password.',
  },
  jwt_public_key_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: 'PEM file of the public key or certificate that JSON Web Tokens are verified with.',
  },
  jwt_jwks: {
    group: 'Access',
    ...optionalFileOrUrl,
    default: undefined,
    listener: 'inherits',
    about:
      'JSON Web Key Set that tokens are verified with: a file, or a URL that is fetched again when a key is unknown. A user name and a password in the URL are sent as HTTP Basic.',
  },
  jwt_issuer: {
    group: 'Access',
    ...optionalText(/./, 'a text', 'text'),
    default: undefined,
    listener: 'inherits',
    about: 'The only issuer (`iss`) whose tokens count.',
  },
  jwt_audience: {
    group: 'Access',
    ...optionalText(/./, 'a text', 'text'),
    default: undefined,
    listener: 'inherits',
    about: 'The audience (`aud`) that a token has to be made for.',
  },
  jwt_username_claim: {
    group: 'Access',
    ...text(/^\S+$/, 'the name of a claim', 'claim'),
    default: 'sub',
    listener: 'inherits',
    about: 'Claim of a token that holds the user name.',
  },
  http_auth_url: {
    group: 'Access',
    ...httpUrl,
    default: undefined,
    listener: 'inherits',
    about:
      'URL of a service that is asked about every client that connects. A user name and a password in the URL are sent as HTTP Basic.',
  },
  http_auth_timeout_seconds: {
    group: 'Access',
    ...real(0.1, 60),
    default: 5,
    listener: 'inherits',
    about: 'Seconds that this service has to answer; if it does not, the client is refused.',
  },
  ban_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    about: 'File of networks and client ids that may not connect, one per line: a network such as 192.0.2.0/24, or id:CLIENT_ID.',
  },
  ban_after: {
    group: 'Access',
    ...wholeOrOff(1, 1_000_000, 'never'),
    default: 20,
    about:
      'Failed logins (wrong passwords and tokens) within ban_seconds after which an IPv4 address or IPv6 /64 is banned for ban_seconds; 0 is never. Addresses in trusted_networks are not banned.',
  },
  ban_seconds: {
    group: 'Access',
    ...whole(1, 31_536_000),
    default: 600,
    about: 'Seconds for which failed logins count, and for which an address is banned.',
  },
  max_pending_logins: {
    group: 'Access',
    ...whole(1, 1_000_000),
    default: 10_000,
    about:
      'Clients waiting for their password to be hashed; the same number may wait for an authentication service. Beyond that, the client whose address has failed most often is refused with Server busy.',
  },
  max_pending_logins_per_address: {
    group: 'Access',
    ...whole(1, 1_000_000),
    default: 500,
    about: 'How many of these may come from one IPv4 address or IPv6 /64.',
  },
  max_login_addresses: {
    group: 'Access',
    ...whole(100, 10_000_000),
    default: 50_000,
    about: 'Addresses whose failed logins are remembered, and addresses that are banned at once.',
  },
  session_ownership: {
    group: 'Access',
    ...trueFalse,
    default: true,
    about:
      'Once authentication is configured, a session belongs to the user who made it: others cannot take it over by its client id.',
  },
  clientid_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    about:
      'YAML or JSON file that reserves client ids for users. A user in the file may use only these ids, and no other user may use them.',
  },
  clientid_prefixes: {
    group: 'Access',
    ...optionalText(
      /^(?=.)(?:(?!%u).)*(?:%u(?:(?!%u).)+)?$/s,
      'the beginning of a client id, in which something has to stand behind %u',
      'prefix',
    ),
    default: undefined,
    listener: 'inherits',
    about: 'Only clients whose id starts with this may connect; %u stands for the user name, as in "%u-".',
  },
  allow_zero_length_clientid: {
    group: 'Access',
    ...trueFalse,
    default: true,
    listener: 'inherits',
    about: 'Gives a client id to clients that connect without one.',
  },
  auto_id_prefix: {
    group: 'Access',
    ...text(/^[^\0]{0,64}$/, 'a text of at most 64 characters', 'prefix'),
    default: 'auto-',
    listener: 'inherits',
    about: 'Prefix of the client ids that are given.',
  },
} as const satisfies Record<string, Entry>
