import { performance } from 'node:perf_hooks'
import { PERFECT } from '../../fuzz/sim/network.ts'
import type { TcpClient } from '../../fuzz/sim/tcp-client.ts'
import { type Sensor, World } from '../../fuzz/sim/world.ts'
import { AccessPolicy, type ListenerPolicy } from '../../src/access/policy.ts'
import { Histogram } from '../../src/base/histogram.ts'
import { DEFAULT_CONFIG } from '../../src/config/config.ts'
import { SensorRules } from '../../src/gateway/sensor-rules.ts'
import type { AccountChange, AccountResult, Accounts } from '../../src/http/accounts.ts'
import type { HttpContext } from '../../src/http/context.ts'
import { effectiveConfig } from '../../src/http/effective-config.ts'
import {
  type Answer,
  type EventStream,
  type HttpResponse,
  isStream,
  isWork,
  type Pause,
  problem,
  type ReloadResult,
  ROOM_MS,
  type Role,
  type Route,
} from '../../src/http/exchange.ts'
import type { HttpHost } from '../../src/http/io/http-host.ts'
import { NoticeRing } from '../../src/http/notice-ring.ts'
import { routesOf } from '../../src/http/routes.ts'
import type { ProcessStatus } from '../../src/http/status.ts'
import type { MqttClientOptions } from '../../src/mqtt/client.ts'
import type { SnClientOptions } from '../../src/mqttsn/client.ts'
import type { Server } from '../../src/server.ts'
import { Tracer } from '../../src/trace/tracer.ts'
import { expectDescribed } from './api/harness.ts'

/** A process in which everything is durable immediately. */
export const testHost = (more: Partial<HttpHost> = {}): HttpHost => ({
  notReady: undefined,
  run: (step) => step(performance.now()),
  durable: async () => true,
  reload: async () => ({ warnings: [] }),
  changeAccount: async () => ({ outcome: 'set' }),
  ...more,
})

/** An answer, with its JSON parsed. */
export interface Answered {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into it.
  readonly body: any
  /** Turns of the event loop that it took. */
  readonly turns: number
}

export interface Asked {
  readonly role?: Role
  readonly user?: string
  readonly body?: unknown
}

/** Who may log in and do what; by default everybody may do everything, and nobody has a password. */
export interface Site {
  readonly access?: AccessPolicy
  readonly sensors?: HttpContext['sensors']
  readonly accounts?: Accounts
}

const OPEN: ListenerPolicy = {
  allowAnonymous: true,
  verifies: false,
  methods: [],
  passwords: undefined,
  tokenKeys: new Set(),
  acl: undefined,
}
const NO_RULES = new SensorRules([], { username: undefined, qosM1: false, qosM1Username: undefined })

/** The routes around the simulated world: virtual time, and a store of which the test decides when it commits. */
export class TestApi {
  readonly world: World
  readonly notices: NoticeRing
  readonly routes: readonly Route[]
  /** Called between two turns of a request. */
  betweenTurns: () => void = () => {}
  reloads: ReloadResult = { warnings: [] }
  /** Changes of users that were asked for, and their result. */
  readonly changes: AccountChange[] = []
  changed: AccountResult = { outcome: 'set' }
  /** Why the process is not ready. */
  notReady: string | undefined

  constructor(world = new World(1), site: Site = {}) {
    this.world = world
    world.network.faults = PERFECT
    this.notices = new NoticeRing(() => 1_800_000_000_000 + world.schedule.now)
    world.observers.push({ notice: (notice) => this.notices.add(notice) })
    this.routes = routesOf({
      server: world.server,
      status: { ...STATUS, notReady: () => this.notReady },
      notices: this.notices,
      tracer: new Tracer(world.server),
      wallNow: () => 1_800_000_000_000 + world.schedule.now,
      config: effectiveConfig(DEFAULT_CONFIG),
      access: site.access ?? new AccessPolicy(new Map([['mqtt', OPEN]]), OPEN),
      sensors: site.sensors ?? { rules: NO_RULES, file: undefined, username: undefined },
      accounts: site.accounts ?? { files: [], managers: new Set(), isOpen: true },
    })
  }

  get server(): Server {
    return this.world.server
  }

