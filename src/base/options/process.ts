import { choice, directory, type Entry, onOff, optionalFile } from './kinds.ts'

/** Where the process keeps its state, and how it logs. */
export const PROCESS_OPTIONS = {
  data_dir: {
    group: 'State',
    ...directory,
    default: 'roost-data',
    about: 'Directory that keeps sessions, queues, retained messages and topic ids across restarts. One process at a time.',
  },
  memory: {
    group: 'State',
    ...onOff,
    default: false,
    about: 'Keeps the state in memory only: faster, and nothing survives a restart. Excludes data_dir.',
  },
  log_level: {
    group: 'Log',
    ...choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    placeholder: 'level',
    default: 'info',
    about: 'Least important level that is logged: trace, debug, info, warn, error, fatal or silent.',
  },
  log_format: {
    group: 'Log',
    ...choice('json', 'pretty'),
    default: 'pretty',
    about: 'Log on standard output: lines for people, or one JSON object a line for programs.',
  },
} as const satisfies Record<string, Entry>

/** Where the configuration comes from. */
export const CONFIGURATION_OPTIONS = {
  config: {
    group: 'Configuration',
    ...optionalFile,
    default: undefined,
    about:
      'YAML file of options: the same names with underscores, one `key: value` a line, and listeners. Flags win over the file.',
    flagOnly: true,
  },
  test_config: {
    group: 'Configuration',
    ...onOff,
    default: false,
    about:
      'Checks flags, file and the files that they name, says so in one line and ends: with exit code 2 if something is wrong.',
    flagOnly: true,
  },
} as const satisfies Record<string, Entry>
