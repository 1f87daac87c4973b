import { timingSafeEqual } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { STATUS_CODES } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { PasswordEntry } from '../../access/password-file.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { type EventStream, type HttpRequest, type HttpResponse, isStream, problem, type Role, type Route } from '../exchange.ts'
import { type GuardPolicy, requestRefusal, targetHost } from '../guard.ts'
import { parseJsonBody } from '../json-body.ts'
import { requestSchema, type SchemaError, schemaErrorWords, typedQuery } from '../request-check.ts'
import type { RouteSpec } from '../schema.ts'
import { Connections, peerOf } from './connections.ts'
import type { HttpHost } from './http-host.ts'
import type { Caller, HttpUsers } from './http-users.ts'
import { changeSession, sessionIdIn } from './session-cookie.ts'
import { Steps } from './steps.ts'
import { Streams } from './streams.ts'
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
  readonly running: HttpHost
  readonly notice: NoticeSink
  /** Milliseconds for a whole request; `REQUEST_MS` if absent. */
  readonly requestMs?: number
}

/** Of a body, unless a route takes more. */
const BODY_BYTES_MAX = 16 * 1024
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
  readonly #streams: Streams
  readonly #connections: Connections
  readonly port: number

  private constructor(app: FastifyInstance, options: HttpServerOptions, streams: Streams, connections: Connections) {
    this.#app = app
    this.#options = options
    this.#streams = streams
    this.#connections = connections
    this.port = (app.server.address() as AddressInfo).port
  }

  /** @throws StartError for the files, and the system's error if it cannot listen */
  static async listen(options: HttpServerOptions): Promise<HttpServer> {
    const streams = new Streams()
    const connections = new Connections(options.notice)
    const app = createApp(options, streams, connections)
    connections.watch(app.server)
    try {
      // By name, Fastify would listen on each of its addresses, and with port 0 on ports of which only one is known.
      const { address } = await lookup(options.host)
      await app.listen({ host: address, port: options.port })
    } catch (error) {
      await app.close()
      throw error
    }
    return new HttpServer(app, options, streams, connections)
  }

  /** Number of open event streams. */
  get streamCount(): number {
    return this.#streams.size
  }

  /** Bytes of memory that wait for readers of answers and event streams. */
  get outputBytes(): number {
    return this.#connections.bytes + this.#streams.bytes
  }

  get scheme(): 'http' | 'https' {
    return this.#options.tls === undefined ? 'http' : 'https'
  }

  /**
   * Reads users and certificates again; the function it returns applies them, and ends event streams: those who may still read them
   * come back. @throws StartError for the first error
   */
  prepareReload(): () => void {
    const { users, tls } = this.#options
    const usersInForce = users.prepareReload()
    const context = tls === undefined ? undefined : readTls(tls)
    return () => {
      usersInForce()
      this.#streams.close()
      if (context !== undefined) (this.#app.server as unknown as { setSecureContext(to: object): void }).setSecureContext(context)
    }
  }

  /** Puts new users into force, and ends event streams, as a reload does. */
  replacePasswords(passwords: ReadonlyMap<string, PasswordEntry>): void {
    this.#options.users.replacePasswords(passwords)
    this.#streams.close()
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    this.#streams.close()
    await this.#app.close()
  }
}

