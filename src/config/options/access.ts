import {
  choice,
  httpUrl,
  type OptionDefinition,
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

/** Authentication and authorization of clients. */
export const ACCESS_OPTIONS = {
  allow_anonymous: {
    group: 'Access',
    ...optionalOnOff,
    default: undefined,
    listener: 'inherits',
    about:
      'true: clients may connect without a password, from other machines too. false: never, so without any authentication no client is accepted. If not set, clients on this machine may connect without a password as long as no authentication is configured.',
  },
  password_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: 'File of users and hashed passwords, as written by mosquitto_passwd or `roost passwd`.',
  },
  acl_file: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about:
      "Access list in Mosquitto's format: which users may read and write which topics. It does not restrict who may connect.",
  },
  hooks: {
    group: 'Access',
    ...optionalFile,
    default: undefined,
    about:
      'JavaScript module (hooks.mjs). Its exported functions authenticate and authorize clients, change messages, and receive events about clients (docs/hooks.md). It is loaded once, at the start; after a reload its functions are called again for connected clients.',
  },
  subscription_access: {
    group: 'Access',
    ...choice('filtered', 'whole'),
    default: 'filtered',
    listener: 'inherits',
    about:
      'How subscriptions wider than the access list are handled. filtered: they are granted, and each message is checked before it is delivered, as in Mosquitto. whole: they are refused.',
  },
  jwt_secret_file: {
    group: 'Tokens',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about:
      'File with the shared secret (HS256, HS384, HS512) that verifies JSON Web Tokens, which clients send as their password.',
  },
  jwt_public_key_file: {
    group: 'Tokens',
    ...optionalFile,
    default: undefined,
    listener: 'inherits',
    about: 'PEM file of the public key or certificate that verifies JSON Web Tokens.',
  },
  jwt_jwks: {
    group: 'Tokens',
    ...optionalFileOrUrl,
    default: undefined,
    listener: 'inherits',
    about:
      'JSON Web Key Set that verifies tokens: a file, or a URL that is fetched again when a key is unknown. Credentials in the URL are sent as HTTP Basic.',
  },
  jwt_issuer: {
    group: 'Tokens',
    ...optionalText(/./, 'text', 'text'),
    default: undefined,
    listener: 'inherits',
    about: 'Required issuer (`iss`) of tokens.',
  },
  jwt_audience: {
    group: 'Tokens',
    ...optionalText(/./, 'text', 'text'),
    default: undefined,
    listener: 'inherits',
    about: 'Required audience (`aud`) of tokens.',
  },
  jwt_username_claim: {
    group: 'Tokens',
    ...text(/^\S+$/, 'the name of a claim', 'claim'),
    default: 'sub',
    listener: 'inherits',
    about: 'Claim that contains the user name.',
  },
  http_auth_url: {
    group: 'Access',
    ...httpUrl,
    default: undefined,
    listener: 'inherits',
    about: 'URL of an HTTP service that authenticates clients. Credentials in the URL are sent as HTTP Basic.',
  },
  http_auth_timeout_seconds: {
    group: 'Access',
    ...real(0.1, 60),
    default: 5,
    listener: 'inherits',
    about: 'Timeout of a request to that service, in seconds. After it the client is refused.',
  },
  ban_file: {
    group: 'Logins',
    ...optionalFile,
    default: undefined,
    about: 'File of networks and client ids that may not connect, one per line: a network such as 192.0.2.0/24, or id:CLIENT_ID.',
  },
  ban_after: {
    group: 'Logins',
    ...wholeOrOff(1, 1_000_000, 'never'),
    default: 20,
    about:
      'Number of failed logins (wrong passwords and tokens) within ban_seconds after which an IPv4 address or IPv6 /64 is banned for ban_seconds; 0 means never. Addresses in trusted_networks are not banned.',
  },
  ban_seconds: {
    group: 'Logins',
    ...whole(1, 31_536_000),
    default: 600,
    about: 'Duration of a ban in seconds, and the period in which failed logins are counted.',
  },
  max_pending_logins: {
    group: 'Logins',
    ...whole(1, 1_000_000),
    default: 10_000,
    about:
      'Maximum number of clients waiting for their password to be hashed, and the same number again waiting for an authentication service. Beyond it, the client whose address has failed most often is refused with Server busy.',
  },
  max_pending_logins_per_address: {
    group: 'Logins',
    ...whole(1, 1_000_000),
    default: 500,
    about: 'Maximum number of these clients from one IPv4 address or IPv6 /64.',
  },
  max_login_addresses: {
    group: 'Logins',
    ...whole(100, 10_000_000),
    default: 50_000,
    about: 'Maximum number of addresses whose failed logins are remembered, and of addresses banned at the same time.',
  },
  session_ownership: {
    group: 'Access',
    ...trueFalse,
    default: true,
    about: 'With authentication, a session belongs to the user who created it: other users cannot take it over by its client id.',
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
    ...optionalText(/^(?=.)(?:(?!%u).)*(?:%u(?:(?!%u).)+)?$/s, 'a prefix of client ids, with text after %u', 'prefix'),
    default: undefined,
    listener: 'inherits',
    about: 'Required prefix of client ids; %u stands for the user name, as in "%u-".',
  },
  allow_zero_length_clientid: {
    group: 'Access',
    ...trueFalse,
    default: true,
    listener: 'inherits',
    about: 'Assigns a client id to clients that connect without one. If false, they are refused.',
  },
  auto_id_prefix: {
    group: 'Access',
    ...text(/^[^\0]{0,64}$/, 'text of at most 64 characters', 'prefix'),
    default: 'auto-',
    listener: 'inherits',
    about: 'Prefix of assigned client ids.',
  },
} as const satisfies Record<string, OptionDefinition>
