/** A part of JSON Schema that OpenAPI 3.1 and ajv understand alike. */
export interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean'
  readonly description?: string
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly pattern?: string
  readonly contentEncoding?: 'base64'
  readonly items?: Schema
  readonly minItems?: number
  readonly maxItems?: number
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly oneOf?: readonly Schema[]
}

/** What a route takes and returns, for requests to be checked by, for the OpenAPI document, and for tests of the answers. */
export interface RouteSpec {
  /** One line. */
  readonly summary: string
  /** Further sentences. */
  readonly description?: string
  /** Group in the document. */
  readonly tag: string
  /** Of each `:name` in the path. */
  readonly params?: Readonly<Record<string, Schema>>
  readonly query?: Readonly<Record<string, Schema>>
  /** Query parameters that must be there. */
  readonly requiredQuery?: readonly string[]
  /** Of the JSON body, which must be there; none if absent. */
  readonly body?: Schema
  /** By status. Problems of all routes (`PROBLEMS` in openapi.ts) need no mention. */
  readonly answers: Readonly<Record<number, Answer>>
}

export interface Answer {
  readonly description: string
  /** application/json if absent. */
  readonly type?: string
  /** Absent: there is no body, or none that a schema describes. */
  readonly schema?: Schema
}

export const text = (description: string, more: Partial<Schema> = {}): Schema => ({ type: 'string', description, ...more })
/** Checked where it is decoded: a pattern takes 20 ms for a megabyte. */
export const base64 = (description: string): Schema => text(description, { contentEncoding: 'base64' })
export const oneOfWords = (description: string, words: readonly string[]): Schema => text(description, { enum: words })
export const whole = (description: string, minimum = 0, maximum?: number): Schema => ({
  type: 'integer',
  description,
  minimum,
  ...(maximum !== undefined && { maximum }),
})
export const decimal = (description: string): Schema => ({ type: 'number', description })
export const flag = (description: string): Schema => ({ type: 'boolean', description })
export const listOf = (items: Schema, description?: string): Schema => ({
  type: 'array',
  items,
  ...(description !== undefined && { description }),
})
/** Other properties than these are wrong. Those of `optional` may be absent. */
export const object = (
  properties: Readonly<Record<string, Schema>>,
  optional: Readonly<Record<string, Schema>> = {},
): Schema => ({
  type: 'object',
  properties: { ...properties, ...optional },
  required: Object.keys(properties),
  additionalProperties: false,
})
/** Names that are not known in advance. */
export const mapOf = (values: Schema, description: string): Schema => ({
  type: 'object',
  description,
  additionalProperties: values,
})

/** Of all lists that come in pages. */
export const PAGE_LIMIT_MAX = 1000
export const PAGE_LIMIT = 100
export const PAGE_QUERY = {
  cursor: text('`cursor` of the page before: the list continues after it'),
  limit: whole(`entries at most; ${PAGE_LIMIT} if absent`, 1, PAGE_LIMIT_MAX),
} as const
export const NEXT_CURSOR = text('for the next page; absent on the last one')

/** RFC 9457. */
export const PROBLEM: Schema = object({
  status: whole('HTTP status', 400, 599),
  title: text('its name'),
  detail: text('what is wrong, in one sentence'),
})
