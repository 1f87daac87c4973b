import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect } from 'vitest'
import { type HttpRequest, type HttpResponse, isStream, isWork, type Pause, type Route } from '../../../src/http/exchange.ts'
import { requestSchema, typedQuery } from '../../../src/http/request-check.ts'
import { PROBLEM, type Schema } from '../../../src/http/schema.ts'

const ajv = new Ajv2020({ allErrors: true })
const compiled = new Map<Schema, ReturnType<typeof ajv.compile>>()

/** Holds a value against a schema. */
export function expectValid(schema: Schema, value: unknown, what: string): void {
  let validate = compiled.get(schema)
  if (validate === undefined) {
    validate = ajv.compile(schema)
    compiled.set(schema, validate)
  }
  expect(validate(value), `${what}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value)}`.slice(0, 500)).toBe(true)
}

/** Holds an answer against what its route promises. */
export function expectDescribed(
  { spec, method, path }: Route,
  { status, body, type }: Pick<HttpResponse, 'status' | 'body' | 'type'>,
): void {
  if (spec === undefined) return
  const what = `${method} ${path} ${status}`
  if (status === 204 && status in spec.answers) return
  const { schema } = spec.answers[status] ?? { schema: status >= 400 ? PROBLEM : undefined }
  expect(schema, `${what} is not described`).toBeDefined()
  expect(type).toMatch(schema === PROBLEM ? /^application\/problem\+json/ : /^application\/json/)
  expectValid(schema!, JSON.parse(body), what)
}

const strict = new Ajv2020({ coerceTypes: false, strictTypes: false })
const checks = new Map<object, ReturnType<typeof strict.compile>>()

/** Whether io/ passes a request on to its route. */
export function isPassedOn({ spec }: Route, query: Readonly<Record<string, string>>, body: unknown): boolean {
  if (spec === undefined) return true
  let check = checks.get(spec)
  if (check === undefined) {
    const { querystring, body: whole = {} } = requestSchema(spec)
    check = strict.compile({
      type: 'object',
      properties: { query: querystring, body: whole },
      required: ['query', ...(spec.body ? ['body'] : [])],
    })
    checks.set(spec, check)
  }
  return check({ query: typedQuery(query, spec.query ?? {}), body }) === true
}

export interface Asked {
  readonly status: number
  readonly json: never
  /** Steps that it took: each is a turn of the event loop. */
  readonly turns: number
  readonly pauses: readonly Pause[]
}

/** Asks a route of the path, as `io/` would. `between` is called where it pauses. */
export function ask(
  routes: readonly Route[],
  method: Route['method'],
  path: string,
  more: Partial<HttpRequest> = {},
  between: (pause: Pause) => void = () => {},
): Asked {
  const [plain, search = ''] = path.split('?')
  const params: Record<string, string> = {}
  const route = routes.find((each) => {
    const match = each.method === method && new RegExp(`^${each.path.replaceAll(/:(\w+)/g, '(?<$1>[^/]*)')}$`).exec(plain!)
    if (match) for (const [name, value] of Object.entries(match.groups ?? {})) params[name] = decodeURIComponent(value)
    return Boolean(match)
  })!
  const request: HttpRequest = {
    now: 0,
    params,
    query: Object.fromEntries(new URLSearchParams(search)),
    body: undefined,
    role: 'manage',
    user: undefined,
    csrfToken: '',
    lastEventId: undefined,
    ...more,
  }
  let answer = route.answer(request)
  const pauses: Pause[] = []
  let turns = 1
  if (isWork(answer)) {
    const work = answer
    let step = work.next(request.now)
    for (; step.done !== true; step = work.next(request.now)) {
      pauses.push(step.value)
      between(step.value)
      turns++
    }
    answer = step.value
  }
  if (isStream(answer)) throw new Error('a stream')
  expectDescribed(route, answer)
  return { status: answer.status, json: JSON.parse(answer.body) as never, turns, pauses }
}
