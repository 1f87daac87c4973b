import { decodeUtf8, utf8Error } from '../base/bytes.ts'
import type { MessageFacts } from '../broker/conditions.ts'
import type { Publish } from '../mqtt/publish.ts'
import { JSON_BYTES_MAX, JSON_DEPTH_MAX, JSON_VALUES_MAX } from './bounds.ts'

/** Bytes of JSON that are parsed in the time of a step. */
const JSON_BYTES_PER_STEP = 8

/** The payload as JSON, with the number of its values; or why it is none. */
export type Json = { readonly value: unknown; readonly values: number } | { readonly error: string }

/** A user property whose name comes once, or several times. */
export type PropertyValue = string | readonly string[]

/** Says which type a topic has (`types` in the configuration); '' if it has none. */
export type TypeOf = (topic: string) => string

/** What conditions see of a message. The parts that take time are made when they are first asked for, once for all conditions. */
export class Facts implements MessageFacts {
  readonly serial: number
  spent = 0
  /** Milliseconds since 1970. */
  readonly wall: number
  /** What the language of the conditions makes of these facts, once for each message. */
  view: object | undefined = undefined
  readonly #message: Publish
  readonly #typeOf: TypeOf
  #json: Json | undefined = undefined

  constructor(serial: number, message: Publish, wall: number, typeOf: TypeOf) {
    this.serial = serial
    this.wall = wall
    this.#message = message
    this.#typeOf = typeOf
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
    return this.#typeOf(this.#message.topic)
  }

  get json(): Json {
    if (this.#json === undefined) {
      this.#json = parsed(this.#message.payload)
      this.spent += Math.ceil(Math.min(JSON_BYTES_MAX, this.#message.payloadLength) / JSON_BYTES_PER_STEP)
    }
    return this.#json
  }

  /** Values of `json`; 0 if it was not asked for. */
  get jsonValues(): number {
    return this.#json !== undefined && 'values' in this.#json ? this.#json.values : 0
  }
}

/** Within the bounds of bounds.ts. */
function parsed(payload: Uint8Array): Json {
  if (payload.length > JSON_BYTES_MAX) return { error: `the payload is too long for json (${JSON_BYTES_MAX} bytes)` }
  if (utf8Error(payload, 0, payload.length) !== '') return { error: 'the payload is not JSON' }
  let value: unknown
  try {
    value = JSON.parse(decodeUtf8(payload, 0, payload.length))
  } catch {
    return { error: 'the payload is not JSON' }
  }
  const values = countValues(value, 1)
  return values > JSON_VALUES_MAX
    ? { error: `the JSON is too deep or has too many values (${JSON_DEPTH_MAX} levels, ${JSON_VALUES_MAX} values)` }
    : { value, values }
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
