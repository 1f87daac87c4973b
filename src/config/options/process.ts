import {
  choice,
  clientPatterns,
  directory,
  MIB,
  type OptionDefinition,
  onOff,
  optionalFile,
  outputFile,
  whole,
  wholeOrOff,
} from './kinds.ts'

/** State on disk, and the log. */
export const PROCESS_OPTIONS = {
  data_dir: {
    group: 'State',
    ...directory,
    default: 'roost-data',
    about:
      'Directory for sessions, queues, retained messages and topic ids, which survive a restart. Only one process can use it at a time. Where Roost is installed and this is not set, it is the one that systemd gives (StateDirectory), /var/lib/roost for root, and $XDG_STATE_HOME/roost or ~/.local/state/roost for other users.',
  },
  memory: {
    group: 'State',
    ...onOff,
    default: false,
    about: 'Keeps the state in memory only: faster, but nothing survives a restart. Cannot be combined with data_dir.',
  },
  durability: {
    group: 'State',
    ...choice('fsync', 'process'),
    default: 'fsync',
    about:
      'When a message is acknowledged. fsync: once it is on the disk, so that a power cut loses nothing. process: once the operating system has it, which is faster, and survives a crash of the process but not of the machine.',
  },
  max_data_bytes: {
    group: 'State',
    ...wholeOrOff(MIB, Number.MAX_SAFE_INTEGER, 'no limit'),
    default: 16 * 1024 * MIB,
    about:
      'Maximum size of the state on the disk in bytes; 0 means no limit. Above it, whatever would need more room is refused (reason code 0x97, or congestion) until there is room again.',
  },
  log_level: {
    group: 'Log',
    ...choice('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    placeholder: 'level',
    default: 'info',
    about:
      'Lowest level that is logged: trace, debug, info, warn, error, fatal or silent. trace also logs each packet from and to clients of both protocols, decoded.',
  },
  log_format: {
    group: 'Log',
    ...choice('json', 'pretty'),
    default: 'pretty',
    about: 'Format of the log: lines for people, or one JSON object per line for programs.',
  },
  log_file: {
    group: 'Log',
    ...outputFile,
    default: undefined,
    about:
      'File to which the log is appended, instead of standard output. SIGHUP opens it again, so that logrotate can rename it.',
  },
  log_rate: {
    group: 'Log',
    ...wholeOrOff(1, 1_000_000, 'no limit'),
    default: 100,
    about:
      'Maximum number of log lines with one code (docs/notices.md) in 10 seconds. Further ones are counted, and a line says how many there were. Bans have a limit of at least 1000.',
  },
  trace_clients: {
    group: 'Log',
    ...clientPatterns,
    default: '',
    about:
      'Client ids whose packets are traced, in the log at log_level trace and in trace_file; * in an id matches any characters. Empty: all clients, and packets before the client is known.',
  },
  trace_payloads: {
    group: 'Log',
    ...onOff,
    default: false,
    about:
      'Traces also show payloads, wills, correlation data and user properties. Passwords and authentication data are never shown.',
  },
  trace_file: {
    group: 'Log',
    ...outputFile,
    default: undefined,
    about:
      'File to which all packets are written, in the pcap format that Wireshark and tshark read (docs/troubleshooting.md). It is replaced at the start. Without trace_payloads, zeros stand for payloads.',
  },
  trace_file_max_mib: {
    group: 'Log',
    ...whole(1, 65_536),
    default: 64,
    about: 'Maximum size of trace_file in MiB. Once it is reached, a warning is logged, and nothing more is written to the file.',
  },
} as const satisfies Record<string, OptionDefinition>

/** Options that select or test the configuration. */
export const CONFIGURATION_OPTIONS = {
  config: {
    group: 'Configuration file',
    ...optionalFile,
    default: undefined,
    about:
      'YAML file of options, one `key: value` per line. Keys are the names of the flags, with underscores; listeners, sn_listeners, bridges, upstream and filters are keys of the file only. Flags override the file.',
    flagOnly: true,
  },
  test_config: {
    group: 'Configuration file',
    ...onOff,
    default: false,
    about:
      'Checks the flags, the file, and the files that they name, warns about what the configuration leaves open (docs/security.md), and exits: with exit code 2 if something is wrong.',
    flagOnly: true,
  },
} as const satisfies Record<string, OptionDefinition>
