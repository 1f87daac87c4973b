import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { NoticeSink } from '../../base/notice.ts'
import { type HttpResponse, problem, type Role, type Route } from '../exchange.ts'
import { type GuardPolicy, requestRefusal } from '../guard.ts'
import type { HttpUsers } from './http-users.ts'
import { type HttpTls, readTls } from './tls.ts'

export interface HttpServerOptions {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
  /** PEM files; plain HTTP if absent. */
  readonly tls?: HttpTls
  /** Names of this machine, and of `http_hosts`. */
  readonly names: readonly string[]
  readonly users: HttpUsers
  readonly routes: readonly Route[]
  readonly notice: NoticeSink
}

/** Connections at most: a few browsers, programs that scrape, and streams. */
const CONNECTIONS_MAX = 64
const BODY_BYTES_MAX = 1024 * 1024
const HEADER_BYTES_MAX = 16 * 1024
/** Milliseconds for a whole request, and without any byte on a connection. */
const REQUEST_MS = 10_000
const SILENT_MS = 60_000

/** No page of another site may show this service in a frame, and what it answers is never guessed to be a page. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
} as const

/** The HTTP service on a socket. What it answers is decided by its routes. */
export class HttpServer {
  readonly #app: FastifyInstance
  readonly #options: HttpServerOptions
  readonly port: number

  private constructor(app: FastifyInstance, options: HttpServerOptions) {
    this.#app = app
    this.#options = options
    this.port = (app.server.address() as AddressInfo).port
  }

  /** @throws StartError for the files, and the system's error if it cannot listen */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const app = createApp(options)
    try {
      await app.listen({ host: options.host, port: options.port })
    } catch (error) {
      await app.close()
      throw error
    }
    return new HttpServer(app, options)
  }

  get scheme(): 'http' | 'https' {
    return this.#options.tls === undefined ? 'http' : 'https'
  }

  /** Reads users and certificates again; the function it returns applies them. @throws StartError for the first error */
  prepareReload(): () => void {
    const { users, tls } = this.#options
    const usersInForce = users.prepareReload()
    const context = tls === undefined ? undefined : readTls(tls)
    return () => {
      usersInForce()
      if (context !== undefined) (this.#app.server as unknown as { setSecureContext(to: object): void }).setSecureContext(context)
    }
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.#app.close()
  }
}

function createApp(options: HttpServerOptions): FastifyInstance {
  const { tls, routes, notice } = options
  const limits = {
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS,
    connectionTimeout: SILENT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: HEADER_BYTES_MAX },
  } as const
  const app = (
    tls === undefined
      ? fastify({ ...limits, http: { maxHeaderSize: HEADER_BYTES_MAX } })
      : fastify({ ...limits, https: { ...readTls(tls), maxHeaderSize: HEADER_BYTES_MAX, minVersion: 'TLSv1.2' } })
  ) as FastifyInstance
  app.server.maxConnections = CONNECTIONS_MAX
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const { statusCode: status = 500, message, stack } = error
    if (status < 500) return send(reply, problem(status, message))
    const reason = `${request.method} ${pathOf(request)}: ${stack ?? message}`
    notice({ code: 'http-failed', level: 'error', peer: peerOf(request), reason })
    return send(reply, problem(status, 'a fault in Roost, which its log describes'))
  })
  app.setNotFoundHandler((request, reply) => send(reply, problem(404, `there is no ${request.method} ${pathOf(request)}`)))
  const guard = guardOf(options)
  app.addHook('onRequest', guard)
  for (const route of routes) addRoute(app, route, options)
  refuseOtherMethods(app, routes)
  return app
}

/** Refuses requests for other hosts, and from pages of other sites, before anything else is looked at. */
function guardOf({ users, names, notice }: HttpServerOptions) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const policy: GuardPolicy = { isOpen: users.isOpen, names }
    const reason = requestRefusal({ host: request.headers.host, origin: request.headers.origin }, policy)
    if (reason === '') return undefined
    notice({ code: 'http-refused', level: 'info', peer: peerOf(request), reason })
    return send(reply, problem(403, reason))
  }
}

const RANK: Readonly<Record<Role, number>> = { view: 1, manage: 2 }

function addRoute(app: FastifyInstance, route: Route, { users }: HttpServerOptions): void {
  app.route<{ Params: Record<string, string>; Querystring: Record<string, string | string[]> }>({
    method: route.method,
    url: route.path,
    handler: async (request, reply) => {
      const caller = await users.callerOf(request.headers.authorization, peerOf(request))
      if (route.needs !== undefined) {
        if (caller.kind === 'refused')
          return send(reply.header('www-authenticate', 'Basic realm="Roost"'), problem(caller.status, caller.reason))
        if (RANK[caller.role] < RANK[route.needs])
          return send(reply, problem(403, `this needs a user who may ${route.needs} (http_managers)`))
      }
      const known = caller.kind === 'known' ? caller : undefined
      const { params, query, body } = request
      const answer = route.answer({
        now: performance.now(),
        params,
        query: lastValues(query),
        body,
        role: known?.role,
        user: known?.user,
      })
      return send(reply, answer)
    },
  })
}

/** 405 for a path that exists, with the methods that it has. */
function refuseOtherMethods(app: FastifyInstance, routes: readonly Route[]): void {
  const methods = new Map<string, Route['method'][]>()
  for (const { path, method } of routes) methods.set(path, [...(methods.get(path) ?? []), method])
  for (const [url, known] of methods) {
    const allowed = known.includes('GET') ? [...known, 'HEAD'] : known
    app.route({
      method: METHODS.filter((method) => !allowed.includes(method)),
      url,
      handler: (request, reply) =>
        send(reply.header('allow', allowed.join(', ')), problem(405, `${request.method} is not for ${pathOf(request)}`)),
    })
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

const lastValues = (query: Readonly<Record<string, string | string[]>>): Record<string, string> =>
  Object.fromEntries(Object.entries(query).map(([name, value]) => [name, Array.isArray(value) ? (value.at(-1) ?? '') : value]))

const send = (reply: FastifyReply, { status, type, body, headers = {} }: HttpResponse): FastifyReply =>
  reply
    .code(status)
    .type(type)
    .headers({ ...HEADERS, ...headers })
    .send(body)

/** As notices name peers: `127.0.0.1:51234`, `[::1]:51234`. */
function peerOf({ ip, socket }: FastifyRequest): string {
  return `${ip.includes(':') ? `[${ip}]` : ip}:${socket.remotePort ?? 0}`
}

const pathOf = ({ url }: FastifyRequest): string => url.replace(/\?.*/s, '').slice(0, 200)
