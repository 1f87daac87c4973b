import { choice, directory, type Entry, MIB, onOff, optionalFile, wholeOrOff } from './kinds.ts'

/** Where the process keeps its state, and how it logs. */
export const PROCESS_OPTIONS = {
  data_dir: {
    group: 'State',
    common: true,
    ...directory,
    default: 'roost-data',
    about:
      'Directory that keeps sessions, queues, retained messages and topic ids across restarts. Only one process can use it at a time.',
  },
  memory: {
    group: 'State',
    common: true,
    ...onOff,
    default: false,
    about: 'Keeps the state in memory only: faster, and nothing survives a restart. Excludes data_dir.',
  },
  durability: {
    group: 'State',
    common: true,
    ...choice('fsync', 'process'),
    default: 'fsync',
    about:
      'What an acknowledgement waits for. fsync: the data is on the disk, and a power cut loses nothing. process: the operating system has the data, which is faster, and survives a crash of the process but not of the machine.',
  },
  max_data_bytes: {
    group: 'State',
    ...wholeOrOff(MIB, Number.MAX_SAFE_INTEGER, 'no bound'),
    default: 16 * 1024 * MIB,
    about:
      'Bytes that the state may take on the disk; 0 is no limit. Above this, whatever is new is refused (reason code 0x97, congestion) until there is room again.',
  },
  log_level: {
    group: 'Log',
    common: true,
    ...choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    placeholder: 'level',
    default: 'info',
    about:
      'Lowest level that is logged: trace, debug, info, warn, error, fatal or silent. trace logs each datagram from and to sensors, decoded.',
  },
  log_format: {
    group: 'Log',
    ...choice('json', 'pretty'),
    default: 'pretty',
    about: 'Format of the log on standard output: lines for people, or one JSON object per line for programs.',
  },
} as const satisfies Record<string, Entry>

/** Where the configuration comes from. */
export const CONFIGURATION_OPTIONS = {
  config: {
    group: 'Configuration',
    common: true,
    ...optionalFile,
    default: undefined,
    about:
      'YAML file of options: the same names with underscores, one `key: value` a line, and listeners. Flags win over the file.',
    flagOnly: true,
  },
  test_config: {
    group: 'Configuration',
    common: true,
    ...onOff,
    default: false,
    about:
      'Checks flags, file and the files that they name, warns about what the configuration leaves open (docs/security.md), and ends: with exit code 2 if something is wrong.',
    flagOnly: true,
  },
} as const satisfies Record<string, Entry>
