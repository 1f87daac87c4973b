import type { Server } from '../server.ts'

/** Totals of this moment, as the topics under `$SYS` have them. "So far" marks counters, since the start. */
export interface Figures {
  readonly clients: {
    /** Sleeping sensors are among them, and the subscriptions of this program. */
    readonly connected: number
    /** Sessions without a connected client. */
    readonly disconnected: number
    /** Most clients at the same time so far. */
    readonly maximum: number
    /** Sessions that expired so far. */
    readonly expired: number
  }
  /** Number of sensors by state. */
  readonly sensors: Readonly<Record<'active' | 'asleep' | 'awake' | 'lost' | 'disconnected', number>>
  /** CONNECT packets so far. */
  readonly connects: number
  /** Packets of all types so far. */
  readonly packets: { readonly received: number; readonly sent: number }
  /** PUBLISH so far; dropped: deliveries. */
  readonly messages: { readonly received: number; readonly sent: number; readonly dropped: number }
  /** Bytes of payload so far. */
  readonly payloadBytes: { readonly received: number; readonly sent: number }
  /** Bytes so far. */
  readonly bytes: { readonly received: number; readonly sent: number }
  /** Retained messages, with the bytes of topics, payloads and properties. */
  readonly retained: { readonly messages: number; readonly bytes: number }
  /** Queued or in flight; each receiver counts. */
  readonly waiting: { readonly messages: number; readonly bytes: number }
  readonly subscriptions: { readonly plain: number; readonly shared: number }
  /** Bytes that clients make the broker hold, and the limit (memory_limit). */
  readonly memory: { readonly used: number; readonly limit: number }
  /** Number of notices so far, by code (docs/notices.md), and how often a limit was reached, by its key in the file. */
  readonly notices: Readonly<Record<string, number>>
  readonly limits: Readonly<Record<string, number>>
}

export function figuresOf(server: Server): Figures {
  const { clients, connects, messages, publishes, publishBytes, bytes, stored, subscriptions, notices, memory } = server.figures()
  const { count, bytes: retainedBytes } = server.broker.retained
  return {
    clients,
    sensors: { ...server.gateway.sensors.counts },
    connects,
    packets: messages,
    messages: publishes,
    payloadBytes: publishBytes,
    bytes,
    retained: { messages: count, bytes: retainedBytes },
    waiting: { messages: stored.messages - count, bytes: stored.bytes - retainedBytes },
    subscriptions,
    memory: { used: Math.round([...memory.used.values()].reduce((sum, each) => sum + each, 0)), limit: memory.limit },
    notices: Object.fromEntries(notices.byCode),
    limits: Object.fromEntries(notices.byLimit),
  }
}