function createApp(options: HttpServerOptions, streams: Streams, connections: Connections): FastifyInstance {
  const { tls, routes, notice, requestMs = REQUEST_MS } = options
  const limits = {
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: requestMs,
    connectionTimeout: SILENT_MS,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: HEADER_BYTES_MAX },
    // What a request has is neither changed nor left out, but refused if it is wrong.
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    // What is wrong with the URL itself, such as `%zz`.
    frameworkErrors: (error: { statusCode?: number; message: string }, _request: FastifyRequest, reply: FastifyReply) => {
      void send(reply, problem(error.statusCode ?? 400, error.message))
    },
    clientErrorHandler: refuseMalformed,
  } as const
  const common = {
    maxHeaderSize: HEADER_BYTES_MAX,
    // Missing Host headers are the guard's, whose answers have a body.
    requireHostHeader: false,
    // Of the two timeouts, Node.js takes the shorter for the head and the longer for the whole request: they are the same.
    headersTimeout: requestMs,
    // By default, requests that do not end are looked for every 30 seconds.
    connectionsCheckingInterval: requestMs / 5,
  } as const
  const app = (
    tls === undefined
      ? fastify({ ...limits, http: common })
      : fastify({ ...limits, https: { ...common, ...readTls(tls), minVersion: 'TLSv1.2', handshakeTimeout: requestMs } })
  ) as FastifyInstance
  takeJsonOnly(app)
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const { statusCode: status = 500, message, stack } = error
    if (status < 500) return send(reply, problem(status, message))
    const reason = `${request.method} ${pathOf(request)}: ${stack ?? message}`
    notice({ code: 'http-failed', level: 'error', peer: peerOf(request.raw.socket), reason })
    return send(reply, problem(status, 'a fault in Roost, which its log describes'))
  })
  app.addHook('onRequest', guardOf(options, connections))
  refuseOtherPaths(app)
  const steps = new Steps(options.running)
  for (const route of routes) addRoute(app, route, options, { steps, streams, connections })
  refuseOtherMethods(app, routes)
  return app
}

/** Bodies are JSON. One that is empty is none, of whatever type: that is how `curl -d ''` posts. */
function takeJsonOnly(app: FastifyInstance): void {
  const options = { parseAs: 'buffer' } as const
  const error = (statusCode: number, message: string): Error => Object.assign(new Error(message), { statusCode })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', options, (_request, body, done) => {
    if (body.length === 0) done(null)
    else done(error(415, 'bodies are JSON: Content-Type: application/json'))
  })
  app.addContentTypeParser('application/json', options, (_request, body, done) => {
    const parsed = body.length === 0 ? { value: undefined } : parseJsonBody(body as Buffer)
    if ('error' in parsed) done(error(400, parsed.error))
    else done(null, parsed.value)
  })
}

/** Refuses requests for other hosts, and from pages of other sites, before anything else is looked at. */
function guardOf({ users, names, notice }: HttpServerOptions, connections: Connections) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const { raw } = request
    const excess = connections.refusal(raw)
    if (excess !== '') {
      if (!raw.socket.destroyed) refused(notice, raw.socket, excess)
      raw.socket.destroy()
      return reply.hijack()
    }
    const host = targetHost(raw.url ?? '', raw.headersDistinct.host ?? [])
    if (typeof host === 'string') {
      refused(notice, raw.socket, host)
      return send(reply, problem(400, host))
    }
    const policy: GuardPolicy = { isOpen: users.isOpen, names }
    const { origin, 'sec-fetch-site': fetchSite } = request.headers
    const reason = requestRefusal({ host, origin, fetchSite: one(fetchSite), isVisit: isVisit(request) }, policy)
    if (reason === '') {
      const coding = request.headers['content-encoding']
      if (coding === undefined || coding === 'identity') return undefined
      return send(reply, problem(415, `Content-Encoding ${coding.slice(0, 100)}: bodies are taken as they are`))
    }
    refused(notice, raw.socket, reason)
    return send(reply, problem(403, reason))
  }
}

/** A link to the console on another page is followed [Fetch Metadata, sections 2.1 and 2.2]. */
const isVisit = (request: FastifyRequest): boolean => {
  const { 'sec-fetch-mode': mode, 'sec-fetch-dest': destination } = request.headers
  return request.method === 'GET' && pathOf(request) === '/' && mode === 'navigate' && destination === 'document'
}

const refused = (notice: NoticeSink, socket: Socket, reason: string): void =>
  notice({ code: 'http-refused', level: 'info', peer: peerOf(socket), reason })

