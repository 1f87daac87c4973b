import { didYouMean } from '../base/nearest.ts'
import type { RouteSpec, Schema } from './schema.ts'

/** Schemas that requests of a route are checked by: the parameters and the body that it does not take are wrong. */
export function requestSchema({ query = {}, requiredQuery = [], body }: RouteSpec): { querystring: Schema; body?: Schema } {
  const querystring: Schema = { type: 'object', properties: query, required: requiredQuery, additionalProperties: false }
  return body === undefined ? { querystring } : { querystring, body }
}

/** Numbers and truth values in a query, as its schema has them: what is neither stays text, and is refused by its type. */
export const typedQuery = (query: Readonly<Record<string, string>>, schemas: Readonly<Record<string, Schema>>): object =>
  Object.fromEntries(
    Object.entries(query).map(([name, value]) => {
      const type = Object.hasOwn(schemas, name) ? schemas[name]!.type : undefined
      if (type === 'integer' && /^-?\d{1,15}$/.test(value)) return [name, Number(value)]
      if (type === 'boolean' && (value === 'true' || value === 'false')) return [name, value === 'true']
      return [name, value]
    }),
  )

/** An error of ajv. */
export interface SchemaError {
  /** `/properties/qos`; '' for the whole. */
  readonly instancePath: string
  readonly keyword: string
  readonly message?: string
  readonly params: Readonly<Record<string, unknown>>
}

/** Says which field of a request is wrong: `limit: must be <= 1000`. */
export function schemaErrorWords(
  { instancePath, keyword, message = 'is wrong', params }: SchemaError,
  known: readonly string[],
): string {
  const path = instancePath.slice(1).replaceAll('/', '.').replaceAll('~1', '/').replaceAll('~0', '~')
  const field = (name: unknown): string => (path === '' ? String(name) : `${path}.${String(name)}`).slice(0, FIELD_MAX)
  if (keyword === 'required') return `${field(params.missingProperty)}: is missing`
  if (keyword === 'additionalProperties') {
    const name = String(params.additionalProperty).slice(0, FIELD_MAX)
    return `${field(name)}: is not known here${path === '' ? didYouMean(name, known) : ''}`
  }
  return `${path === '' ? 'the body' : path.slice(0, FIELD_MAX)}: ${rule(keyword, message, params)}`
}

function rule(keyword: string, message: string, { allowedValues, limit, type }: SchemaError['params']): string {
  if (keyword === 'enum') return `must be one of ${(allowedValues as readonly unknown[]).join(', ')}`
  if (keyword === 'minLength') return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`
  if (keyword === 'maxLength') return `must have at most ${limit} characters`
  if (keyword === 'type' && typeof type === 'string') return `must be ${/^[aio]/.test(type) ? 'an' : 'a'} ${type}`
  return keyword === 'pattern' ? 'is malformed' : message
}

const FIELD_MAX = 100
