import type { CelFunc, CelList, CelType, CelValue } from '@bufbuild/cel'
import type { RE2JS } from '@bufbuild/re2'
import { TOO_COSTLY } from '../../broker/conditions.ts'
import { APPEND_FUNCTION, LIST_FUNCTION } from '../check.ts'
import type { Facts } from '../message-facts.ts'
import type { Packages } from './packages.ts'

/** Characters or bytes that are copied or compared in the time of a step. */
const CHARACTERS_PER_STEP = 16
/** Steps of finding the hour in a time zone. */
const ZONE_STEPS = 1000
/** Steps of finding that a function cannot be applied: every overload is tried, and the error passes through what is around it. */
const REFUSAL_STEPS = 16
/** Characters after which the states of a regular expression are forgotten: each may add one. */
const REMEMBERED = 4096

/**
 * The functions of CEL, those whose time depends on their arguments with a charge before they run. What is left of the steps is
 * kept here, and not with the evaluation: the package has no place for it, and there is one evaluation at a time.
 */
export class Meter {
  left = 0
  readonly #packages: Packages
  #patterns: ReadonlyMap<string, RE2JS> = new Map()
  #facts: Facts | undefined = undefined
  /** Lists that macros collect into. */
  readonly #collected = new WeakMap<CelList, CelValue[]>()
  /** Characters that each regular expression has looked at. */
  readonly #looked = new WeakMap<RE2JS, number>()

  readonly #tooCostly: unknown

  constructor(packages: Packages) {
    this.#packages = packages
    this.#tooCostly = packages.cel.celError(TOO_COSTLY)
  }

  /** An evaluation begins, of a condition with these regular expressions, which may take so many steps. */
  begin(patterns: ReadonlyMap<string, RE2JS>, facts: Facts, steps: number): void {
    this.left = steps
    this.#patterns = patterns
    this.#facts = facts
  }

  /** All functions, to take the place of the package's own. */
  functions(): CelFunc[] {
    const { celEnv, celFunc, celMethod, CelScalar, isCelList, listType } = this.#packages.cel
    const { BOOL, DYN, INT, STRING } = CelScalar
    const list = listType(DYN)
    const count = (text: string): bigint => BigInt(codePoints(text))
    const standard = [...celEnv().funcs].sort((a, b) => rank(a) - rank(b))
    return [
      ...standard.map((each) => this.#charged(each)),
      // The package spreads the text over an array, which takes 0.1 us for each character.
      ...[celFunc('size', [STRING], INT, count), celMethod('size', STRING, [], INT, count as never)].map((each) =>
        this.#charged(each),
      ),
      celMethod('matches', STRING, [STRING], BOOL, this.#matches()),
      celFunc(LIST_FUNCTION, [DYN, INT], list, (range, steps) => {
        if (!isCelList(range)) throw new Error('macros are for lists only')
        this.#charge(range.size * Number(steps))
        return range
      }),
      celFunc(APPEND_FUNCTION, [list, list], list, (collected, one) => this.#append(collected, one.get(0n as never)!)),
      ...this.#refusals(standard),
    ]
  }

  /**
   * Tried last for each function: arguments that no overload takes. The package would make an error with all their types, which
   * takes 10 us, for each element of a list.
   */
  #refusals(standard: readonly CelFunc[]): CelFunc[] {
    const { celError, celFunc, celMethod, CelScalar } = this.#packages.cel
    const { DYN } = CelScalar
    const refusals = new Map<string, CelFunc>()
    for (const { name, target, arguments: args } of standard) {
      const key = `${name} ${args.length} ${target === undefined}`
      if (refusals.has(key) || args.some((each) => each === DYN)) continue
      const error = celError(`${name.replaceAll('_', '')} cannot be applied to these values`)
      const refuse = (): never => {
        this.#charge(REFUSAL_STEPS)
        throw error
      }
      const any = args.map(() => DYN)
      refusals.set(key, target === undefined ? celFunc(name, any, DYN, refuse) : celMethod(name, DYN, any, DYN, refuse))
    }
    return [...refusals.values()]
  }

  #charge(steps: number): void {
    if (steps <= this.left) {
      this.left -= steps
      return
    }
    this.left = 0
    throw this.#tooCostly
  }

  #charged(func: CelFunc): CelFunc {
    const { name, target, arguments: args, result } = func
    if (args.every(isNumeric) && (target === undefined || isNumeric(target))) return func
    const { celFunc, celMethod } = this.#packages.cel
    const charge = (all: CelValue[]): void => this.#charge(this.#costOf(name, all))
    const run = (on: CelValue | undefined, values: CelValue[]): never => func.call(0, on, values) as never
    if (target === undefined) {
      if (name === '_==_' || name === '_!=_') return this.#equality(func, name === '_==_')
      return celFunc(name, args, result, (...values) => {
        charge(values)
        return run(undefined, values)
      })
    }
    return celMethod(name, target, args, result, function (this: CelValue, ...values) {
      charge([this, ...values])
      return run(this, values)
    })
  }

