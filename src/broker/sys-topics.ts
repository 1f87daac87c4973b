import type { Instant } from '../base/machine.ts'
import type { NoticeCounts } from '../base/notice.ts'

/** The values of the topics at one moment. "So far" marks counters that never decrease. */
export interface SysFigures {
  readonly clients: {
    readonly connected: number
    /** Sessions without a connected client. */
    readonly disconnected: number
    /** The largest number of clients connected at the same time. */
    readonly maximum: number
    /** Sessions that expired so far. */
    readonly expired: number
  }
  /** Connections opened so far. */
  readonly sockets: number
  /** CONNECT packets so far. */
  readonly connects: number
  /** Packets of all types, so far. */
  readonly messages: { readonly received: number; readonly sent: number }
  /** So far. */
  readonly publishes: { readonly received: number; readonly sent: number; readonly dropped: number }
  /** Payload bytes of PUBLISH, so far. */
  readonly publishBytes: { readonly received: number; readonly sent: number }
  /** So far. */
  readonly bytes: { readonly received: number; readonly sent: number }
  /** Messages that clients retain; the topics under `$SYS` are not among them. */
  readonly retained: number
  /**
   * Messages that are retained, queued or in flight; each receiver's copy counts, with the bytes of its topic, payload and
   * properties.
   */
  readonly stored: { readonly messages: number; readonly bytes: number }
  readonly subscriptions: { readonly plain: number; readonly shared: number }
  readonly notices: NoticeCounts
  /** Bytes of memory by kind, and the limit (Infinity: none). */
  readonly memory: { readonly limit: number; readonly used: ReadonlyMap<string, number> }
  /** Number of sensors by state. */
  readonly sensors: Readonly<Record<string, number>>
  readonly process: ProcessFigures
}

/** Figures that only the process knows; a missing figure has no topic. */
export interface ProcessFigures {
  readonly heapBytes?: number
  /** Event loop lag, ms. */
  readonly eventLoopLagMs?: number
}

export interface SysValue {
  readonly topic: string
  readonly value: string
}

const ROOT = '$SYS/broker/'
const AVERAGES_MINUTES = [1, 5, 15] as const

/**
 * The topics under `$SYS/broker/`: Mosquitto's, with its names and formats, and Roost's own under `roost/`. Returns a value only
 * when it has changed.
 */
export class SysTopics {
  readonly #version: string
  readonly #told = new Map<string, string>()
  readonly #loads = new Map<string, Load>()
  #start: Instant | undefined = undefined
  #last: Instant = 0
  #heapMaximum = 0

  /** `version` is published as it is: `roost version 1.2.3`. */
  constructor(version: string) {
    this.#version = version
  }

