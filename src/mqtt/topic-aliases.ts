/** Topics that are as short as an alias are sent as they are. */
const WORTH_AN_ALIAS = 8

/**
 * Topic aliases of one direction of one connection [5.0 section 3.3.2.3.4]: bounded in number and in the bytes of their topics, because the
 * peer chooses both.
 */
export class TopicAliases {
  readonly #max: number
  readonly #bytesMax: number
  readonly #topics = new Map<number, string>()
  readonly #aliases = new Map<string, number>()
  #bytes = 0

  constructor(max: number, bytesMax: number) {
    this.#max = max
    this.#bytesMax = bytesMax
  }

  topic(alias: number): string | undefined {
    return this.#topics.get(alias)
  }

  /** The peer gives a topic its alias, perhaps instead of another; false if that exceeds the memory for it. */
  set(alias: number, topic: string): boolean {
    const old = this.#topics.get(alias)
    const bytes = this.#bytes + topic.length - (old?.length ?? 0)
    if (bytes > this.#bytesMax) return false
    this.#bytes = bytes
    this.#topics.set(alias, topic)
    return true
  }

  /** The alias under which the peer knows this topic; 0 if it has none. */
  alias(topic: string): number {
    return this.#aliases.get(topic) ?? 0
  }

  /** The next free alias for a topic, first come, first served: sites repeat their topics. 0 if there is none, or it is not worth one. */
  assign(topic: string): number {
    const alias = this.#aliases.size + 1
    if (alias > this.#max || topic.length <= WORTH_AN_ALIAS || this.#bytes + topic.length > this.#bytesMax) return 0
    this.#aliases.set(topic, alias)
    this.#bytes += topic.length
    return alias
  }

  /** The packet that was to tell of the last assigned alias did not go out. */
  withdraw(topic: string): void {
    if (this.#aliases.delete(topic)) this.#bytes -= topic.length
  }
}
