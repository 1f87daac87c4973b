import { ownText } from '../base/bytes.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { TopicTree } from '../broker/topic-tree.ts'
import type { Layout } from './binary-layout.ts'

/** A type of messages, as configured. */
export interface TypeDefinition {
  readonly name: string
  /** Topic filters: which messages are of this type. */
  readonly topics: readonly string[]
  /** Content Type of messages whose publisher gives none. */
  readonly contentType?: string | undefined
  readonly schema?: SchemaText | undefined
  readonly layout?: Layout | undefined
  /** What happens to a message that does not fit. */
  readonly invalid: 'refuse' | 'mark'
  /** How one of an MQTT 3 client is refused. */
  readonly invalidMqtt3: 'acknowledge' | 'close'
}

/** A JSON Schema that was read and not compiled. */
export interface SchemaText {
  readonly value: Readonly<Record<string, unknown>>
  /** Where the part is that a JSON pointer names, for errors: `reading.json:7:5: /properties/value`. */
  placeOf(pointer: string): string
}

/** Topics whose type is remembered, and their longest name in characters: topic names are the peers' choice. */
const TOPICS_MAX = 16_384
const TOPIC_CHARACTERS_MAX = 1024

/** Finds the type of a topic: of the definitions with a filter that matches, the first. */
export class TopicTypes {
  readonly definitions: readonly TypeDefinition[]
  readonly #byFilter = new TopicTree<number, TypeDefinition>()
  /** Answers of before: a match takes ten times as long as a look here. */
  readonly #known = new Map<string, TypeDefinition | null>()
  #knownBytes = 0

  constructor(definitions: readonly TypeDefinition[]) {
    this.definitions = definitions
    for (const [order, definition] of definitions.entries())
      for (const filter of definition.topics) this.#byFilter.set(filter, order, definition)
  }

  of(topic: string): TypeDefinition | undefined {
    if (this.#byFilter.size === 0) return undefined
    const known = this.#known.get(topic)
    if (known !== undefined) return known ?? undefined
    const matching: TypeDefinition[] = []
    this.#byFilter.match(topic, (definition, order) => {
      matching[order] = definition
    })
    // Sparse: the lowest order that there is.
    const found = matching.find((definition) => definition !== undefined)
    this.#remember(topic, found)
    return found
  }

  /** What the remembered topics take in memory. */
  get bytes(): number {
    return this.#knownBytes
  }

  #remember(topic: string, found: TypeDefinition | undefined): void {
    if (topic.length > TOPIC_CHARACTERS_MAX) return
    if (this.#known.size >= TOPICS_MAX) {
      this.#known.clear()
      this.#knownBytes = 0
    }
    this.#known.set(ownText(topic), found ?? null)
    this.#knownBytes += COST.entry + stringBytes(topic)
  }
}