  /** The values that have changed; at first all. Uptime and averages count from the first call. */
  update(now: Instant, figures: SysFigures): SysValue[] {
    this.#start ??= now
    const changed: SysValue[] = []
    const tell = (name: string, value: number | string): void => {
      const text = String(value)
      if (this.#told.get(name) === text) return
      this.#told.set(name, text)
      changed.push({ topic: ROOT + name, value: text })
    }
    tell('version', this.#version)
    tell('uptime', `${Math.floor((now - this.#start) / 1000)} seconds`)
    for (const [name, value] of plainTopics(figures)) tell(name, value)
    const seconds = (now - this.#last) / 1000
    for (const [name, counter] of loadTopics(figures)) this.#load(name).update(counter, seconds, name, tell)
    this.#tellProcess(figures.process, tell)
    // Not under `roost/sensors/`, where each sensor has a topic: one may have the client id `asleep`.
    for (const [state, count] of Object.entries(figures.sensors)) tell(`roost/sensor_states/${state}`, count)
    if (figures.memory.limit < Number.POSITIVE_INFINITY) this.#tellMemory(figures.memory, tell)
    for (const [limit, count] of figures.notices.byLimit) tell(`roost/limits/${limit}`, count)
    for (const [code, count] of figures.notices.byCode) tell(`roost/notices/${code}`, count)
    this.#last = now
    return changed
  }

  #tellMemory({ limit, used }: SysFigures['memory'], tell: Tell): void {
    let sum = 0
    for (const [kind, bytes] of used) {
      sum += bytes
      tell(`roost/memory/${kind}`, Math.round(bytes))
    }
    tell('roost/memory/used', Math.round(sum))
    tell('roost/memory/limit', limit)
  }

  #tellProcess({ heapBytes, eventLoopLagMs }: ProcessFigures, tell: Tell): void {
    if (heapBytes !== undefined) {
      this.#heapMaximum = Math.max(this.#heapMaximum, heapBytes)
      tell('heap/current', heapBytes)
      tell('heap/maximum', this.#heapMaximum)
    }
    if (eventLoopLagMs !== undefined) tell('roost/event_loop_lag_ms', Math.round(eventLoopLagMs))
  }

  #load(name: string): Load {
    let load = this.#loads.get(name)
    if (load === undefined) {
      load = new Load()
      this.#loads.set(name, load)
    }
    return load
  }
}

type Tell = (name: string, value: number | string) => void

/** Rate per minute, as exponential moving averages over several spans, as Mosquitto computes it. */
class Load {
  readonly #averages = AVERAGES_MINUTES.map(() => 0)
  #counter: number | undefined = undefined

  /** `seconds` since the last update; the first one only notes the counter. */
  update(counter: number, seconds: number, name: string, tell: Tell): void {
    const perMinute = this.#counter === undefined || seconds <= 0 ? undefined : ((counter - this.#counter) * 60) / seconds
    if (perMinute !== undefined || this.#counter === undefined) this.#counter = counter
    AVERAGES_MINUTES.forEach((minutes, i) => {
      if (perMinute !== undefined) {
        const before = this.#averages[i]!
        this.#averages[i] = perMinute + Math.exp(-seconds / (60 * minutes)) * (before - perMinute)
      }
      tell(`load/${name}/${minutes}min`, this.#averages[i]!.toFixed(2))
    })
  }
}

/** Mosquitto's topics with a single number; some are published twice, also under an older name. */
const plainTopics = (figures: SysFigures): [string, number][] => {
  const { clients, messages, publishes, publishBytes, bytes, stored, subscriptions } = figures
  return [
    ['clients/total', clients.connected + clients.disconnected],
    ['clients/maximum', clients.maximum],
    ['clients/connected', clients.connected],
    ['clients/active', clients.connected],
    ['clients/disconnected', clients.disconnected],
    ['clients/inactive', clients.disconnected],
    ['clients/expired', clients.expired],
    ['messages/received', messages.received],
    ['messages/sent', messages.sent],
    ['messages/stored', stored.messages],
    ['store/messages/count', stored.messages],
    ['store/messages/bytes', stored.bytes],
    ['publish/messages/received', publishes.received],
    ['publish/messages/sent', publishes.sent],
    ['publish/messages/dropped', publishes.dropped],
    ['publish/bytes/received', publishBytes.received],
    ['publish/bytes/sent', publishBytes.sent],
    ['bytes/received', bytes.received],
    ['bytes/sent', bytes.sent],
    ['retained messages/count', figures.retained],
    ['subscriptions/count', subscriptions.plain],
    ['shared_subscriptions/count', subscriptions.shared],
  ]
}

/** Counters whose moving averages are published. */
const loadTopics = ({ messages, publishes, bytes, sockets, connects }: SysFigures): [string, number][] => [
  ['messages/received', messages.received],
  ['messages/sent', messages.sent],
  ['publish/received', publishes.received],
  ['publish/sent', publishes.sent],
  ['publish/dropped', publishes.dropped],
  ['bytes/received', bytes.received],
  ['bytes/sent', bytes.sent],
  ['sockets', sockets],
  ['connections', connects],
]
