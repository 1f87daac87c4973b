import { clientRoutes } from '../../src/http/api/clients.ts'
import { publishRoutes } from '../../src/http/api/publish.ts'
import { retainedRoutes } from '../../src/http/api/retained.ts'
import {
  type HttpRequest,
  type HttpResponse,
  type HttpWork,
  isStream,
  isWork,
  type Pause,
  ROOM_MS,
  type Route,
} from '../../src/http/exchange.ts'
import { NoticeRing } from '../../src/http/notice-ring.ts'
import type { Server } from '../../src/server.ts'
import { topicMatches } from '../topic-matches.ts'
import type { Published, Receiver } from './claims.ts'
import type { Site } from './site.ts'
import { FILTERS, type OperatorStep, TOPICS } from './step.ts'
import { COMMIT_MS } from './world.ts'

/** Who publishes over HTTP. */
export const OPERATOR = 'http'
/** Until a request is answered although what it did is not durable. */
const DURABLE_MS = 10_000
/** Of a list. */
const PAGE = 2

type Ask = Pick<HttpRequest, 'params' | 'query' | 'body'>

/** Somebody who manages the broker over HTTP: the routes of the API, with the turns of the event loop in virtual time. */
export class Operator {
  /** Texts of retained messages whose deletion was answered, and which nobody publishes again, by topic. */
  readonly deleted = new Map<string, string>()
  /** Sessions whose end was asked for, and whose clients have not been told yet that they are gone. */
  readonly ended = new Set<string>()
  /** What must not have happened. */
  readonly found: string[] = []
  readonly #site: Site
  #server: Server | undefined
  #routes: readonly Route[] = []

  constructor(site: Site) {
    this.#site = site
    // Like a publisher with a session that lasts: nothing of it is repeated.
    site.claims.receiver(OPERATOR, true, 2)
  }

  take(step: OperatorStep): void {
    const { nodes, stations } = this.#site
    if (step.do === 'http-publish') this.#publish(TOPICS[step.topic]!, step.qos, step.retain, step.unfit)
    else if (step.do === 'http-delete') this.#delete(TOPICS[step.topic]!)
    else if (step.do === 'http-delete-many') this.#deleteMany(FILTERS[step.filter]!)
    else if (step.do === 'http-list') this.#list(undefined, undefined)
    else {
      const node = nodes[step.who]
      const { id, receiver } = node ?? stations[step.who - nodes.length]!
      const key = `${node === undefined ? 'mqtt' : 'sn'}:${id}`
      if (step.do === 'http-disconnect') this.#ask('POST', '/api/v1/clients/:id/disconnect', { params: { id: key } })
      // The collector is there for everybody.
      else if (receiver !== this.#site.collector.receiver) {
        this.#end(key, receiver)
        // CONNACK tells an MQTT client that its session is gone, and with it all that was granted; a sensor is never told.
        node?.forfeit()
      }
    }
  }

