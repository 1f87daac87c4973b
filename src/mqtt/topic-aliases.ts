import type { Malformed } from '../base/malformed.ts'
import { COST } from '../base/memory-costs.ts'
import { SmallMap } from '../base/small-map.ts'
import type { Publish } from './publish.ts'
import { ReasonCode } from './reason-codes.ts'
import type { ByteCount } from './topic-names.ts'

/** Topics no longer than an alias are sent as they are. */
const WORTH_AN_ALIAS = 8

/**
 * Topic aliases of one direction of one connection [5.0 section 3.3.2.3.4]: limited in number and in bytes of their topics,
 * because the peer chooses both.
 */
export class TopicAliases {
  readonly #count: ByteCount
  readonly #max: number
  readonly #bytesMax: number
  readonly #topics = new SmallMap<number, string>()
  readonly #aliases = new SmallMap<string, number>()
  #bytes = 0

  /** `count`: receives the bytes of memory that they take. */
  constructor(max: number, bytesMax: number, count: ByteCount = { sum: 0 }) {
    this.#count = count
    this.#max = max
    this.#bytesMax = bytesMax
  }

  /** Their counted bytes of memory. */
  #counted = 0

  #recount(): void {
    const bytes = this.#bytes + (this.#topics.size + this.#aliases.size) * COST.alias
    this.#count.sum += bytes - this.#counted
    this.#counted = bytes
  }

  /** The connection is gone. */
  forget(): void {
    this.#count.sum -= this.#counted
    this.#counted = 0
  }

  topic(alias: number): string | undefined {
    return this.#topics.get(alias)
  }

  /** Sets the topic of an alias of the peer, or replaces it; false if that exceeds their memory limit. */
  set(alias: number, topic: string): boolean {
    const old = this.#topics.get(alias)
    const bytes = this.#bytes + topic.length - (old?.length ?? 0)
    if (bytes > this.#bytesMax) return false
    this.#bytes = bytes
    this.#topics.set(alias, topic)
    this.#recount()
    return true
  }

  /** The alias under which the peer knows this topic; 0 if it has none. */
  alias(topic: string): number {
    return this.#aliases.get(topic) ?? 0
  }

  /** The topic of an assigned alias, for traces: it is searched for. */
  assigned(alias: number): string | undefined {
    for (const [topic, one] of this.#aliases) if (one === alias) return topic
    return undefined
  }

  /**
   * Assigns the next free alias to a topic, first come, first served: sites repeat their topics. 0 if there is none, or it is not
   * worth one.
   */
  assign(topic: string): number {
    const alias = this.#aliases.size + 1
    // [MQTT-3.3.2-11]
    if (alias > this.#max || topic.length <= WORTH_AN_ALIAS || this.#bytes + topic.length > this.#bytesMax) return 0
    this.#aliases.set(topic, alias)
    this.#bytes += topic.length
    this.#recount()
    return alias
  }

  /** The packet with the last assigned alias was not sent. */
  withdraw(topic: string): void {
    if (!this.#aliases.delete(topic)) return
    this.#bytes -= topic.length
    this.#recount()
  }
}

/**
 * Sets the topic of a received message from its alias, one of up to `max` with `maxBytes` of topics; returns what is wrong with the
 * alias, if anything. They last as long as the stream (MQTT-3.3.2-7).
 */
export function resolveAlias(
  stream: { aliases: TopicAliases | undefined },
  packet: Publish,
  max: number,
  maxBytes: number,
  count: ByteCount,
): Malformed | undefined {
  const alias = packet.properties.topicAlias
  if (alias === undefined) return undefined
  // [MQTT-3.2.2-17] [MQTT-3.2.2-18] [MQTT-3.3.2-9] [MQTT-3.3.2-12]
  if (alias > max) {
    const reason = `topic alias ${alias} is above ${max}`
    return wrongAlias(reason, 'MQTT-3.3.2-9', ReasonCode.TOPIC_ALIAS_INVALID, 'max_topic_alias')
  }
  // [MQTT-3.3.2-7]
  stream.aliases ??= new TopicAliases(max, maxBytes, count)
  if (packet.topic !== '') {
    if (stream.aliases.set(alias, packet.topic)) return undefined
    const reason = `topic aliases hold more than ${maxBytes} bytes`
    return wrongAlias(reason, '5.0 section 3.3.2.3.4', ReasonCode.QUOTA_EXCEEDED, 'max_topic_alias_bytes')
  }
  const topic = stream.aliases.topic(alias)
  if (topic === undefined) return wrongAlias(`topic alias ${alias} was never set`, '5.0 section 3.3.4', ReasonCode.PROTOCOL_ERROR)
  packet.topic = topic
  return undefined
}

const wrongAlias = (reason: string, rule: string, reasonCode: number, limit?: string): Malformed => ({
  kind: 'malformed',
  reason,
  rule,
  reasonCode,
  ...(limit !== undefined && { limit }),
})
