import { Session } from 'node:inspector'

/** How many live entries each field of each class holds, over all objects that can be reached: `Broker.#links` gives the open links. */
export type Census = ReadonlyMap<string, number>

/** What is not looked into: objects that belong to somebody else. */
export type Foreign = ReadonlySet<object>

/**
 * Counts everything that can be reached from `root`, private fields included: the entries of maps, sets and arrays (holes and `undefined` are none),
 * the objects behind fields, and the values of fields that are numbers: of those alone that `isSum` says count something. What only a closure or a
 * weak map holds is not seen.
 */
export function census(root: object, foreign: Foreign, isSum: (field: string) => boolean = () => true): Census {
  const counts = new Map<string, number>()
  const inspected = new Inspected()
  const seen = new Set<object>(foreign)
  const waiting: { readonly at: string; readonly value: object }[] = []
  const count = (at: string, more: number): void => void counts.set(at, (counts.get(at) ?? 0) + more)

  const meet = (at: string, value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    waiting.push({ at, value })
  }
  const field = (at: string, value: unknown): void => {
    if (typeof value === 'number') count(at, isSum(at) ? value : 0)
    else if (ArrayBuffer.isView(value)) count(at, occupied(value))
    else if (typeof value === 'object' && value !== null && !foreign.has(value)) count(at, sizeOf(value))
    meet(at, value)
  }

  try {
    meet(root.constructor.name, root)
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { at, value } = next
      if (ArrayBuffer.isView(value)) continue
      if (value instanceof Map || value instanceof Set) {
        for (const [key, entry] of value.entries()) {
          meet(`${at}[]`, entry)
          meet(`${at}[]`, key)
        }
      } else if (Array.isArray(value)) for (const entry of value) meet(`${at}[]`, entry)
      else {
        const name = isPlain(value) ? at : value.constructor.name
        for (const [key, entry] of Object.entries(value)) field(`${name}.${key}`, entry)
        if (!isPlain(value)) for (const [key, entry] of inspected.privateFields(value)) field(`${name}.${key}`, entry)
      }
    }
  } finally {
    inspected.end()
  }
  return counts
}

const isPlain = (value: object): boolean => [Object.prototype, null].includes(Object.getPrototypeOf(value))

function sizeOf(value: object): number {
  if (value instanceof Map || value instanceof Set) return value.size
  return Array.isArray(value) ? value.filter((entry) => entry !== undefined).length : 1
}

/** Of bytes all, of other numbers those that are not 0. */
function occupied(view: ArrayBufferView): number {
  return view instanceof Uint8Array ? view.length : [...(view as Float64Array)].filter((each) => each !== 0).length
}

interface RemoteProperty {
  readonly name: string
  readonly value?: { readonly type: string; readonly value?: unknown; readonly objectId?: string }
}

/** Where the inspector, which knows objects only by ids of its own, and we hand objects to each other. */
const hatch: { object: unknown; given: readonly unknown[] } = { object: undefined, given: [] }
const HATCH = 'roostCensus'

/** Private fields, which nothing but the inspector of the own process can read. Its answers come within the call. */
class Inspected {
  readonly #session = new Session()

  constructor() {
    Object.assign(globalThis, { [HATCH]: hatch })
    this.#session.connect()
  }

  privateFields(object: object): [string, unknown][] {
    hatch.object = object
    const { result: subject } = this.#post<{ result: { objectId: string } }>('Runtime.evaluate', {
      expression: `${HATCH}.object`,
    })
    const { objectId } = subject
    const found = this.#post<{ privateProperties?: RemoteProperty[] }>('Runtime.getProperties', { objectId, ownProperties: true })
    const fields = (found.privateProperties ?? []).filter(({ value }) => value !== undefined)
    if (fields.length === 0) return []
    const given = fields.map(({ value }) =>
      value!.objectId === undefined ? { value: value!.value } : { objectId: value!.objectId },
    )
    const functionDeclaration = `function (...given) { ${HATCH}.given = given }`
    this.#post('Runtime.callFunctionOn', { objectId, functionDeclaration, arguments: given })
    return fields.map(({ name }, i) => [name, hatch.given[i]])
  }

  end(): void {
    this.#session.disconnect()
    hatch.object = undefined
    hatch.given = []
    delete (globalThis as Record<string, unknown>)[HATCH]
  }

  #post<T>(method: string, params: object): T {
    let answer: T | undefined
    let wrong: Error | null = null
    this.#session.post(method, params, (error, result) => {
      wrong = error
      answer = result as T
    })
    if (answer === undefined) throw wrong ?? new Error(`${method}: no answer`)
    return answer
  }
}