  #publish(topic: string, qos: 0 | 1 | 2, retain: boolean, isUnfit = false): void {
    const one = this.#site.claims.publish(OPERATOR, topic, qos, false, retain, isUnfit)
    one.arrived = 1
    const { world } = this.#site
    world.read(() => {
      for (const observer of world.observers) observer.requested?.(one.text)
    })
    this.#ask('POST', '/api/v1/publish', { body: { topic, payload: one.text, qos, retain } }, ({ status }) => {
      if (status === 200) one.acknowledged = true
      else one.refused = true
    })
  }

  #delete(topic: string): void {
    const texts = this.#retainedOn((each) => each === topic)
    this.#ask('DELETE', '/api/v1/retained/:topic', { params: { topic } }, ({ status }) => {
      if (status === 200) for (const [text, on] of texts) this.deleted.set(text, on)
    })
  }

  #deleteMany(filter: string): void {
    const texts = this.#retainedOn((topic) => topicMatches(filter, topic))
    this.#ask('DELETE', '/api/v1/retained', { query: { filter } }, ({ status }) => {
      if (status === 200) for (const [text, on] of texts) this.deleted.set(text, on)
    })
  }

  /** What is retained now that nobody will say again: of a sensor, a late copy might come. */
  #retainedOn(isMeant: (topic: string) => boolean): Map<string, string> {
    const { claims, world, stations } = this.#site
    const found = new Map<string, string>()
    for (const topic of TOPICS) {
      const message = isMeant(topic) ? world.server.broker.retained.get(topic) : undefined
      const one = message && claims.published.get(Buffer.from(message.payload).toString())
      if (
        one !== undefined &&
        this.#isOver(
          one,
          stations.some(({ id }) => id === one.publisher),
        )
      )
        found.set(one.text, topic)
    }
    return found
  }

  #isOver({ publisher, acknowledged, qos }: Published, isStation: boolean): boolean {
    return publisher === OPERATOR || (isStation && acknowledged && qos > 0)
  }

  #end(key: string, receiver: Receiver): void {
    const { claims } = this.#site
    claims.expired(receiver)
    this.ended.add(key)
    this.#ask('DELETE', '/api/v1/clients/:id', { params: { id: key } }, () => claims.expired(receiver))
  }

  /** Page by page. Whoever has a session all the time is on one of them. */
  #list(cursor: string | undefined, before: Listing | undefined): void {
    const sessions = (): Map<string, object> =>
      new Map(Array.from(this.#site.world.server.broker.sessions, (each) => [each.key, each]))
    const listing = before ?? { always: sessions(), listed: [] }
    this.#ask('GET', '/api/v1/clients', { query: { limit: String(PAGE), ...(cursor !== undefined && { cursor }) } }, (answer) => {
      if (answer.status !== 200)
        return void this.found.push(`a page of the list is answered with ${answer.status}: ${answer.body}`)
      const page = JSON.parse(answer.body) as { clients: { id: string }[]; cursor?: string }
      listing.listed.push(...page.clients.map(({ id }) => id))
      const now = sessions()
      for (const [key, session] of listing.always) if (now.get(key) !== session) listing.always.delete(key)
      if (page.cursor !== undefined) return this.#list(page.cursor, listing)
      for (const key of listing.always.keys()) {
        const times = listing.listed.filter((id) => id === key).length
        if (times !== 1) this.found.push(`${key} is listed ${times} times`)
      }
    })
  }

  /** A request, which ends with the process. */
  #ask(method: Route['method'], path: string, asked: Partial<Ask>, answered: (response: HttpResponse) => void = () => {}): void {
    const { world } = this.#site
    world.run(() => {
      const { server } = world
      const route = this.#routesOf(server).find((each) => each.method === method && each.path === path)!
      const request = { now: world.schedule.now, params: {}, query: {}, body: undefined, role: 'manage', ...asked } as const
      const answer = route.answer({ ...request, user: undefined, csrfToken: '', lastEventId: undefined })
      if (!isWork(answer)) {
        if (!isStream(answer)) answered(answer)
        return
      }
      this.#step(server, answer, answered)
    })
  }

  /** A step of a request, within a turn. */
  #step(server: Server, work: HttpWork, answered: (response: HttpResponse) => void): void {
    const step = work.next(this.#site.world.schedule.now)
    if (step.done === true) answered(step.value)
    else
      this.#wait(server, step.value, this.#site.world.schedule.now, (late) => {
        if (late) answered({ status: 503, type: '', body: '' })
        else this.#step(server, work, answered)
      })
  }

  #wait(server: Server, pause: Pause, since: number, next: (late: boolean) => void): void {
    const { world } = this.#site
    const { schedule } = world
    schedule.after(pause.kind === 'room' ? ROOM_MS : pause.kind === 'durable' ? COMMIT_MS : 1, () => {
      world.run(() => {
        // The process that was asked is no more.
        if (world.server !== server) return
        const waits = pause.kind === 'durable' && world.store.durable < pause.lsn
        if (waits && schedule.now - since < DURABLE_MS) this.#wait(server, pause, since, next)
        else next(waits)
      })
    })
  }

  #routesOf(server: Server): readonly Route[] {
    if (server !== this.#server)
      this.#routes = [
        ...publishRoutes(server.broker),
        ...retainedRoutes(server),
        ...clientRoutes({
          server,
          status: { notReady: () => undefined },
          notices: new NoticeRing(() => this.#site.world.schedule.now),
        }),
      ]
    this.#server = server
    return this.#routes
  }
}

interface Listing {
  /** Sessions that were there at the beginning, and still are. */
  readonly always: Map<string, object>
  readonly listed: string[]
}
