import type { Role, Route } from './exchange.ts'
import { object, PROBLEM, type RouteSpec, type Schema, text } from './schema.ts'

/** Problems that any route of the API may answer with. */
const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'a parameter, a field of the body, or the request itself is wrong',
  401: 'a user name and password, or a bearer token, is needed, or is wrong',
  403: 'this user may not do that, or the request comes from a page of another site, or its X-CSRF-Token is missing',
  408: 'the request took more than 10 seconds to arrive',
  413: 'the body is too large',
  415: 'the body is not JSON, or has a Content-Encoding',
  429: 'too many failed logins, or too many logins at the same time',
  431: 'the head of the request is too large',
  500: 'a fault in Roost, which its log describes',
  503: 'Roost is starting or stopping, or cannot do it now, or too many answers wait for their readers',
}

const NEEDS: Readonly<Record<Role, string>> = {
  view: 'For every user.',
  manage: 'For users who may manage (http_managers).',
}

/** An OpenAPI 3.1 document of those routes that have a spec, with itself. */
export const openApiRoute = (routes: readonly Route[], version: string): Route => {
  const route: Route = { method: 'GET', path: '/api/v1/openapi.json', needs: 'view', spec: SPEC, answer: () => answer }
  const body = JSON.stringify(openApi([...routes, route], version))
  const answer = { status: 200, type: 'application/json; charset=utf-8', body }
  return route
}

const SPEC: RouteSpec = {
  tag: 'description',
  summary: 'Returns this document',
  answers: {
    200: {
      description: 'OpenAPI 3.1',
      schema: { ...object({ openapi: text('3.1.0') }), additionalProperties: true },
    },
  },
}

export function openApi(routes: readonly Route[], version: string): object {
  const paths = new Map<string, Record<string, object>>()
  for (const route of routes) {
    if (route.spec === undefined) continue
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}')
    paths.set(path, { ...paths.get(path), [route.method.toLowerCase()]: operation(route, route.spec) })
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Roost',
      version,
      description: 'The API of the MQTT-SN gateway and MQTT broker Roost. docs/api.md has examples.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ basic: [] }, { token: [] }, {}],
    paths: Object.fromEntries(paths),
    components: {
      schemas: { Problem: PROBLEM },
      securitySchemes: {
        basic: { type: 'http', scheme: 'basic', description: 'A user of http_password_file.' },
        token: { type: 'http', scheme: 'bearer', description: 'A token of http_token_file.' },
      },
    },
  }
}

function operation({ method, path, needs }: Route, spec: RouteSpec): object {
  const { summary, description = '', tag, params = {}, query = {}, requiredQuery = [], body } = spec
  const role = needs === undefined ? '' : NEEDS[needs]
  return {
    operationId: `${method.toLowerCase()}${path.replace('/api/v1', '').replaceAll(/[^A-Za-z]+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    tags: [tag],
    summary,
    description: [description, role].filter((part) => part !== '').join(' '),
    parameters: [
      ...parameters(params, 'path', Object.keys(params)),
      ...parameters(query, 'query', requiredQuery),
      ...(method === 'GET' ? [] : [CSRF]),
    ],
    ...(body !== undefined && { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses: responses(spec),
  }
}

const CSRF = {
  name: 'X-CSRF-Token',
  in: 'header',
  required: false,
  description: '`csrf_token` of GET /api/v1/session; not needed with a bearer token',
  schema: { type: 'string' },
}

const parameters = (schemas: Readonly<Record<string, Schema>>, where: 'path' | 'query', required: readonly string[]): object[] =>
  Object.entries(schemas).map(([name, { description, ...schema }]) => ({
    name,
    in: where,
    required: required.includes(name),
    ...(description !== undefined && { description }),
    schema,
  }))

function responses({ answers }: RouteSpec): object {
  const known = Object.entries(answers).map(([status, { description, type = 'application/json', schema }]) => {
    if (schema === undefined) return [status, { description, ...(type !== 'application/json' && { content: { [type]: {} } }) }]
    const isProblem = schema === PROBLEM
    return [status, { description, content: { [isProblem ? PROBLEM_TYPE : type]: { schema: isProblem ? PROBLEM_REF : schema } } }]
  })
  const problems = Object.entries(PROBLEMS).map(([status, description]) => [
    status,
    { description, content: { [PROBLEM_TYPE]: { schema: PROBLEM_REF } } },
  ])
  // Its own description of a status is more precise.
  return Object.fromEntries([...problems, ...known])
}

const PROBLEM_TYPE = 'application/problem+json'
const PROBLEM_REF = { $ref: '#/components/schemas/Problem' }
