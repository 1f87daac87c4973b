import { queryText } from './api.ts'
import { openStream } from './stream.ts'

/** A packet that came or went. */
export interface TraceLine {
  /** Of this page. */
  readonly id: number
  /** ISO 8601. */
  readonly time: string
  readonly protocol: 'mqtt' | 'mqtt-sn'
  readonly direction: 'received' | 'sent'
  readonly client?: string
  readonly peer?: string
  readonly topic?: string
  readonly line: string
}

export interface TraceFilter {
  /** Pattern of client ids, with `*`. */
  readonly client?: string
  /** Topic filter. */
  readonly topic?: string
  /** Needs a user who may manage. */
  readonly payloads?: boolean
  /** Adds the records of a capture file. */
  readonly pcap?: boolean
}

export interface TraceListener {
  readonly onLine: (line: TraceLine) => void
  /** Packets that were left out because the page was too slow. */
  readonly onMissed: (packets: number) => void
  readonly onState: (state: 'open' | 'lost', reason: string) => void
  /** Records of a capture file in base64, also those that end a connection. */
  readonly onRecords?: (base64: string) => void
}

let lastId = 0

/** Follows packets until the returned function is called. */
export function openTrace(filter: TraceFilter, { onLine, onMissed, onState, onRecords }: TraceListener): () => void {
  const { payloads = false, pcap = false, ...rest } = filter
  const query = { ...rest, ...(payloads && { payloads }), ...(pcap && { pcap }) }
  return openStream(`/api/v1/trace${queryText(query)}`, {
    onState,
    onEvent: ({ name, data }) => {
      const event = JSON.parse(data) as TraceLine & { readonly pcap?: string; readonly packets?: number }
      if (event.pcap !== undefined) onRecords?.(event.pcap)
      if (name === 'packet') onLine({ ...event, id: ++lastId })
      else if (name === 'missed') onMissed(event.packets ?? 0)
    },
  })
}
