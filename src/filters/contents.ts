import type { Publish } from '../mqtt/publish.ts'
import { type Content, parseJson } from './json-text.ts'
import type { TopicTypes } from './topic-types.ts'

/**
 * What payloads say. A payload is read once, however many ask one after the other: the schema of its type, and the conditions of
 * its subscribers.
 */
export class Contents {
  readonly types: TopicTypes
  #message: Publish | undefined = undefined
  #content: Content = { value: undefined }

  constructor(types: TopicTypes) {
    this.types = types
  }

  /** The decoded object where the type of its topic has a layout, otherwise JSON. */
  of(message: Publish): Content {
    if (this.#message === message) return this.#content
    this.#message = message
    const layout = this.types.of(message.topic)?.layout
    const { payload } = message
    if (layout === undefined) this.#content = parseJson(payload)
    else {
      const decoded = layout.decode(payload)
      this.#content = typeof decoded === 'string' ? { problem: decoded } : { value: decoded }
    }
    return this.#content
  }
}
