import type { CelError, CelInput, CelList, CelMap } from '@bufbuild/cel'
import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { PROPERTIES_MAX } from '../bounds.ts'
import type { VARIABLES } from '../check.ts'
import type { Facts, PropertyValue } from '../message-facts.ts'
import type { Packages } from './packages.ts'

/** The variables of a condition as CEL has them, made when they are first asked for: once for all conditions on a message. */
class Variables implements Record<(typeof VARIABLES)[number], CelInput | CelError> {
  readonly #packages: Packages
  readonly #facts: Facts
  #json: CelInput | CelError | undefined = undefined
  #levels: CelList | undefined = undefined
  #properties: CelMap | CelError | undefined = undefined
  #time: Timestamp | undefined = undefined

  constructor(packages: Packages, facts: Facts) {
    this.#packages = packages
    this.#facts = facts
  }

  get topic(): string {
    return this.#facts.topic
  }

  get levels(): CelList {
    this.#levels ??= this.#packages.cel.celList(this.#facts.levels)
    return this.#levels
  }

  get payload(): Uint8Array {
    return this.#facts.payload
  }

  get json(): CelInput | CelError {
    if (this.#json === undefined) {
      const { json } = this.#facts
      this.#json = 'error' in json ? this.#packages.cel.celError(json.error) : this.#of(json.value)
    }
    return this.#json
  }

  get contentType(): string {
    return this.#facts.contentType
  }

  get payloadFormat(): bigint {
    return BigInt(this.#facts.payloadFormat)
  }

  get properties(): CelMap | CelError {
    this.#properties ??= this.#ofProperties(this.#facts.properties)
    return this.#properties
  }

  get qos(): bigint {
    return BigInt(this.#facts.qos)
  }

  get retain(): boolean {
    return this.#facts.retain
  }

  get clientId(): string {
    return this.#facts.clientId
  }

  get time(): Timestamp {
    this.#time ??= this.#packages.wkt.timestampFromMs(this.#facts.wall)
    return this.#time
  }

  get type(): string {
    return this.#facts.type
  }

  #ofProperties(properties: Facts['properties']): CelMap | CelError {
    const { celError, celMap } = this.#packages.cel
    if (properties === undefined) return celError(`the message has more than ${PROPERTIES_MAX} user properties`)
    const byName = new Map<string, CelInput>()
    for (const [name, value] of properties) byName.set(name, this.#ofProperty(value))
    return celMap(byName)
  }

  #ofProperty(value: PropertyValue): CelInput {
    return typeof value === 'string' ? value : this.#packages.cel.celList(value)
  }

  /** JSON as CEL has it: what is left to the package is converted anew each time it is looked at. */
  #of(value: unknown): CelInput {
    const { celList, celMap } = this.#packages.cel
    if (Array.isArray(value)) return celList(value.map((each) => this.#of(each)))
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value as CelInput
    const byName = new Map<string, CelInput>()
    for (const [name, each] of Object.entries(value)) byName.set(name, this.#of(each))
    return celMap(byName)
  }
}

/** Those of one message. */
export function celVariables(packages: Packages, facts: Facts): Record<string, CelInput> {
  facts.view ??= new Variables(packages, facts)
  return facts.view as Record<string, CelInput>
}