/** What is no HTTP at all, or takes too long to arrive. */
function refuseMalformed({ code }: Error & { readonly code?: string }, socket: Socket): void {
  if (code === 'ECONNRESET' || socket.destroyed) return
  const { status, type, body } = MALFORMED[code ?? ''] ?? problem(400, 'this is not an HTTP request')
  const head = { ...HEADERS, 'content-type': type, 'content-length': `${Buffer.byteLength(body)}`, connection: 'close' }
  const lines = Object.entries(head).map(([name, value]) => `${name}: ${value}\r\n`)
  if (socket.writable) socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`)
  socket.destroySoon()
}

const MALFORMED: Readonly<Record<string, HttpResponse>> = {
  ERR_HTTP_REQUEST_TIMEOUT: problem(408, 'the request took too long to arrive'),
  HPE_HEADER_OVERFLOW: problem(431, `a request has ${HEADER_BYTES_MAX / 1024} KiB of headers at most`),
}

const RANK: Readonly<Record<Role, number>> = { view: 1, manage: 2 }

interface ApiRequest {
  Params: Record<string, string>
  Querystring: Readonly<Record<string, string | string[] | number | boolean>>
}

interface Parts {
  readonly steps: Steps
  readonly streams: Streams
  readonly connections: Connections
}

function addRoute(app: FastifyInstance, route: Route, options: HttpServerOptions, { steps, streams, connections }: Parts): void {
  const { users, running } = options
  const callers = new WeakMap<FastifyRequest, Caller>()
  app.route<ApiRequest>({
    method: route.method,
    url: route.path,
    bodyLimit: route.bodyBytesMax ?? BODY_BYTES_MAX,
    ...(route.spec !== undefined && checkedBy(route.spec)),
    // Before the body is read: a stranger has no megabyte parsed, and is not told how the API works.
    onRequest: async (request, reply) => {
      const { authorization, cookie, 'x-csrf-token': csrf, 'x-requested-with': script } = request.headers
      const caller = await users.callerOf(
        authorization,
        peerOf(request.raw.socket),
        sessionIdIn(cookie, request.socket.localPort),
      )
      const refusal = callerRefusal(caller, route, one(csrf))
      if (refusal !== undefined) {
        // The console has a form of its own: for it, the browser must not ask.
        if (refusal.status === 401 && script === undefined) void reply.header('www-authenticate', 'Basic realm="Roost"')
        return send(reply, refusal)
      }
      const { notReady } = running
      if (notReady !== undefined && route.always !== true) return send(reply, problem(503, notReady))
      if (route.needs !== undefined) connections.isKnown(request.raw)
      callers.set(request as FastifyRequest, caller)
      return undefined
    },
    handler: async (request, reply) => {
      const caller = callers.get(request as FastifyRequest)
      const known = caller?.kind === 'known' ? caller : undefined
      const asked = (now: number): HttpRequest => ({
        now,
        params: request.params,
        query: lastValues(request.query),
        body: request.body,
        role: known?.role,
        user: known?.user,
        login: known?.proof === undefined ? undefined : known.user === undefined ? 'token' : 'password',
        csrfToken: known?.csrfToken ?? '',
        lastEventId: one(request.headers['last-event-id']),
        ifNoneMatch: request.headers['if-none-match'],
        acceptEncoding: one(request.headers['accept-encoding']),
      })
      await connections.turn(reply.raw)
      const answer = await steps.run(
        (now) => (route.always !== true && connections.isFull ? FULL : route.answer(asked(now))),
        () => request.raw.socket.destroyed,
      )
      if (answer === undefined) return reply.hijack()
      if (isStream(answer)) return startStream(reply, answer, streams, known?.sessionId)
      if (answer.session !== undefined) {
        const former = changeSession(reply, answer.session, known, options)
        if (former !== undefined) streams.closeOf(former)
      }
      return send(reply, answer)
    },
  })
}

const FULL = problem(503, 'too many answers wait for their readers')

/** How requests are checked, between `onRequest` and the handler. */
const checkedBy = (spec: RouteSpec) => ({
  schema: requestSchema(spec),
  preValidation: async (request: FastifyRequest): Promise<void> => {
    request.query = typedQuery(lastValues(request.query as ApiRequest['Querystring']), spec.query ?? {})
  },
  schemaErrorFormatter: ([error]: readonly SchemaError[]): Error =>
    new Error(error === undefined ? 'the request is wrong' : schemaErrorWords(error, Object.keys(spec.query ?? {}))),
})

/** 404, before a body is read. */
function refuseOtherPaths(app: FastifyInstance): void {
  const refuse = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
    send(reply, problem(404, `there is no ${request.method} ${pathOf(request)}`))
  // Without a handler, the hook is not run for such paths.
  app.setNotFoundHandler(refuse)
  app.addHook('onRequest', async (request, reply) => (request.is404 ? refuse(request, reply) : undefined))
}

/** 405 for a path that exists, with the methods that it has, before a body is read. */
function refuseOtherMethods(app: FastifyInstance, routes: readonly Route[]): void {
  const methods = new Map<string, Route['method'][]>()
  for (const { path, method } of routes) methods.set(path, [...(methods.get(path) ?? []), method])
  for (const [url, known] of methods) {
    const allowed = known.includes('GET') ? [...known, 'HEAD'] : known
    const refuse = (request: FastifyRequest, reply: FastifyReply): FastifyReply =>
      send(reply.header('allow', allowed.join(', ')), problem(405, `${request.method} is not allowed for ${pathOf(request)}`))
    app.route({
      method: METHODS.filter((method) => !allowed.includes(method)),
      url,
      onRequest: async (request, reply) => refuse(request, reply),
      // Never reached.
      handler: refuse,
    })
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Why the caller may not use this route; `csrf` is what the request carries. */
function callerRefusal(
  caller: Caller,
  { method, needs, withoutToken }: Route,
  csrf: string | undefined,
): HttpResponse | undefined {
  if (needs === undefined) return undefined
  if (caller.kind === 'refused') return problem(caller.status, caller.reason)
  if (RANK[caller.role] < RANK[needs]) return problem(403, `this needs a user who may ${needs} (http_managers)`)
  // A page of another site cannot read the token, and a program that has a bearer token is no browser.
  if (method === 'GET' || withoutToken === true || caller.byToken || isEqual(csrf ?? '', caller.csrfToken)) return undefined
  return problem(403, 'this needs the header X-CSRF-Token with the csrf_token of GET /api/v1/session')
}

function isEqual(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)]
  return one.length === other.length && timingSafeEqual(one, other)
}

const one = (header: string | string[] | undefined): string | undefined => (Array.isArray(header) ? header.at(-1) : header)

function startStream(reply: FastifyReply, stream: EventStream, streams: Streams, sessionId: string | undefined): FastifyReply {
  const { socket } = reply.request.raw
  const { refusal } = streams
  if (refusal !== '') {
    stream.close()
    return send(reply, problem(503, refusal))
  }
  const { raw } = reply.hijack()
  // Nothing can follow it on this connection.
  raw.writeHead(200, { ...HEADERS, 'content-type': 'text/event-stream; charset=utf-8', connection: 'close' })
  raw.flushHeaders()
  if (reply.request.method === 'HEAD') {
    stream.close()
    raw.end()
  } else streams.add(stream, raw, socket, sessionId)
  return reply
}

/** As text, also after they were checked as numbers. */
const lastValues = (query: ApiRequest['Querystring']): Record<string, string> =>
  Object.fromEntries(
    Object.entries(query).map(([name, value]) => [name, String(Array.isArray(value) ? (value.at(-1) ?? '') : value)]),
  )

const send = (reply: FastifyReply, { status, type, body, bytes, headers = {} }: HttpResponse): FastifyReply =>
  reply
    .code(status)
    .type(type)
    .headers({ ...HEADERS, ...headers })
    .send(bytes ?? body)

const pathOf = ({ url }: FastifyRequest): string => url.replace(/\?.*/s, '').slice(0, 200)
