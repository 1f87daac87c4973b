import { useEffect, useRef, useState } from 'preact/hooks'
import { queryText } from './api.ts'
import { openStream } from './stream.ts'

/** A packet as `GET /api/v1/trace` sends it. */
export interface Packet {
  readonly kind: 'packet'
  /** Counts all entries; the key of its row. */
  readonly number: number
  /** ISO 8601, UTC. */
  readonly time: string
  readonly protocol: 'mqtt' | 'mqtt-sn'
  readonly direction: 'received' | 'sent'
  readonly client: string | undefined
  readonly peer: string
  readonly topic: string | undefined
  /** Its type: `PUBLISH`. */
  readonly type: string
  /** Its fields, and the payload for those who may see it. */
  readonly rest: string
  /** Records of a capture file, in base64. */
  readonly pcap: string | undefined
}

/** Where packets are missing. */
export interface Gap {
  readonly kind: 'gap'
  readonly number: number
  readonly text: string
}

export type Entry = Packet | Gap

export interface TraceQuery {
  readonly client?: string | undefined
  readonly topic?: string | undefined
  readonly payloads?: boolean | undefined
  readonly pcap?: boolean | undefined
}

/** Entries that are kept, and characters in them: the oldest ones make room. */
export const KEPT_MAX = 5000
const KEPT_CHARACTERS = 16 * 1024 * 1024

/** Who sends or receives it, and then an arrow: `sensor-7 at 192.0.2.7:51234 -> `. A name in quotes may have an arrow in it. */
const WHO = /^(?:"(?:[^"\\]|\\.)*"(?:\.\.\.)?|\S+)(?: at (?:"(?:[^"\\]|\\.)*"(?:\.\.\.)?|\S+))? (?:->|<-) /

/** The type of a packet, and what comes behind it in its line. */
export function partsOf(line: string): readonly [type: string, rest: string] {
  const packet = line.replace(WHO, '')
  const space = packet.indexOf(' ')
  return space < 0 ? [packet, ''] : [packet.slice(0, space), packet.slice(space + 1)]
}

const weightOf = (entry: Entry): number =>
  entry.kind === 'gap' ? entry.text.length : entry.rest.length + (entry.pcap?.length ?? 0) + 200

/** The last packets of a stream, in a bounded amount of memory. */
export class TraceBuffer {
  #entries: Entry[] = []
  #characters = 0
  #number = 0
  /** Packets that made room for later ones. */
  dropped = 0

  get entries(): readonly Entry[] {
    return this.#entries
  }

  packet({ line, ...event }: { readonly line: string } & Omit<Packet, 'kind' | 'number' | 'type' | 'rest'>): void {
    const [type, rest] = partsOf(line)
    const { time, protocol, direction, client, peer, topic, pcap } = event
    this.#add({ kind: 'packet', number: this.#number++, time, protocol, direction, client, peer, topic, type, rest, pcap })
  }

  gap(text: string): void {
    this.#add({ kind: 'gap', number: this.#number++, text })
  }

  clear(): void {
    this.#entries = []
    this.#characters = 0
    this.dropped = 0
  }

  #add(entry: Entry): void {
    // Another array each time: the one before may be on the page.
    const isFull = this.#entries.length >= KEPT_MAX || this.#characters + weightOf(entry) > KEPT_CHARACTERS
    this.#entries.push(entry)
    this.#characters += weightOf(entry)
    if (!isFull) return
    // A tenth at once, so that not every packet moves all the others.
    const leaving = this.#entries.splice(0, Math.max(1, Math.floor(this.#entries.length / 10)))
    for (const each of leaving) this.#characters -= weightOf(each)
    this.dropped += leaving.filter(({ kind }) => kind === 'packet').length
  }
}

/** Milliseconds between two updates of the page. */
const SHOWN_EVERY_MS = 120

export interface Trace {
  readonly entries: readonly Entry[]
  readonly dropped: number
  /** `lost` with a reason, and then it is tried again. */
  readonly state: 'connecting' | 'open' | 'lost' | 'off'
  readonly reason: string
  readonly clear: () => void
}

/** Streams packets while `isOn`. What came before another filter stays, with a line between. */
export function useTrace({ client, topic, payloads, pcap }: TraceQuery, isOn = true): Trace {
  const buffer = useRef(new TraceBuffer())
  const [shown, setShown] = useState<{ readonly entries: readonly Entry[]; readonly dropped: number }>(NOTHING)
  const [{ state, reason }, setState] = useState<Pick<Trace, 'state' | 'reason'>>({ state: 'connecting', reason: '' })
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const show = (): void => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      setShown({ entries: [...buffer.current.entries], dropped: buffer.current.dropped })
    }, SHOWN_EVERY_MS)
  }
  useEffect(() => {
    if (!isOn) {
      setState({ state: 'off', reason: '' })
      return
    }
    let wasLost = false
    const query = queryText({ client, topic, payloads: payloads || undefined, pcap: pcap || undefined })
    const close = openStream(`/api/v1/trace${query}`, {
      onState: (now, why) => {
        if (now === 'open' && wasLost) buffer.current.gap('The connection was lost. Packets are missing here.')
        wasLost = now === 'lost'
        setState({ state: now, reason: why })
        show()
      },
      onEvent: ({ name, data }) => {
        const event = JSON.parse(data)
        if (name === 'packet') buffer.current.packet(event)
        else if (name === 'missed')
          buffer.current.gap(`${event.packets} packets are missing here: they came faster than they were read.`)
        show()
      },
    })
    return () => {
      close()
      clearTimeout(timer.current)
      timer.current = undefined
    }
  }, [client, topic, payloads, pcap, isOn])
  return {
    ...shown,
    state,
    reason,
    clear: () => {
      buffer.current.clear()
      setShown(NOTHING)
    },
  }
}

const NOTHING = { entries: [], dropped: 0 }

/** `04:10:24.120` by the clock of whoever looks. */
export function clockOf(time: string): string {
  const at = new Date(time)
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
