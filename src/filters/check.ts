import { didYouMean } from '../base/nearest.ts'
import { DEPTH_MAX, PATTERN_LENGTH_MAX, PATTERNS_MAX, REPEATS_MAX } from './bounds.ts'
import type { Fault } from './layout.ts'
import type { Comprehension, Expr } from './syntax.ts'

/** The variables of a condition (docs/filters.md). */
export const VARIABLES = [
  'topic',
  'levels',
  'payload',
  'json',
  'contentType',
  'payloadFormat',
  'properties',
  'qos',
  'retain',
  'clientId',
  'time',
  'type',
] as const

/** Names of types, which `type(x)` is compared with. */
const TYPES: ReadonlySet<string> = new Set([
  'bool',
  'bytes',
  'double',
  'int',
  'list',
  'map',
  'null_type',
  'string',
  'type',
  'uint',
])
/** What the parser makes of operators that are no functions. */
const OPERATORS: ReadonlySet<string> = new Set(['_[_]', '_?_:_', '_&&_', '_||_', '@not_strictly_false'])
/** Operators whose result is no truth value. */
const NUMERIC: ReadonlySet<string> = new Set(['_+_', '_-_', '_*_', '_/_', '_%_', '-_'])
const MACROS = 'all, exists, exists_one, map and filter'

interface Scope {
  readonly depth: number
  /** Of the macro that this is inside of. */
  readonly iterVar: string | undefined
}

/** Checks the bounds of a parsed condition before it is ever evaluated, and prepares its macros (`guard`). */
export class Check {
  fault: Fault | undefined = undefined
  nodes = 0
  readonly patterns: string[] = []
  readonly #placeOf: (id: bigint) => number
  readonly #isFunction: (name: string) => boolean

  constructor(placeOf: (id: bigint) => number, isFunction: (name: string) => boolean) {
    this.#placeOf = placeOf
    this.#isFunction = isFunction
  }

  /** False, with `fault`, if it is not valid. */
  condition(expr: Expr): boolean {
    const { exprKind: kind } = expr
    if (isNoTruthValue(expr)) this.#fail(expr, 'a condition must be true or false')
    else if (kind.case === undefined) this.#fail(expr, 'it is empty')
    else this.#visit(expr, { depth: 1, iterVar: undefined })
    return this.fault === undefined
  }

  #fail(expr: Expr, reason: string): void {
    this.fault ??= { at: this.#placeOf(expr.id), reason }
  }

  #visit(expr: Expr | undefined, scope: Scope): void {
    if (expr === undefined || this.fault !== undefined) return
    this.nodes++
    if (scope.depth > DEPTH_MAX) {
      this.#fail(expr, `more than ${DEPTH_MAX} levels of expressions inside each other`)
      return
    }
    const inner = { ...scope, depth: scope.depth + 1 }
    const { exprKind: kind } = expr
    switch (kind.case) {
      case 'identExpr':
        this.#name(expr, kind.value.name, scope)
        return
      case 'callExpr': {
        const { target, function: name, args } = kind.value
        if (!OPERATORS.has(name) && !this.#isFunction(name)) this.#fail(expr, `there is no function ${name}`)
        if (name === 'matches') this.#pattern(expr, args.at(-1))
        this.#visit(target, inner)
        for (const arg of args) this.#visit(arg, inner)
        return
      }
      case 'listExpr':
        for (const element of kind.value.elements) this.#visit(element, inner)
        return
      case 'structExpr':
        if (kind.value.messageName !== '') this.#fail(expr, `there is no type ${kind.value.messageName}`)
        for (const { keyKind, value } of kind.value.entries) {
          if (keyKind.case === 'mapKey') this.#visit(keyKind.value, inner)
          this.#visit(value, inner)
        }
        return
      case 'selectExpr':
        this.#visit(kind.value.operand, inner)
        return
      case 'comprehensionExpr':
        this.#macro(expr, kind.value, scope)
    }
  }

