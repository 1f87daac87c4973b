import { type Entry, KIB, MIB, wholeOrDerived } from './kinds.ts'

const MOST = 1024 * KIB * MIB

/** What peers may make the process hold. */
export const MEMORY_OPTIONS = {
  memory_limit: {
    group: 'Memory',
    ...wholeOrDerived(8 * MIB, MOST),
    default: 0,
    about:
      "Bytes of all that peers make the process hold, above which what is new is refused: sessions, subscriptions, topic ids, and messages that would have to wait; 0 is 60 % of what Node.js may use (V8's heap, the container, ulimit) beyond the first 64 MiB, and the start says how much that is.",
  },
  max_memory_per_client: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'Bytes of that for one client: its subscriptions, topic ids, will, what it has retained, and what waits for it, in full for each who waits; 0 is a quarter of memory_limit.',
  },
  max_memory_per_user: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about: 'The same for all clients of one user; anonymous clients count for none; 0 is half of memory_limit.',
  },
  max_memory_per_address: {
    group: 'Memory',
    ...wholeOrDerived(64 * KIB, MOST),
    default: 0,
    about:
      'The same for all clients of one IPv4 address or one /64 of IPv6, where each was last; a forwarder of sensors is one address; 0 is half of memory_limit.',
  },
} as const satisfies Record<string, Entry>
