import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import type { Route } from '../../src/http/exchange.ts'
import { HttpServer } from '../../src/http/io/http-server.ts'
import { HttpUsers } from '../../src/http/io/http-users.ts'
import { openApi } from '../../src/http/openapi.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { TestApi, testHost } from './harness.ts'

interface Operation {
  readonly operationId: string
  readonly parameters: readonly {
    readonly name: string
    readonly in: string
    readonly required: boolean
    readonly schema: object
  }[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> }
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema?: object }>> }>>
}
interface Document {
  readonly openapi: string
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, object>> }
}

const documentOf = (routes: readonly Route[]): Document => JSON.parse(JSON.stringify(openApi(routes, '1.2.3'))) as Document
const operations = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

describe('the document', () => {
  test('describes every route of the API', () => {
    const { routes } = new TestApi()
    const known = operations(documentOf(routes)).map(
      ({ method, path }) => `${method.toUpperCase()} ${path.replaceAll(/{(\w+)}/g, ':$1')}`,
    )
    const api = routes.filter(({ path }) => path.startsWith('/api/'))
    expect(known.sort()).toEqual(api.map(({ method, path }) => `${method} ${path}`).sort())
  })

  test('has an id of its own for each operation, and every parameter of a path', () => {
    const all = operations(documentOf(new TestApi().routes))
    const ids = all.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) expect(id).toMatch(/^[a-z]+[A-Za-z]*$/)
    for (const { path, operation } of all) {
      const inPath = operation.parameters.filter((parameter) => parameter.in === 'path')
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/{\w+}/g) ?? [])
      expect(inPath.every(({ required }) => required)).toBe(true)
    }
  })

  test('has schemas that are valid, and know no words but those of JSON Schema', () => {
    const document = documentOf(new TestApi().routes)
    const ajv = new Ajv2020({ strict: true, strictTypes: false })
    for (const { operation } of operations(document)) {
      const bodies = [operation.requestBody, ...Object.values(operation.responses)].flatMap((each) =>
        Object.values(each?.content ?? {}),
      )
      for (const schema of [...operation.parameters, ...bodies].map((each) => each.schema ?? {}))
        ajv.compile(resolved(document, schema))
    }
  })
})

/** Schemas refer to nothing but components. */
function resolved({ components }: Document, schema: object): object {
  const { $ref } = schema as { readonly $ref?: string }
  return $ref === undefined ? schema : components.schemas[$ref.replace('#/components/schemas/', '')]!
}

