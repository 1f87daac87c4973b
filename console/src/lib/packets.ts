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

/** `04:10:24.120` in the time zone of the browser. */
export function clockOf(time: string): string {
  const at = new Date(time)
  const two = (value: number): string => String(value).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, '0')}`
}
