import { dirname, resolve } from 'node:path'
import { didYouMean } from '../../base/nearest.ts'
import { UNPRINTABLE } from '../../base/quoted.ts'
import { StartError } from '../../base/start-error.ts'
import {
  type ByteOrder,
  FIELD_KINDS,
  type Field,
  type FieldKind,
  type Layout,
  LayoutBuilder,
} from '../../filters/binary-layout.ts'
import type { SchemaText, TypeDefinition } from '../../filters/topic-types.ts'
import { topicFilterError } from '../../mqtt/topics.ts'
import { inWords } from '../config.ts'
import { YamlFile, type YamlPair, type YamlValue } from './yaml-file.ts'

/** Types at most, and topic filters of one. */
const TYPES_MAX = 1000
const TOPICS_MAX = 1000
const CONTENT_TYPE_MAX = 1024

const TYPE_NAME = /^[\w.-]{1,64}$/
const TYPE_KEYS = ['topics', 'content_type', 'schema', 'layout', 'byte_order', 'invalid', 'invalid_mqtt3']
const FIELD_KEYS = ['name', 'type', 'size', 'scale', 'offset', 'values']

type Values = ReadonlyMap<string, YamlValue>

/**
 * Parses the key `types`:
 *
 *     types:
 *       temperature:
 *         topics: site/+/temperature
 *         content_type: application/json
 *         schema: temperature.json
 *
 * @throws StartError for the first invalid entry, or schema that cannot be read
 */
export function parseTypes(file: YamlFile, types: YamlValue): readonly TypeDefinition[] {
  const pairs = file.pairs(types, 'types, each with a map of its keys')
  if (pairs.length > TYPES_MAX) throw new StartError(`${types.at}: types: at most ${TYPES_MAX} types, got ${pairs.length}`)
  return pairs.map((pair) => parseType(file, pair))
}

function parseType(file: YamlFile, { key: name, keyAt, value: entry }: YamlPair): TypeDefinition {
  const path = `types.${name}`
  if (!TYPE_NAME.test(name))
    throw new StartError(`${keyAt}: types: expected a name of up to 64 letters, digits, _, . and -, got ${inWords(name)}`)
  const values = keysOf(file, entry, path, TYPE_KEYS)
  const topics = topicsOf(file, values.get('topics'), path, keyAt)
  const contentType = optional(values, 'content_type', (value) => contentTypeOf(value, `${path}.content_type`))
  const schema = optional(values, 'schema', (value) => schemaOf(file, value, `${path}.schema`))
  const order = choiceOf<ByteOrder>(values, 'byte_order', ['big', 'little'], path)
  const layout = optional(values, 'layout', (value) => layoutOf(file, value, `${path}.layout`, order ?? 'big'))
  const invalid = choiceOf(values, 'invalid', ['refuse', 'mark'], path)
  const invalidMqtt3 = choiceOf(values, 'invalid_mqtt3', ['acknowledge', 'close'], path)
  refuseIdle(values, path)
  return {
    name,
    topics,
    contentType,
    schema,
    layout,
    invalid: invalid ?? 'refuse',
    invalidMqtt3: invalidMqtt3 ?? 'acknowledge',
  }
}

/** Refuses keys that have no effect without another one. */
function refuseIdle(values: Values, path: string): void {
  const refuse = (key: string, why: string): void => {
    const found = values.get(key)
    if (found !== undefined) throw new StartError(`${found.at}: ${path}.${key}: ${why}`)
  }
  if (!values.has('layout')) refuse('byte_order', 'needs layout too')
  if (!values.has('schema') && !values.has('layout'))
    for (const key of ['invalid', 'invalid_mqtt3']) refuse(key, 'needs schema or layout too, because everything fits')
  if (values.get('invalid')?.plain === 'mark') refuse('invalid_mqtt3', 'has no effect, because nothing is refused')
}

function topicsOf(file: YamlFile, value: YamlValue | undefined, path: string, typeAt: string): readonly string[] {
  if (value === undefined) throw new StartError(`${typeAt}: ${path}: needs topics`)
  const topics = file.texts(value, 'topic filters')
  if (topics.length === 0 || topics.length > TOPICS_MAX)
    throw new StartError(`${value.at}: ${path}.topics: expected 1 to ${TOPICS_MAX} topic filters, got ${topics.length}`)
  for (const topic of topics) {
    const wrong = topic.startsWith('$share/') ? 'a shared subscription is no topic filter here' : topicFilterError(topic)
    if (wrong !== '') throw new StartError(`${value.at}: ${path}.topics: ${inWords(topic)}: ${wrong}`)
  }
  return topics
}

function contentTypeOf({ at, plain }: YamlValue, path: string): string {
  if (typeof plain === 'string' && plain !== '' && plain.length <= CONTENT_TYPE_MAX && plain.search(UNPRINTABLE) < 0) return plain
  throw new StartError(`${at}: ${path}: expected a content type such as application/json, got ${inWords(plain)}`)
}

