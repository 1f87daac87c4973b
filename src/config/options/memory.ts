import { type Entry, KIB, MIB, wholeOrDerived } from './kinds.ts'

const MOST = 1024 * KIB * MIB

/** What peers may make the process hold. */
export const MEMORY_OPTIONS = {
  memory_limit: {
    group: 'Memory',
    common: true,
    ...wholeOrDerived(8 * MIB, MOST),
    default: 0,
    about:
      "Bytes that clients may make the process hold. Above this, new sessions, subscriptions, topic ids and messages that would have to wait are refused; 0 is 60 % of what Node.js may use (V8's heap, the container, ulimit) beyond the first 64 MiB, which is logged at the start.",
  },
  max_memory_per_client: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'How much of it one client may take: its subscriptions, topic ids, will, retained messages, and what waits for it (a message that waits for several clients counts in full for each); 0 is a quarter of memory_limit.',
  },
  max_memory_per_user: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about: 'How much all clients of one user may take; only verified user names count; 0 is half of memory_limit.',
  },
  max_memory_per_address: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'How much all clients last seen at one IPv4 address or IPv6 /64 may take; a forwarder and its sensors are one address; 0 is half of memory_limit.',
  },
} as const satisfies Record<string, Entry>