  /** Asks, and lets virtual time pass until there is an answer. `more` is who asks: somebody who may manage, by default. */
  ask(method: Route['method'], url: string, more: Asked = {}): Answered {
    const { response, turns } = this.finish(this.begin(method, url, more))
    expectDescribed(this.#routeOf(method, url), response)
    const { body, status } = response
    return { status, body: body.startsWith('{') ? JSON.parse(body) : body, turns }
  }

  /** Carries out all steps, and lets virtual time pass between them. */
  finish(next: () => IteratorResult<Pause, HttpResponse>): { readonly response: HttpResponse; readonly turns: number } {
    for (let turns = 1, step = next(); ; step = next(), turns++) {
      if (step.done === true) return { response: step.value, turns }
      this.betweenTurns()
      this.#after(step.value)
    }
  }

  #routeOf(method: Route['method'], url: string): Route {
    const { pathname } = new URL(url, 'http://roost')
    return this.routes.find((route) => route.method === method && paramsOf(route.path, pathname) !== undefined)!
  }

  #after(pause: Pause): void {
    const { world } = this
    // Output leaves, and time passes.
    world.input({ kind: 'durable' })
    world.schedule.runUntil(world.schedule.now + 1)
    if (pause.kind === 'room') world.schedule.runUntil(world.schedule.now + ROOM_MS)
    if (pause.kind === 'reload') pause.result = this.reloads
    if (pause.kind === 'account') {
      this.changes.push(pause.change)
      pause.result = this.changed
    }
    if (pause.kind === 'durable') world.schedule.runUntil(world.schedule.now + 10_000)
    if (pause.kind === 'durable' && world.store.durable < pause.lsn) throw new Error('it never becomes durable')
  }

  /** Returns a function that does the next step. */
  begin(method: Route['method'], url: string, more: Asked = {}): () => IteratorResult<Pause, HttpResponse> {
    const answer = this.answer(method, url, more)
    if (isWork(answer)) return () => answer.next(this.world.schedule.now)
    if (isStream(answer)) throw new Error(`${url} is a stream`)
    return () => ({ done: true, value: answer })
  }

  answer(
    method: Route['method'],
    url: string,
    { role = 'manage', user, body, lastEventId }: Asked & { lastEventId?: string } = {},
  ): Answer {
    const { pathname, searchParams } = new URL(url, 'http://roost')
    for (const route of this.routes) {
      const params = route.method === method ? paramsOf(route.path, pathname) : undefined
      if (params === undefined) continue
      if (route.needs === 'manage' && role === 'view') return problem(403, 'in io/')
      const query = Object.fromEntries(searchParams)
      const { now } = this.world.schedule
      return route.answer({ now, params, query, body, role, user, csrfToken: 'csrf', lastEventId })
    }
    throw new Error(`no route for ${method} ${pathname}`)
  }

  stream(url: string, lastEventId?: string): EventStream {
    const answer = this.answer('GET', url, lastEventId === undefined ? {} : { lastEventId })
    if (!('kind' in answer)) throw new Error(`${url} is no stream: ${JSON.stringify(answer)}`)
    return answer
  }
}

function paramsOf(path: string, asked: string): Record<string, string> | undefined {
  const [wanted, given] = [path.split('/'), asked.split('/')]
  if (wanted.length !== given.length) return undefined
  const params: Record<string, string> = {}
  for (const [i, part] of wanted.entries()) {
    if (part.startsWith(':')) params[part.slice(1)] = decodeURIComponent(given[i]!)
    else if (part !== given[i]) return undefined
  }
  return params
}

export const STATUS: ProcessStatus = {
  version: '1.2.3',
  startedAt: 1_800_000_000,
  notReady: () => undefined,
  memory: () => ({ heap: 1, resident: 2 }),
  cpuSeconds: () => 1,
  openFiles: () => undefined,
  eventLoopDelay: new Histogram([1]),
  droppedDatagrams: () => new Map(),
  certificates: () => [],
  store: () => undefined,
}

/** An MQTT client that is connected. */
export function connectClient(api: TestApi, clientId: string, more: Partial<MqttClientOptions> = {}): TcpClient {
  const client = api.world.addTcpClient({
    clientId,
    cleanStart: false,
    properties: { sessionExpiryInterval: 3600 },
    ...more,
  })
  client.connect()
  pass(api, 100)
  return client
}

/** A sensor that is active. */
export function connectSensor(api: TestApi, clientId: string, more: Partial<SnClientOptions> = {}): Sensor {
  const sensor = api.world.addSensor({ clientId, cleanSession: false, ...more })
  sensor.act((client, now) => client.connect(now))
  pass(api, 1000)
  return sensor
}

/** Lets so many milliseconds of virtual time pass. */
export const pass = ({ world: { schedule } }: TestApi, ms: number): void => schedule.runUntil(schedule.now + ms)