/** A schema that is in the file itself, or in one that it names: JSON, or YAML. */
function schemaOf(file: YamlFile, value: YamlValue, path: string): SchemaText {
  const { plain, at } = value
  if (typeof plain !== 'string') return schemaIn(file, value, path)
  if (plain === '') throw new StartError(`${at}: ${path}: expected the path of a file or a schema, got ""`)
  const schema = YamlFile.readRegular(resolve(dirname(file.path), plain), `${at}: ${path}`)
  return schemaIn(schema, schema.root, '')
}

function schemaIn(file: YamlFile, root: YamlValue, path: string): SchemaText {
  const value = file.dataOf(root)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new StartError(`${root.at}: ${path === '' ? '' : `${path}: `}expected a JSON Schema, got ${inWords(value)}`)
  return {
    value: value as Readonly<Record<string, unknown>>,
    placeOf: (pointer) => [file.find(root, pointer).at, path + pointer].filter((part) => part !== '').join(': '),
  }
}

function layoutOf(file: YamlFile, value: YamlValue, path: string, order: ByteOrder): Layout {
  const builder = new LayoutBuilder()
  for (const [index, item] of file.items(value, `a list of fields as ${path}`).entries()) {
    const at = `${path}[${index}]`
    const wrong = builder.add(fieldOf(file, item, at))
    if (wrong !== '') throw new StartError(`${item.at}: ${at}: ${wrong}`)
  }
  const layout = builder.finish(order)
  if (typeof layout === 'string') throw new StartError(`${value.at}: ${path}: ${layout}`)
  return layout
}

function fieldOf(file: YamlFile, item: YamlValue, path: string): Field {
  const values = keysOf(file, item, path, FIELD_KEYS)
  const kind = choiceOf<FieldKind>(values, 'type', FIELD_KINDS, path)
  if (kind === undefined) throw new StartError(`${item.at}: ${path}: needs a type: ${FIELD_KINDS.join(', ')}`)
  const numberOf = (key: string, whole: boolean): number | undefined =>
    optional(values, key, ({ at, plain }) => {
      if (typeof plain === 'number' && (whole ? Number.isSafeInteger(plain) : Number.isFinite(plain))) return plain
      throw new StartError(`${at}: ${path}.${key}: expected a ${whole ? 'whole ' : ''}number, got ${inWords(plain)}`)
    })
  return {
    kind,
    name: optional(values, 'name', ({ at, plain }) => {
      if (typeof plain === 'string') return plain
      throw new StartError(`${at}: ${path}.name: expected a name, got ${inWords(plain)}`)
    }),
    size: numberOf('size', true),
    scale: numberOf('scale', false),
    offset: numberOf('offset', false),
    values: optional(values, 'values', (value) => wordsOf(file, value, `${path}.values`)),
  }
}

/** `values: { 0: closed, 1: open }` */
function wordsOf(file: YamlFile, value: YamlValue, path: string): ReadonlyMap<number, string> {
  const words = new Map<number, string>()
  for (const { key, keyAt, value: word } of file.pairs(value, `a map of numbers to words as ${path}`)) {
    if (!/^-?\d{1,10}$/.test(key)) throw new StartError(`${keyAt}: ${path}: expected a whole number, got ${inWords(key)}`)
    if (words.has(Number(key))) throw new StartError(`${keyAt}: ${path}: ${key} is there already`)
    if (typeof word.plain !== 'string')
      throw new StartError(`${word.at}: ${path}.${key}: expected a word, got ${inWords(word.plain)}`)
    words.set(Number(key), word.plain)
  }
  return words
}

function keysOf(file: YamlFile, value: YamlValue, path: string, known: readonly string[]): Values {
  const values = new Map<string, YamlValue>()
  for (const { key, keyAt, value: inner } of file.pairs(value, `keys of ${path}, one \`key: value\` a line`)) {
    if (!known.includes(key)) throw new StartError(`${keyAt}: ${path}.${key}: unknown key${didYouMean(key, known)}`)
    values.set(key, inner)
  }
  return values
}

function optional<T>(values: Values, key: string, parse: (value: YamlValue) => T): T | undefined {
  const value = values.get(key)
  return value === undefined ? undefined : parse(value)
}

function choiceOf<T extends string>(values: Values, key: string, choices: readonly T[], path: string): T | undefined {
  return optional(values, key, ({ at, plain }) => {
    const found = choices.find((choice) => choice === plain)
    if (found !== undefined) return found
    throw new StartError(
      `${at}: ${path}.${key}: expected one of ${choices.join(', ')}, got ${inWords(plain)}${didYouMean(String(plain), choices)}`,
    )
  })
}
