import { UNPRINTABLE } from '../base/quoted.ts'
import type { ContentCheck, ContentFigures, Misfit } from '../broker/content-check.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { Contents } from './contents.ts'
import type { TypeDefinition } from './topic-types.ts'

/** User property of a message that does not fit its type and is delivered all the same (`invalid: mark`). */
export const TYPE_ERROR = 'type-error'

/** Characters of a problem that are told: it may contain names from the payload. */
const PROBLEM_MAX = 200

/** Says what is wrong with a value, '' if nothing is. */
export type Validate = (value: unknown) => string

interface Known {
  readonly figures: ContentFigures
  readonly validate: Validate | undefined
  /** The properties of a message that had none, shared by all of them. */
  readonly properties: Properties
}

/** Holds messages against the type of their topic, and gives them its content type. */
export class TypeCheck implements ContentCheck {
  readonly #contents: Contents
  readonly #known: ReadonlyMap<TypeDefinition, Known>

  /** `validators`: of the types with a schema, by the name of the type. */
  constructor(contents: Contents, validators: ReadonlyMap<string, Validate>) {
    this.#contents = contents
    this.#known = new Map(
      contents.types.definitions.map((definition) => {
        const { name: type, contentType } = definition
        const properties = contentType === undefined ? NO_PROPERTIES : Object.freeze({ contentType })
        const figures = { type, valid: 0, refused: 0, marked: 0 }
        return [definition, { figures, validate: validators.get(type), properties }]
      }),
    )
  }

  check(message: Publish): Misfit | undefined {
    const type = this.#typeOf(message)
    if (type === undefined) return undefined
    const { figures, properties } = this.#known.get(type)!
    complete(message, properties)
    if (isOpen(type)) return undefined
    const misfit = this.#misfit(type, message)
    figures[misfit?.action ?? 'valid']++
    if (misfit?.action === 'marked') mark(message, `${misfit.type}: ${misfit.problem}`)
    return misfit
  }

  foresee(message: Publish): Misfit | undefined {
    const type = this.#typeOf(message)
    return type === undefined || isOpen(type) || type.invalid === 'mark' ? undefined : this.#misfit(type, message)
  }

  figures(): readonly ContentFigures[] {
    return Array.from(this.#known.values(), ({ figures }) => figures)
  }

  /** An empty retained message deletes the one before, and has no content. */
  #typeOf(message: Publish): TypeDefinition | undefined {
    return message.retain && message.payloadLength === 0 ? undefined : this.#contents.types.of(message.topic)
  }

  #misfit(type: TypeDefinition, message: Publish): Misfit | undefined {
    const content = this.#contents.of(message)
    const problem = 'problem' in content ? content.problem : (this.#known.get(type)!.validate?.(content.value) ?? '')
    if (problem === '') return undefined
    const action = type.invalid === 'mark' ? 'marked' : 'refused'
    return { message, type: type.name, problem: plain(problem), action, closes: type.invalidMqtt3 === 'close' }
  }
}

/** Every payload fits. */
const isOpen = ({ schema, layout }: TypeDefinition): boolean => schema === undefined && layout === undefined

/**
 * Sets the content type if the publisher gave none, and removes a mark of the publisher's: subscribers take it for the broker's.
 */
function complete(message: Publish, ofType: Properties): void {
  const { properties } = message
  if (properties === NO_PROPERTIES) {
    if (ofType !== NO_PROPERTIES) message.describe(ofType)
    return
  }
  const { userProperties, contentType } = properties
  const isMarked = userProperties?.some(([name]) => name === TYPE_ERROR) === true
  if (!isMarked && (contentType !== undefined || ofType === NO_PROPERTIES)) return
  message.describe({
    ...ofType,
    ...properties,
    ...(isMarked && { userProperties: userProperties.filter(([name]) => name !== TYPE_ERROR) }),
  })
}

function mark(message: Publish, text: string): void {
  const { properties } = message
  message.describe({ ...properties, userProperties: [...(properties.userProperties ?? []), [TYPE_ERROR, text]] })
}

function plain(problem: string): string {
  const told = problem.length > PROBLEM_MAX ? `${problem.slice(0, PROBLEM_MAX)}...` : problem
  return told.replaceAll(UNPRINTABLE, '?')
}
