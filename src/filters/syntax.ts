// The part of the syntax tree of CEL (cel.expr.Expr) that is looked at here, by structure: the parser is a package.

export interface Expr {
  readonly $typeName: 'cel.expr.Expr'
  readonly id: bigint
  exprKind: ExprKind
}

export type ExprKind =
  | { case: 'identExpr'; value: { name: string } }
  | { case: 'constExpr'; value: { constantKind: { case: string | undefined; value?: unknown } } }
  | { case: 'callExpr'; value: Call }
  | { case: 'listExpr'; value: { elements: Expr[] } }
  | { case: 'structExpr'; value: { messageName: string; entries: Entry[] } }
  | { case: 'selectExpr'; value: { operand?: Expr; field: string; testOnly: boolean } }
  | { case: 'comprehensionExpr'; value: Comprehension }
  | { case: undefined; value?: undefined }

export interface Call {
  $typeName: 'cel.expr.Expr.Call'
  target?: Expr
  function: string
  args: Expr[]
}

interface Entry {
  keyKind: { case: 'fieldKey'; value: string } | { case: 'mapKey'; value: Expr } | { case: undefined; value?: undefined }
  value?: Expr
}

/** What a macro (`all`, `exists`, `exists_one`, `map`, `filter`) stands for. */
export interface Comprehension {
  iterVar: string
  iterRange?: Expr
  accuVar: string
  accuInit?: Expr
  loopCondition?: Expr
  loopStep?: Expr
  result?: Expr
}
