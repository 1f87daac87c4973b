import type { ErrorObject, Options, ValidateFunction } from 'ajv'
import { StartError } from '../../base/start-error.ts'
import type { SchemaText, TypeDefinition } from '../topic-types.ts'
import type { Validate } from '../type-check.ts'

const DRAFT_2020 = 'https://json-schema.org/draft/2020-12/schema'
const DRAFT_7 = 'http://json-schema.org/draft-07/schema'

/** Items of a list whose items have to differ: each is compared with each other, 500,000 comparisons for 1,000. */
const UNIQUE_MAX = 1000

/**
 * `strictSchema` makes an error of what would be ignored, such as a keyword with a typing error. Values are left as they are:
 * nothing is coerced, filled in or removed.
 */
const OPTIONS: Options = {
  strictSchema: true,
  strictNumbers: true,
  strictTypes: false,
  strictTuples: false,
  strictRequired: false,
  logger: false,
}

/** Keywords whose value is a map of names to schemas: a name in there is no keyword. */
const NAMED = new Set(['properties', 'patternProperties', 'dependentSchemas', '$defs', 'definitions'])

type Validators = Map<string, InstanceType<typeof import('ajv').Ajv>>

/**
 * Compiles the schemas of types, by the name of the type. ajv is loaded only if there is one: it takes about 0.1 s and 15 MB.
 * @throws StartError that names the place of the first error
 */
export async function compileSchemas(definitions: readonly TypeDefinition[]): Promise<ReadonlyMap<string, Validate>> {
  const validators: Validators = new Map()
  const compiled = new Map<string, Validate>()
  for (const { name, schema } of definitions)
    if (schema !== undefined) compiled.set(name, compile(schema, await validatorFor(schema, validators)))
  return compiled
}

/** The validator of the draft that the schema names: 2020-12 if it names none. */
async function validatorFor({ value, placeOf }: SchemaText, known: Validators): Promise<InstanceType<typeof import('ajv').Ajv>> {
  const draft = String(value.$schema ?? DRAFT_2020).replace(/#$/, '')
  if (draft !== DRAFT_7 && draft !== DRAFT_2020)
    throw new StartError(`${placeOf('/$schema')}: expected ${DRAFT_2020} or ${DRAFT_7}#`)
  let ajv = known.get(draft)
  if (ajv === undefined) {
    ajv = draft === DRAFT_7 ? new (await import('ajv')).Ajv(OPTIONS) : new (await import('ajv/dist/2020.js')).Ajv2020(OPTIONS)
    const { default: formats } = await import('ajv-formats')
    formats.default(ajv)
    known.set(draft, ajv)
  }
  return ajv
}

function compile({ value, placeOf }: SchemaText, ajv: InstanceType<typeof import('ajv').Ajv>): Validate {
  if (ajv.validateSchema(value) !== true) {
    const { instancePath = '', message = 'is not a JSON Schema' } = ajv.errors?.[0] ?? {}
    const allowed = ajv.errors?.[0]?.params.allowedValues as readonly string[] | undefined
    throw new StartError(`${placeOf(instancePath)}: ${message}${allowed === undefined ? '' : `: ${allowed.join(', ')}`}`)
  }
  refuseUnbounded(value, placeOf)
  try {
    return validateWith(ajv.compile(value))
  } catch (error) {
    const { message } = error as Error
    throw new StartError(`${placeOf(pointerIn(message, value))}: ${message.replace(/^can't resolve.*/s, NOT_THERE)}`)
  } finally {
    // No schema may refer to that of another type, and two may have the same $id.
    ajv.removeSchema(value)
  }
}

const NOT_THERE = 'refers to nothing in this schema, and no other schema is fetched'

interface Keyword {
  readonly pointer: string
  readonly key: string
  readonly value: unknown
  /** The schema that it is in. */
  readonly schema: Readonly<Record<string, unknown>>
}

/** All keywords of a schema and of those within it. */
function* keywordsOf(value: unknown, pointer: string, isNames = false): Generator<Keyword, void> {
  if (typeof value !== 'object' || value === null) return
  const schema = value as Readonly<Record<string, unknown>>
  for (const [key, inner] of Object.entries(schema)) {
    const at = `${pointer}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (!isNames && !Array.isArray(value)) yield { pointer: at, key, value: inner, schema }
    yield* keywordsOf(inner, at, !isNames && NAMED.has(key))
  }
}

/** Refuses what would take a payload of 64 KiB seconds to check, or is not checked when it should be. */
function refuseUnbounded(value: object, placeOf: SchemaText['placeOf']): void {
  for (const { pointer, key, value: wanted, schema } of keywordsOf(value, '')) {
    const isEndless = key === 'uniqueItems' && wanted === true && !(Number(schema.maxItems) <= UNIQUE_MAX)
    if (isEndless) throw new StartError(`${placeOf(pointer)}: needs maxItems of at most ${UNIQUE_MAX} beside it`)
    if (key === '$async') throw new StartError(`${placeOf(pointer)}: a payload is checked at once or not at all`)
  }
}

/** The keyword that an error of the compiler is about, as far as it says. */
function pointerIn(message: string, value: object): string {
  const [, wanted] = /unknown keyword: "(.*)"|unknown format "(.*)" ignored|reference (.*) from id|expression: \/(.*)\/u: /s
    .exec(message)
    ?.filter((part) => part !== undefined) ?? [undefined, undefined]
  if (wanted === undefined) return ''
  for (const { pointer, key, value: inner } of keywordsOf(value, '')) if (key === wanted || inner === wanted) return pointer
  return ''
}

const validateWith =
  (validate: ValidateFunction): Validate =>
  (value) => {
    try {
      return validate(value) ? '' : problemOf(validate.errors?.[0])
    } catch {
      // The stack has ended: a schema that refers to itself, and not to a part of the value.
      return 'cannot be checked, because its schema refers to itself without end'
    }
  }

/** `/readings/0/value must be number` */
function problemOf(error: ErrorObject | undefined): string {
  if (error === undefined) return 'does not match the schema'
  const { instancePath, message = 'does not match the schema', params } = error
  const extra = (params.additionalProperty ?? params.unevaluatedProperty ?? params.propertyName) as string | undefined
  return `${instancePath === '' ? '' : `${instancePath} `}${message}${extra === undefined ? '' : `: ${extra}`}`
}
