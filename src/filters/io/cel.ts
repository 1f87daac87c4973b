import type * as Cel from '@bufbuild/cel'
import type * as Re2 from '@bufbuild/re2'
import {
  type CompiledCondition,
  type ConditionError,
  type ConditionLanguage,
  type MessageFacts,
  TOO_COSTLY,
} from '../../broker/conditions.ts'
import type { Publish } from '../../mqtt/publish.ts'
import { PROGRAM_MAX, STEPS_MAX } from '../bounds.ts'
import { APPEND_FUNCTION, Check, LIST_FUNCTION } from '../check.ts'
import { Contents } from '../contents.ts'
import { type Fault, layoutFault } from '../layout.ts'
import { Facts } from '../message-facts.ts'
import type { Expr } from '../syntax.ts'
import { TopicTypes } from '../topic-types.ts'
import { Meter } from './cel-meter.ts'
import { celVariables } from './cel-variables.ts'
import { loadPackages } from './packages.ts'

/** Bytes of memory for a node of a plan, and for a regular expression with the states that it remembers. */
const NODE_BYTES = 300
const PATTERN_BYTES = 65_536
/** Characters of an error of the parser that are passed on: it lists everything that it would have accepted. */
const PARSE_ERROR_LENGTH = 100

/** Conditions in CEL, the Common Expression Language, by @bufbuild/cel. What it accepts: docs/filters.md. */
export class CelLanguage implements ConditionLanguage {
  readonly #contents: Contents
  #evaluator: Evaluator | undefined = undefined
  #serial = 0

  /** `contents`: what payloads say, and of which type topics are; JSON without any type if absent. */
  constructor(contents = new Contents(new TopicTypes([]))) {
    this.#contents = contents
  }

  compile(text: string): CompiledCondition | ConditionError {
    const fault = layoutFault(text)
    if (fault !== undefined) return errorOf(fault)
    this.#evaluator ??= new Evaluator()
    const compiled = this.#evaluator.compile(text)
    return 'at' in compiled ? errorOf(compiled) : compiled
  }

  factsOf(message: Publish, wall: number): Facts {
    return new Facts(++this.#serial, message, wall, this.#contents)
  }
}

const errorOf = ({ at, reason }: Fault): ConditionError => ({ error: `character ${at + 1}: ${reason}` })

/** Compiles and evaluates; one for all conditions. */
class Evaluator {
  readonly #packages = loadPackages()
  readonly #meter = new Meter(this.#packages)
  readonly #env = this.#packages.cel.celEnv({ funcs: this.#meter.functions() })

  compile(text: string): CompiledCondition | Fault {
    const { cel } = this.#packages
    let parsed: ReturnType<typeof Cel.parse>
    try {
      parsed = cel.parse(text)
    } catch (error) {
      return parseFault(error)
    }
    const positions = parsed.sourceInfo?.positions ?? {}
    const isFunction = (name: string): boolean => this.#env.funcs.find(name) !== undefined && !isOwn(name)
    const check = new Check((id) => positions[String(id)] ?? 0, isFunction)
    if (parsed.expr === undefined) return { at: 0, reason: 'it is empty' }
    if (!check.condition(parsed.expr as unknown as Expr)) return check.fault!
    const why = check.patterns.map((pattern) => this.#patternError(pattern)).find((error) => error !== undefined)
    if (why !== undefined) return { at: text.indexOf('matches') + 1, reason: why }
    const plan = cel.plan(this.#env, parsed)
    const bytes = check.nodes * NODE_BYTES + check.patterns.length * PATTERN_BYTES
    const patterns = new Map(check.patterns.map((pattern) => [pattern, this.#packages.re2.RE2JS.compile(pattern)]))
    const { nodes } = check
    return { bytes, test: (facts, most) => this.#test(plan, nodes, patterns, facts as Facts, most) }
  }

  #patternError(pattern: string): string | undefined {
    try {
      const { length } = this.#packages.re2.RE2JS.compile(pattern).re2Input.prog.inst
      return length > PROGRAM_MAX ? 'a regular expression is too large' : undefined
    } catch (error) {
      return `a regular expression is not valid: ${(error as Error).message}`
    }
  }

  #test(
    plan: ReturnType<typeof Cel.plan>,
    nodes: number,
    patterns: ReadonlyMap<string, Re2.RE2JS>,
    facts: MessageFacts,
    most: number,
  ): boolean | string {
    const { cel } = this.#packages
    facts.spent += Math.min(nodes, most)
    if (nodes > most) return TOO_COSTLY
    const steps = Math.min(STEPS_MAX, most - nodes)
    this.#meter.begin(patterns, facts as Facts, steps)
    // An error is a value here, and one for each message without the field: a stack trace would take ten times as long.
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    try {
      const result = plan(celVariables(this.#packages, facts as Facts))
      if (typeof result === 'boolean') return result
      return cel.isCelError(result) ? result.message : 'the result is neither true nor false'
    } finally {
      Error.stackTraceLimit = stackTraceLimit
      facts.spent += steps - this.#meter.left
    }
  }
}

const isOwn = (name: string): boolean => name === LIST_FUNCTION || name === APPEND_FUNCTION

function parseFault(error: unknown): Fault {
  const { message, location } = error as Error & { location?: { start: { offset: number } } }
  const reason = message.replace(/^<input>:\d+:\d+: /, '')
  const short = reason.length > PARSE_ERROR_LENGTH ? `${reason.slice(0, PARSE_ERROR_LENGTH)}...` : reason
  return { at: location?.start.offset ?? 0, reason: short }
}
