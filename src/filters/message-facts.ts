import type { MessageFacts } from '../broker/conditions.ts'
import type { Publish } from '../mqtt/publish.ts'
import { JSON_VALUES_MAX } from './bounds.ts'
import type { Contents } from './contents.ts'
import { JSON_BYTES_MAX, JSON_DEPTH_MAX } from './json-text.ts'

/** Bytes of JSON that are parsed in the time of a step. */
const JSON_BYTES_PER_STEP = 8

/** What the payload says, JSON or what a layout makes of it, with the number of its values; or why it says nothing. */
export type Json = { readonly value: unknown; readonly values: number } | { readonly error: string }

/** A user property whose name comes once, or several times. */
export type PropertyValue = string | readonly string[]

/** What conditions see of a message. The parts that take time are made when they are first asked for, once for all conditions. */
export class Facts implements MessageFacts {
  readonly serial: number
  spent = 0
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

  get properties(): ReadonlyMap<string, PropertyValue> {
    const byName = new Map<string, PropertyValue>()
    for (const [name, value] of this.#message.properties.userProperties ?? []) {
      const before = byName.get(name)
      byName.set(name, before === undefined ? value : typeof before === 'string' ? [before, value] : [...before, value])
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
      this.#json = counted(this.#contents.of(this.#message))
      this.spent += Math.ceil(Math.min(JSON_BYTES_MAX, this.#message.payloadLength) / JSON_BYTES_PER_STEP)
    }
    return this.#json
  }

  /** Values of `json`; 0 if it was not asked for. */
  get jsonValues(): number {
    return this.#json !== undefined && 'values' in this.#json ? this.#json.values : 0
  }
}

function counted(content: ReturnType<Contents['of']>): Json {
  if ('problem' in content) return { error: `the payload ${content.problem}` }
  const { value } = content
  const values = countValues(value, 1)
  return values > JSON_VALUES_MAX ? { error: `the payload has more than ${JSON_VALUES_MAX} values` } : { value, values }
}

/** More than `JSON_VALUES_MAX` if it is too large or too deep. */
function countValues(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null) return 1
  if (depth > JSON_DEPTH_MAX) return JSON_VALUES_MAX + 1
  let sum = 1
  for (const each of Array.isArray(value) ? value : Object.values(value)) {
    sum += countValues(each, depth + 1)
    if (sum > JSON_VALUES_MAX) break
  }
  return sum
}
