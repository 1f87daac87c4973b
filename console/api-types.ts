import type { Route } from '../src/http/exchange.ts'
import { openApi } from '../src/http/openapi.ts'
import type { Schema } from '../src/http/schema.ts'

/**
 * The types of the API for the console: console/src/lib/api-types.ts, which `npm run docs` writes. For each operation its query, its
 * body, and what it returns.
 */
export function apiTypes(routes: readonly Route[]): string {
  const { paths } = openApi(routes, '') as Document
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationType(`${method.toUpperCase()} ${path}`, operation)),
  )
  return `// Written by \`npm run docs\` from the OpenAPI document of Roost.\n\nexport interface Operations {\n${operations.join('')}}\n`
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}
interface Operation {
  readonly parameters: readonly {
    readonly name: string
    readonly in: string
    readonly required: boolean
    readonly schema: Schema
  }[]
  readonly requestBody?: Content
  readonly responses: Readonly<Record<string, Content>>
}
interface Content {
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>
}

function operationType(name: string, { parameters, requestBody, responses }: Operation): string {
  const query = parameters.filter((each) => each.in === 'query')
  const querySchema: Schema = {
    type: 'object',
    properties: Object.fromEntries(query.map((each) => [each.name, each.schema])),
    required: query.filter(({ required }) => required).map((each) => each.name),
  }
  const answer = jsonOf(responses['200'])
  const body = jsonOf(requestBody)
  return `  '${name}': {
    query: ${query.length === 0 ? 'undefined' : typeOf(querySchema, '    ')}
    body: ${body === undefined ? 'undefined' : typeOf(body, '    ')}
    answer: ${answer === undefined ? 'undefined' : typeOf(answer, '    ')}
  }
`
}

const jsonOf = (content: Content | undefined): Schema | undefined => content?.content?.['application/json']?.schema

function typeOf(schema: Schema, indent: string): string {
  const { type, enum: words, items, oneOf } = schema
  if (words !== undefined) return words.map((word) => JSON.stringify(word).replaceAll('"', "'")).join(' | ')
  if (oneOf !== undefined) return oneOf.map((each) => typeOf(each, indent)).join(' | ')
  if (type === 'string' || type === 'boolean') return type
  if (type === 'integer' || type === 'number') return 'number'
  if (type === 'array') return `readonly (${items === undefined ? 'unknown' : typeOf(items, indent)})[]`
  return objectType(schema, indent)
}

function objectType({ properties, required = [], additionalProperties }: Schema, indent: string): string {
  if (properties === undefined)
    return `Readonly<Record<string, ${typeof additionalProperties === 'object' ? typeOf(additionalProperties, indent) : 'unknown'}>>`
  const inner = `${indent}  `
  const lines = Object.entries(properties).map(([name, schema]) => {
    const about = schema.description === undefined ? '' : `${inner}/** ${schema.description} */\n`
    return `${about}${inner}readonly ${name}${required.includes(name) ? '' : '?'}: ${typeOf(schema, inner)}\n`
  })
  return `{\n${lines.join('')}${indent}}`
}
