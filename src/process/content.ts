import type { Memory } from '../base/memory.ts'
import type { Config } from '../config/config.ts'
import { Contents } from '../filters/contents.ts'
import { compileSchemas } from '../filters/io/json-schema.ts'
import { TopicTypes } from '../filters/topic-types.ts'
import { TypeCheck } from '../filters/type-check.ts'

/** What the broker knows of the content of messages. */
export interface Content {
  readonly contents: Contents
  /** Undefined if no topic has a type. */
  readonly check: TypeCheck | undefined
}

/** Prepares the types of the configuration. @throws StartError for the first schema that cannot be used */
export async function openContent({ types }: Config): Promise<Content> {
  const contents = new Contents(new TopicTypes(types))
  if (types.length === 0) return { contents, check: undefined }
  return { contents, check: new TypeCheck(contents, await compileSchemas(types)) }
}

export function countContent({ contents, check }: Content, memory: Memory): void {
  if (check !== undefined) memory.count('routes', () => contents.types.bytes)
}
