import type { QoS } from '../mqtt/publish.ts'
import { covers } from '../mqtt/topics.ts'

export type Direction = 'in' | 'out' | 'both'

/** One `topic` of a bridge, as in mosquitto.conf: `topic PATTERN DIRECTION QOS LOCAL_PREFIX REMOTE_PREFIX`. */
export interface BridgeTopic {
  /** A topic filter, to be added to either prefix; '' if the prefixes are two complete topics. */
  readonly pattern: string
  readonly direction: Direction
  /** Maximum QoS of its messages. */
  readonly qos: QoS
  readonly localPrefix: string
  readonly remotePrefix: string
}

/** A subscription that a bridge makes, on one side. */
export interface BridgeFilter {
  readonly filter: string
  readonly qos: QoS
}

/** From the topics of one side to those of the other. */
interface Rule {
  readonly filter: string
  readonly from: string
  readonly to: string
}

export const localFilter = ({ pattern, localPrefix }: BridgeTopic): string => localPrefix + pattern
export const remoteFilter = ({ pattern, remotePrefix }: BridgeTopic): string => remotePrefix + pattern

/**
 * The topics of a bridge in both directions. A message is sent once, even if several entries match its topic: the first of them in
 * the order of the file determines its topic on the other side, as in Mosquitto.
 */
export class TopicMap {
  /** What it subscribes to at the local broker: the topics that go out. */
  readonly local: readonly BridgeFilter[]
  /** What it subscribes to at the remote broker: the topics that come in. */
  readonly remote: readonly BridgeFilter[]
  readonly #out: readonly Rule[]
  readonly #in: readonly Rule[]

  constructor(topics: readonly BridgeTopic[]) {
    const out = topics.filter(({ direction }) => direction !== 'in')
    const into = topics.filter(({ direction }) => direction !== 'out')
    this.local = filtersOf(out, localFilter)
    this.remote = filtersOf(into, remoteFilter)
    this.#out = out.map((topic) => ({ filter: localFilter(topic), from: topic.localPrefix, to: topic.remotePrefix }))
    this.#in = into.map((topic) => ({ filter: remoteFilter(topic), from: topic.remotePrefix, to: topic.localPrefix }))
  }

  /** The topic that a local message has at the remote broker; `undefined` if it does not go there. */
  toRemote(topic: string): string | undefined {
    return mapped(this.#out, topic)
  }

  /** The topic that a message of the remote broker has here; `undefined` if none was asked for. */
  toLocal(topic: string): string | undefined {
    return mapped(this.#in, topic)
  }
}

function mapped(rules: readonly Rule[], topic: string): string | undefined {
  for (const { filter, from, to } of rules) {
    if (!covers(filter, topic)) continue
    if (from === to) return topic
    // `site/#` also matches its parent `site`, which is one slash shorter than the prefix `site/`.
    const isParent = topic.length < from.length
    const found = isParent ? to.replace(/\/$/, '') : to + topic.slice(from.length)
    if (found !== '') return found
  }
  return undefined
}

/** Each filter once, with the highest QoS that is asked for it. */
function filtersOf(topics: readonly BridgeTopic[], filterOf: (topic: BridgeTopic) => string): BridgeFilter[] {
  const found = new Map<string, QoS>()
  for (const topic of topics) {
    const filter = filterOf(topic)
    found.set(filter, Math.max(found.get(filter) ?? 0, topic.qos) as QoS)
  }
  return Array.from(found, ([filter, qos]) => ({ filter, qos }))
}
