import type { MessageFacts } from '../broker/conditions.ts'
import type { Publish } from '../mqtt/publish.ts'
import { JSON_VALUES_MAX, PROPERTIES_MAX } from './bounds.ts'
import type { Contents } from './contents.ts'
import { type Content, JSON_BYTES_MAX } from './json-text.ts'

/** Bytes of JSON that are parsed in the time of a step. */
const JSON_BYTES_PER_STEP = 8

/** What the payload says, with the number of its values; or why it says nothing. */
export type Json = { readonly value: unknown; readonly values: number } | { readonly error: string }

/** A user property whose name comes once, or several times. */
export type PropertyValue = string | readonly string[]

/** What conditions see of a message. The parts that take time are made when they are first asked for, once for all conditions. */
export class Facts implements MessageFacts {
  readonly serial: number
  spent = 0
  until = 0
  /** Milliseconds since 1970. */
  readonly wall: number
  /** What the language of the conditions makes of these facts, once for each message. */
  view: object | undefined = undefined
  readonly #message: Publish
  readonly #contents: Contents
  #json: Json | undefined = undefined

  constructor(serial: number, message: Publish, wall: number, contents: Contents) {
    this.serial = serial
    this.wall = wall
    this.#message = message
    this.#contents = contents
  }

  get topic(): string {
    return this.#message.topic
  }

  get levels(): readonly string[] {
    return this.#message.topic.split('/')
  }

  get payload(): Uint8Array {
    return this.#message.payload
  }

  get qos(): number {
    return this.#message.qos
  }

  get retain(): boolean {
    return this.#message.retain
  }

  get contentType(): string {
    return this.#message.properties.contentType ?? ''
  }

  get payloadFormat(): number {
    return this.#message.properties.payloadFormatIndicator ?? 0
  }

  /** Undefined if there are more than `PROPERTIES_MAX`. */
  get properties(): ReadonlyMap<string, PropertyValue> | undefined {
    const { userProperties = [] } = this.#message.properties
    if (userProperties.length > PROPERTIES_MAX) return undefined
    this.spent += userProperties.length
    const byName = new Map<string, string | string[]>()
    for (const [name, value] of userProperties) {
      const before = byName.get(name)
      if (before === undefined) byName.set(name, value)
      else if (typeof before === 'string') byName.set(name, [before, value])
      else before.push(value)
    }
    return byName
  }

  /** Of the publisher; '' for a message of the broker itself. */
  get clientId(): string {
    const { from } = this.#message
    return from.slice(from.indexOf(':') + 1)
  }

  get type(): string {
    return this.#contents.types.of(this.#message.topic)?.name ?? ''
  }

  get json(): Json {
    if (this.#json === undefined) {
      this.#json = jsonOf(this.#contents.of(this.#message))
      this.spent += Math.ceil(Math.min(JSON_BYTES_MAX, this.#message.payloadLength) / JSON_BYTES_PER_STEP)
    }
    return this.#json
  }

  /** Values of `json`; 0 if it was not asked for. */
  get jsonValues(): number {
    return this.#json !== undefined && 'values' in this.#json ? this.#json.values : 0
  }
}

function jsonOf(content: Content): Json {
  if ('problem' in content) return { error: `the payload ${content.problem}` }
  const { value } = content
  const values = countValues(value)
  return values > JSON_VALUES_MAX ? { error: `the payload has more than ${JSON_VALUES_MAX} values` } : { value, values }
}

/** More than `JSON_VALUES_MAX` if it has more. Its depth is bounded (json-text.ts). */
function countValues(value: unknown): number {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return 1
  let sum = 1
  for (const each of Array.isArray(value) ? value : Object.values(value)) {
    sum += countValues(each)
    if (sum > JSON_VALUES_MAX) break
  }
  return sum
}
