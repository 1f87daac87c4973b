import { address, listOf, type OptionDefinition, optionalFile, optionalWhole, trueFalse } from './kinds.ts'

const nameOf = (text: string): string | undefined => (/^[^\s:/]{1,253}$/.test(text) ? text.toLowerCase() : undefined)
const userOf = (text: string): string => text

/** The HTTP service: metrics, health, API. */
export const HTTP_OPTIONS = {
  http: {
    group: 'HTTP',
    ...trueFalse,
    default: true,
    about: 'Whether metrics, health checks and the API are served over HTTP (docs/monitoring.md).',
  },
  http_port: {
    group: 'HTTP',
    ...optionalWhole(0, 65_535),
    default: undefined,
    about:
      'TCP port of the HTTP service; 0 picks a free one. If not set, it is 1885, and Roost runs without the service where that port is taken.',
  },
  http_host: {
    group: 'HTTP',
    ...address,
    default: '127.0.0.1',
    about: 'Address on which the HTTP service listens. Beyond loopback it needs http_password_file or http_token_file.',
  },
  http_password_file: {
    group: 'HTTP',
    ...optionalFile,
    default: undefined,
    about:
      'Users of the HTTP service, in the format of password_file (roost passwd). They may view; those of http_managers may change things too. If neither this nor http_token_file is set, no login is needed.',
  },
  http_managers: {
    group: 'HTTP',
    ...listOf('user names, separated by commas', 'users', userOf),
    default: '',
    about: 'Users of http_password_file who may also publish, disconnect clients, and delete sessions and messages.',
  },
  http_token_file: {
    group: 'HTTP',
    ...optionalFile,
    default: undefined,
    about:
      'Bearer tokens for programs such as Prometheus, one `view TOKEN` or `manage TOKEN` per line, with at least 32 characters each.',
  },
  http_hosts: {
    group: 'HTTP',
    ...listOf('host names, separated by commas', 'names', nameOf),
    default: '',
    about:
      'Further names by which the HTTP service is addressed, such as that of a proxy, where no login is needed. Names and addresses of this machine are known.',
  },
  http_certfile: {
    group: 'HTTP',
    ...optionalFile,
    default: undefined,
    about: 'Certificate of the HTTP service (PEM, with its chain), which makes it HTTPS.',
  },
  http_keyfile: {
    group: 'HTTP',
    ...optionalFile,
    default: undefined,
    about: 'Private key of http_certfile (PEM).',
  },
} as const satisfies Record<string, OptionDefinition>