  /** Comparing two numbers, texts or truth values is most of what conditions do. */
  #equality(func: CelFunc, isWanted: boolean): CelFunc {
    return this.#packages.cel.celFunc(func.name, func.arguments, func.result, (a, b) => {
      if (typeof a !== 'object' && typeof a === typeof b) return ((a === b) === isWanted) as never
      this.#charge(this.#costOf(func.name, [a as CelValue, b as CelValue]))
      return func.call(0, undefined, [a as CelValue, b as CelValue]) as never
    })
  }

  #costOf(name: string, values: readonly CelValue[]): number {
    let steps = 1
    let product = 1
    for (const value of values) {
      const size = this.#sizeOf(value)
      steps += size
      product *= size + 1
    }
    // Elements of lists are compared all the way down, and may be all that the message has.
    if (DEEP.has(name) && typeof values[0] === 'object' && values[0] !== null) steps += this.#facts!.jsonValues
    if (name === 'contains') return steps + product
    return name.startsWith('get') && values.length > 1 ? steps + ZONE_STEPS : steps
  }

  #sizeOf(value: CelValue): number {
    const { isCelList, isCelMap } = this.#packages.cel
    if (typeof value === 'string' || value instanceof Uint8Array) return Math.floor(value.length / CHARACTERS_PER_STEP)
    if (typeof value !== 'object' || value === null) return 0
    return isCelList(value) || isCelMap(value) ? value.size : 1
  }

  #matches(): (this: string, pattern: string) => boolean {
    const test = (subject: string, pattern: string): boolean => this.#test(subject, pattern)
    return function (pattern) {
      return test(this, pattern)
    }
  }

  /** In linear time, as RE2: each character is compared with the whole program at most. */
  #test(subject: string, pattern: string): boolean {
    const regex = this.#patterns.get(pattern)
    if (regex === undefined) throw new Error('the regular expression was not compiled')
    this.#charge(subject.length * regex.re2Input.prog.inst.length)
    const looked = (this.#looked.get(regex) ?? 0) + subject.length
    if (looked > REMEMBERED) regex.reset()
    this.#looked.set(regex, looked > REMEMBERED ? subject.length : looked)
    return regex.test(subject)
  }

  #append(to: CelList, element: CelValue): CelList {
    const known = this.#collected.get(to)
    if (known !== undefined) {
      known.push(element)
      return to
    }
    const values = [...(to as Iterable<CelValue>), element]
    const collected = this.#packages.cel.celList(values)
    this.#collected.set(collected, values)
    return collected
  }
}

/** Functions that compare lists and maps. */
const DEEP: ReadonlySet<string> = new Set(['_==_', '_!=_', '@in'])
const NUMERIC: ReadonlySet<string> = new Set(['int', 'uint', 'double', 'bool'])
const isNumeric = ({ name }: CelType): boolean => NUMERIC.has(name)

/** The package tries the overloads of a function in order; JSON has doubles, and people write integers. */
function rank({ arguments: args }: CelFunc): number {
  const [a, b] = args
  if (a?.name === 'double') return b?.name === 'int' ? 0 : 1
  return a?.name === 'string' || a?.name === 'int' ? 2 : 3
}

/** The length of a text as CEL has it. */
function codePoints(text: string): number {
  let count = text.length
  for (let at = 0; at < text.length; at++) if ((text.charCodeAt(at) & 0xfc00) === 0xdc00) count--
  return count
}