describe('every answer is as the document has it', () => {
  let server: HttpServer
  let api: TestApi
  let url: string
  let csrfToken: string
  beforeEach(async () => {
    api = new TestApi()
    const users = new HttpUsers(DEFAULT_CONFIG, 'manage')
    const caller = await users.callerOf(undefined, '127.0.0.1:1')
    csrfToken = caller.kind === 'known' ? caller.csrfToken : ''
    server = await HttpServer.listen({
      host: '127.0.0.1',
      port: 0,
      names: [],
      users,
      routes: api.routes,
      running: testHost(),
      notice: () => {},
    })
    url = `http://127.0.0.1:${server.port}`
    const message = Publish.of('a/b', Buffer.from('x'), 1, true)
    message.own()
    api.server.broker.retained.set('a/b', message)
  })
  afterEach(() => server.close())

  /** [method, path of the document, path, body, expected status] */
  const REQUESTS: readonly (readonly [string, string, string, unknown, number])[] = [
    ['GET', '/api/v1/overview', '/api/v1/overview', undefined, 200],
    ['GET', '/api/v1/openapi.json', '/api/v1/openapi.json', undefined, 200],
    ['GET', '/api/v1/openapi.json', '/api/v1/openapi.json?x=1', undefined, 400],
    ['GET', '/api/v1/retained', '/api/v1/retained', undefined, 200],
    ['GET', '/api/v1/retained', '/api/v1/retained?level=', undefined, 200],
    ['GET', '/api/v1/retained', '/api/v1/retained?limit=1001', undefined, 400],
    ['GET', '/api/v1/retained', '/api/v1/retained?limit=1&limit=-1', undefined, 400],
    ['GET', '/api/v1/retained', '/api/v1/retained?filter=%2B%2B', undefined, 400],
    ['GET', '/api/v1/retained/{topic}', '/api/v1/retained/a%2Fb', undefined, 200],
    ['GET', '/api/v1/retained/{topic}', '/api/v1/retained/%00', undefined, 404],
    ['DELETE', '/api/v1/retained/{topic}', '/api/v1/retained/a%2Fb', undefined, 200],
    ['DELETE', '/api/v1/retained/{topic}', '/api/v1/retained/none', undefined, 404],
    ['DELETE', '/api/v1/retained', '/api/v1/retained?filter=%23&dry_run=true', undefined, 200],
    ['DELETE', '/api/v1/retained', '/api/v1/retained?filter=%23', undefined, 200],
    ['DELETE', '/api/v1/retained', '/api/v1/retained', undefined, 400],
    ['DELETE', '/api/v1/retained', '/api/v1/retained?filter=%23&dry_run=yes', undefined, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: 'a', payload: 'x' }, 200],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: '$SYS/a' }, 403],
    ['POST', '/api/v1/publish', '/api/v1/publish', undefined, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', [], 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: 'a', qos: 3 }, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: 'a', payload: null }, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: 'a', payload_base64: 'A' }, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', { topic: 'a', properties: { x: 1 } }, 400],
    ['POST', '/api/v1/publish', '/api/v1/publish', '{', 400],
    ['GET', '/api/v1/clients', '/api/v1/clients', undefined, 200],
    ['GET', '/api/v1/clients', '/api/v1/clients?state=x', undefined, 400],
    ['GET', '/api/v1/clients', '/api/v1/clients?cursor=x', undefined, 400],
    ['GET', '/api/v1/clients/{id}', '/api/v1/clients/sensor-1', undefined, 404],
    ['POST', '/api/v1/clients/{id}/disconnect', '/api/v1/clients/sensor-1/disconnect', undefined, 404],
    ['DELETE', '/api/v1/clients/{id}', '/api/v1/clients/sn%3Asensor-1', undefined, 404],
    ['GET', '/api/v1/notices', '/api/v1/notices?limit=5', undefined, 200],
    ['GET', '/api/v1/notices', '/api/v1/notices?code=x', undefined, 400],
    ['GET', '/api/v1/events', '/api/v1/events?code=x', undefined, 400],
    ['GET', '/api/v1/session', '/api/v1/session', undefined, 200],
    ['GET', '/api/v1/config', '/api/v1/config', undefined, 200],
    ['GET', '/api/v1/users', '/api/v1/users', undefined, 200],
    ['GET', '/api/v1/users', '/api/v1/users?kind=x', undefined, 400],
    ['PUT', '/api/v1/users/{id}/password', '/api/v1/users/mqtt%3Aeva/password', { password: 'secret' }, 403],
    ['PUT', '/api/v1/users/{id}/password', '/api/v1/users/mqtt%3Aeva/password', { password: '' }, 400],
    ['PUT', '/api/v1/users/{id}/password', '/api/v1/users/mqtt%3Aeva/password', undefined, 400],
    ['DELETE', '/api/v1/users/{id}', '/api/v1/users/mqtt%3Aeva', undefined, 403],
    ['GET', '/api/v1/access', '/api/v1/access?client=mqtt%3Aa&action=publish&topic=b', undefined, 200],
    ['GET', '/api/v1/access', '/api/v1/access', undefined, 400],
    ['GET', '/api/v1/access', '/api/v1/access?client=a', undefined, 404],
    ['POST', '/api/v1/reload', '/api/v1/reload', undefined, 200],
  ]
  const asText = (body: unknown): string => (typeof body === 'string' ? body : JSON.stringify(body))

  test.each(['{"password": secret-1}', '{"password":"secret-1"', 'secret-1', '"secret-1"', '{"password":["secret-1"]}'])(
    'a body that is wrong is not repeated: %s',
    async (body) => {
      const response = await fetch(`${url}/api/v1/users/mqtt%3Aeva/password`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json', 'x-csrf-token': csrfToken },
        body,
      })
      expect(response.status).toBe(400)
      expect(await response.text()).not.toContain('secret')
    },
  )

  test.each(REQUESTS)('%s %s: %s %j: %d', async (method, known, path, body, status) => {
    const response = await fetch(url + path, {
      method,
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), 'x-csrf-token': csrfToken },
      ...(body !== undefined && { body: asText(body) }),
    })
    const text = await response.text()
    expect(`${response.status} ${text.slice(0, 200)}`).toMatch(new RegExp(`^${status} `))
    const document = documentOf(api.routes)
    const { content } = document.paths[known]![method.toLowerCase()]!.responses[status]!
    const [[type, { schema }]] = Object.entries(content!) as [[string, { schema: object }]]
    expect(response.headers.get('content-type')).toContain(type)
    const ajv = new Ajv2020({ strictTypes: false })
    const validate = ajv.compile(resolved(document, schema))
    expect(validate(JSON.parse(text)), ajv.errorsText(validate.errors)).toBe(true)
  })
})
