import { KIB, MIB, type OptionDefinition, wholeOrDerived } from './kinds.ts'

const MOST = 1024 * KIB * MIB

/** Limits on the memory that clients may use. */
export const MEMORY_OPTIONS = {
  memory_limit: {
    group: 'Memory',
    ...wholeOrDerived(8 * MIB, MOST),
    default: 0,
    about:
      "Memory in bytes that clients may make the process use. Above it, new sessions, subscriptions, topic ids and messages that would have to be queued are refused. 0 means 60 % of what is left of the memory that Node.js may use (V8's heap, the container, ulimit) after 160 MiB for the process itself, or 80 MiB with memory: true; the figure is logged at startup.",
  },
  max_memory_per_client: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'Part of memory_limit that one client may use: its subscriptions, topic ids, will, retained messages and queue (a message queued for several clients counts in full for each); 0 means a quarter.',
  },
  max_memory_per_user: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about: 'Part of memory_limit that all clients of one authenticated user may use; 0 means half.',
  },
  max_memory_per_address: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'Part of memory_limit that all clients last seen at one IPv4 address or IPv6 /64 may use; a forwarder and its sensors are one address; 0 means half.',
  },
} as const satisfies Record<string, OptionDefinition>
