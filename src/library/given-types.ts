import { join } from 'node:path'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { inWords } from '../config/config.ts'
import { parseTypes } from '../config/io/content-types.ts'
import { YamlFile } from '../config/io/yaml-file.ts'
import { nameOf } from '../config/options.ts'
import type { ByteOrder, FieldKind } from '../filters/binary-layout.ts'
import type { TypeDefinition } from '../filters/topic-types.ts'
import { isObjectOfKeys, jsonText, kindOf } from './json-text.ts'

/** A field of a binary payload (docs/types.md). */
export interface GivenField {
  /** Its key in the decoded object; not for `skip`. */
  readonly name?: string | undefined
  readonly type: FieldKind
  /** Bits of `bits`; bytes of `string` and `skip`. */
  readonly size?: number | undefined
  readonly scale?: number | undefined
  readonly offset?: number | undefined
  /** Words for the numbers that may occur. */
  readonly values?: Readonly<Record<number, string>> | undefined
}

/** A type of messages (docs/types.md). */
export interface GivenType {
  /** Topic filters. */
  readonly topics: string | readonly string[]
  readonly contentType?: string | undefined
  /** A JSON Schema, or the path of a file with one. */
  readonly schema?: string | object | undefined
  readonly layout?: readonly GivenField[] | undefined
  readonly byteOrder?: ByteOrder | undefined
  readonly invalid?: 'refuse' | 'mark' | undefined
  readonly invalidMqtt3?: 'acknowledge' | 'close' | undefined
}

/** By the names of the types; of several that match a topic, the first applies. */
export type GivenTypes = Readonly<Record<string, GivenType>>

const KEYS = new Map(['content_type', 'byte_order', 'invalid_mqtt3'].map((key) => [nameOf(key), key]))

/** The types as the configuration file would have them. Errors name keys of `start` instead of lines. @throws StartError */
export function typesOf(given: unknown, cwd: string): readonly TypeDefinition[] {
  if (!isObjectOfKeys(given)) throw new StartError(`types: expected an object of types, got ${inWords(given)}`)
  const path = join(cwd, 'types')
  const told = (line: string): string => {
    const plain = line.startsWith(`${path}:`) ? line.slice(path.length).replace(/^:\d+:\d+: /, '') : line
    return [...KEYS].reduce((words, [name, key]) => words.replaceAll(key, name), plain)
  }
  const written = Object.entries(given).map(([name, type]) => `${JSON.stringify(name)}:${textOf(`types.${name}`, type)}`)
  try {
    const file = new YamlFile(path, `{${written.join()}}`)
    return parseTypes(file, file.root).map((type) => {
      const { schema } = type
      return schema === undefined ? type : { ...type, schema: { ...schema, placeOf: (pointer) => told(schema.placeOf(pointer)) } }
    })
  } catch (error) {
    throw new StartError(error instanceof StartError ? told(error.message) : `types: ${(error as Error).message}`)
  }
}

/** As JSON, with the keys that the file has, which are none here. */
function textOf(path: string, type: unknown): string {
  if (!isObjectOfKeys(type)) throw new StartError(`${path}: expected an object, got ${kindOf(type)}`)
  const keys = Object.fromEntries(
    Object.entries(type).map(([name, value]) => {
      if (name.includes('_'))
        throw new StartError(`${path}.${name}: unknown key${didYouMean(name.replaceAll('_', ''), KEYS.keys())}`)
      return [KEYS.get(name) ?? name, value] as const
    }),
  )
  return jsonText(path, keys)
}