  #name(expr: Expr, name: string, { iterVar }: Scope): void {
    // The accumulator of a macro has a name that cannot be written, such as `@result`.
    if (name === iterVar || name.startsWith('@') || (VARIABLES as readonly string[]).includes(name) || TYPES.has(name)) return
    this.#fail(expr, `there is no variable ${name}${didYouMean(name, VARIABLES)}`)
  }

  #macro(expr: Expr, macro: Comprehension, scope: Scope): void {
    const { iterVar, iterRange, loopCondition, loopStep } = macro
    if (scope.iterVar !== undefined) {
      this.#fail(expr, `${MACROS} cannot be inside each other`)
      return
    }
    this.#visit(iterRange, { ...scope, depth: scope.depth + 1 })
    const before = this.nodes
    const body = { depth: scope.depth, iterVar }
    this.#visit(loopCondition, body)
    this.#visit(loopStep, body)
    if (this.fault === undefined) guard(expr, macro, this.nodes - before)
  }

  #pattern(expr: Expr, pattern: Expr | undefined): void {
    const kind = pattern?.exprKind
    if (kind?.case !== 'constExpr' || kind.value.constantKind.case !== 'stringValue') {
      this.#fail(expr, 'the regular expression of matches has to be a string in quotes')
      return
    }
    const text = kind.value.constantKind.value as string
    const why = patternFault(text)
    if (why !== undefined) this.#fail(pattern!, why)
    if (!this.patterns.includes(text)) this.patterns.push(text)
    if (this.patterns.length > PATTERNS_MAX) this.#fail(pattern!, `more than ${PATTERNS_MAX} regular expressions`)
  }
}

/** Why a regular expression is not accepted, before it is compiled. */
function patternFault(pattern: string): string | undefined {
  if (pattern.length > PATTERN_LENGTH_MAX) return `a regular expression has at most ${PATTERN_LENGTH_MAX} characters`
  // Their tables take 0.1 s to make.
  if (/\\[pP]/.test(pattern)) return 'a regular expression cannot have \\p'
  let repeats = 0
  for (const [, least, most] of pattern.matchAll(/\{(\d+)(?:,(\d*))?\}/g)) repeats += Math.max(Number(least), Number(most ?? 0))
  return repeats > REPEATS_MAX ? `repetitions of a regular expression are at most ${REPEATS_MAX} in all` : undefined
}

function isNoTruthValue({ exprKind: kind }: Expr): boolean {
  if (kind.case === 'constExpr') return kind.value.constantKind.case !== 'boolValue'
  if (kind.case === 'callExpr') return NUMERIC.has(kind.value.function) || kind.value.function === 'size'
  return kind.case === 'listExpr' || kind.case === 'structExpr'
}

const isName = (kind: Expr['exprKind'], name: string): boolean => kind.case === 'identExpr' && kind.value.name === name

/** Functions of the evaluation that `guard` calls; no name that can be written. */
export const LIST_FUNCTION = '@list'
export const APPEND_FUNCTION = '@append'

/**
 * Lets a macro ask before its loop whether the list is one, and short enough: `@list(range, steps)`. What it collects, it appends to
 * one list, `@append(list, [element])`: CEL's `list + list` would make the list anew each time.
 */
function guard(expr: Expr, macro: Comprehension, steps: number): void {
  const { iterRange, accuVar, loopStep } = macro
  const perElement = constant(expr.id, BigInt(steps))
  macro.iterRange = call(expr.id, LIST_FUNCTION, [iterRange!, perElement])
  if (macro.accuInit?.exprKind.case === 'listExpr' && loopStep !== undefined) appendTo(loopStep, accuVar)
}

function appendTo({ exprKind: kind }: Expr, accuVar: string): void {
  if (kind.case !== 'callExpr') return
  const { value } = kind
  if (value.function === '_+_' && isName(value.args[0]!.exprKind, accuVar)) value.function = APPEND_FUNCTION
  else if (value.function === '_?_:_') for (const arg of value.args.slice(1)) appendTo(arg, accuVar)
}

function call(id: bigint, name: string, args: Expr[]): Expr {
  return {
    $typeName: 'cel.expr.Expr',
    id,
    exprKind: { case: 'callExpr', value: { $typeName: 'cel.expr.Expr.Call', function: name, args } },
  }
}

const constant = (id: bigint, value: bigint): Expr => ({
  $typeName: 'cel.expr.Expr',
  id,
  exprKind: { case: 'constExpr', value: { constantKind: { case: 'int64Value', value } } },
})
