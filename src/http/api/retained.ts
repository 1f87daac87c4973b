import { counted } from '../../base/counted.ts'
import type { Instant } from '../../base/machine.ts'
import type { NoticeSink } from '../../base/notice.ts'
import type { Broker } from '../../broker/broker.ts'
import type { Deletion } from '../../broker/operator-actions.ts'
import type { Work } from '../../broker/requests.ts'
import { type Listed, type ListedLevel, listLevels, listRetained } from '../../broker/retained-listing.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import type { Publish } from '../../mqtt/publish.ts'
import { topicFilterError } from '../../mqtt/topics.ts'
import type { Server } from '../../server.ts'
import {
  type HttpRequest,
  type HttpResponse,
  type HttpWork,
  json,
  jsonText,
  NEXT_TURN,
  problem,
  type Role,
  type Route,
} from '../exchange.ts'
import { BAD_CURSOR, cursorAfter, inTurns, type Page, pageOf } from '../pages.ts'
import { base64, flag, listOf, NEXT_CURSOR, object, PAGE_QUERY, PROBLEM, type RouteSpec, text, whole } from '../schema.ts'
import { sinceSecond } from './client-json.ts'
import { PROPERTIES, propertiesJson } from './properties.ts'

/** Larger payloads are left out: a subscription reads them without holding anything up. */
const PAYLOAD_MAX = 1024 * 1024
/** The same for text, which may be six times as long in JSON, and takes that longer to write. */
const TEXT_MAX = 128 * 1024

const TOPIC = text('topic name')
const MESSAGE = {
  topic: TOPIC,
  payload_bytes: whole('length of the payload'),
  qos: whole('QoS of its publisher', 0, 2),
} as const
const MESSAGE_OPTIONAL = {
  publisher: text(
    'client that published it, `mqtt:` or `sn:` before its client id, or `http`, and `http:` before a user, of this service',
  ),
  user: text("the publisher's user name, which need not be verified"),
  published: text('when; ISO 8601, UTC; absent if that was before Roost started'),
  expires_in: whole('seconds until it expires; absent: never'),
} as const
const LEVEL = object({
  level: text('its name; may be empty'),
  topic: text('topic of the level'),
  retained: flag('whether a message is retained on this topic'),
  below: whole('messages retained on topics below'),
})

const LIST: RouteSpec = {
  tag: 'retained messages',
  summary: 'Lists retained messages, or the levels of their topics',
  description:
    'In the order of topics, level by level, without payloads. With `level`, lists what is below a topic instead. A page has fewer entries than `limit` if some went away while it was made.',
  query: {
    filter: text('topic filter with the wildcards + and #; as for subscribers, # does not match topics that begin with $'),
    q: text('part of the topic; letters of either case are the same'),
    level: text('list the levels below this topic; `/` may follow it; empty: the first levels. Excludes filter and q.'),
    ...PAGE_QUERY,
  },
  answers: {
    200: {
      description: 'a page',
      schema: {
        oneOf: [
          object({ messages: listOf(object(MESSAGE, MESSAGE_OPTIONAL)) }, { cursor: NEXT_CURSOR }),
          object({ levels: listOf(LEVEL) }, { cursor: NEXT_CURSOR }),
        ],
      },
    },
  },
}

const READ: RouteSpec = {
  tag: 'retained messages',
  summary: 'Returns one retained message',
  description: 'Payload and properties are only for users who may manage.',
  params: { topic: TOPIC },
  answers: {
    200: {
      description: 'the message',
      schema: object(MESSAGE, {
        ...MESSAGE_OPTIONAL,
        payload: text('the payload, if it is UTF-8 and not longer than 128 KiB'),
        payload_base64: base64('the payload, if it is not longer than 1 MiB'),
        properties: PROPERTIES,
      }),
    },
    404: { description: 'no message is retained on this topic', schema: PROBLEM },
  },
}

const DELETED = object({
  messages: whole('deleted, or to be deleted'),
  bytes: whole('their size: payload, topic and properties'),
  dry_run: flag('whether they were only counted'),
})

const DELETE_ONE: RouteSpec = {
  tag: 'retained messages',
  summary: 'Deletes one retained message',
  description: 'Answered when that is durable. Subscribers are not told; publish an empty retained message to tell them.',
  params: { topic: TOPIC },
  answers: {
    200: { description: 'it is deleted', schema: DELETED },
    404: { description: 'no message is retained on this topic', schema: PROBLEM },
    507: { description: 'the store is full', schema: PROBLEM },
  },
}

const DELETE_MANY: RouteSpec = {
  tag: 'retained messages',
  summary: 'Deletes all retained messages that a topic filter matches',
  description: 'As for one. What is retained meanwhile stays.',
  query: {
    filter: text('topic filter', { minLength: 1 }),
    dry_run: { type: 'boolean', description: '`true`: only count them' },
  },
  requiredQuery: ['filter'],
  answers: {
    200: { description: 'they are deleted, or counted', schema: DELETED },
    507: { description: 'the store is full; says how many are deleted', schema: PROBLEM },
  },
}

/** What retained messages are read from. */
type Context = Pick<Server, 'broker' | 'notice' | 'wallEpoch'>

/** Browsing, reading and deleting retained messages. */
export const retainedRoutes = (server: Context): readonly Route[] => [
  { method: 'GET', path: '/api/v1/retained', needs: 'view', spec: LIST, answer: (request) => list(server, request) },
  { method: 'GET', path: '/api/v1/retained/:topic', needs: 'view', spec: READ, answer: (request) => read(server, request) },
  {
    method: 'DELETE',
    path: '/api/v1/retained/:topic',
    needs: 'manage',
    spec: DELETE_ONE,
    answer: (request) => deleteOne(server, request),
  },
  {
    method: 'DELETE',
    path: '/api/v1/retained',
    needs: 'manage',
    spec: DELETE_MANY,
    answer: (request) => deleteMany(server, request),
  },
]

function list(server: Context, request: HttpRequest): HttpResponse | HttpWork {
  const { root } = server.broker.retained
  const { now, query } = request
  const { filter, q, level } = query
  const page = pageOf(request)
  if (page === undefined) return problem(400, BAD_CURSOR)
  const { after, skip, limit } = page
  const wanted = { after, limit: skip + limit }
  if (level === undefined) {
    const wrong = filter === undefined ? '' : topicFilterError(filter)
    if (wrong !== '') return problem(400, `filter: ${wrong}`)
    return paged(now, page, listRetained(root, { filter, contains: q?.toLowerCase(), ...wanted }), messagesOf(server))
  }
  if (filter !== undefined || q !== undefined) return problem(400, 'level: excludes filter and q')
  const prefix = level === '' || level.endsWith('/') ? level : `${level}/`
  return paged(now, page, listLevels(root, prefix, wanted), levelsBelow(prefix))
}

/** How the entries of a list are written. */
interface Form<T> {
  readonly name: 'messages' | 'levels'
  readonly of: (entry: T, now: Instant) => object
  readonly nameOf: (entry: T) => string
}

/** Characters of a page, because peers choose the names in it, and of a part of it that is written in one turn. */
const PAGE_CHARACTERS = 1024 * 1024
const STEP_CHARACTERS = 64 * 1024
/** Characters that an entry counts beyond its own. */
const ENTRY_COST = 150

/** Writes a page part by part. */
function* paged<T>(began: Instant, page: Page, work: Work<Listed<T>>, { name, of, nameOf }: Form<T>): HttpWork {
  const { entries: found, next } = yield* inTurns(work, began)
  const entries = found.slice(page.skip)
  const texts: string[] = []
  let characters = 0
  let written = 0
  for (const entry of entries) {
    const text = JSON.stringify(of(entry, began))
    texts.push(text)
    characters += text.length
    if (characters > PAGE_CHARACTERS) break
    written += text.length + ENTRY_COST
    if (written < STEP_CHARACTERS) continue
    written = 0
    yield NEXT_TURN
  }
  const names = entries.slice(0, texts.length).map(nameOf)
  const last = names.length < entries.length ? names.at(-1) : next
  const cursor = last === undefined ? '' : `,"cursor":${JSON.stringify(cursorAfter(page, names, last))}`
  return jsonText(`{"${name}":[${texts.join(',')}]${cursor}}`)
}

const levelsBelow = (prefix: string): Form<ListedLevel> => ({
  name: 'levels',
  of: (found) => levelJson(prefix, found),
  nameOf: (found) => found.name,
})

const levelJson = (prefix: string, { name, retained, below }: ListedLevel): object => ({
  level: name,
  topic: prefix + name,
  retained,
  below,
})

function messageJson(server: Context, message: Publish, now: Instant): object {
  const { topic, payloadLength, qos, author, expiresAt } = message
  const published = sinceSecond(server, message.acceptedAt)
  const user = author.owner?.username
  return {
    topic,
    payload_bytes: payloadLength,
    qos,
    ...(author.key !== '' && { publisher: author.key }),
    ...(user !== undefined && { user }),
    ...(published !== undefined && { published }),
    ...(expiresAt !== undefined && { expires_in: Math.max(0, Math.ceil((expiresAt - now) / 1000)) }),
  }
}

const messagesOf = (server: Context): Form<Publish> => ({
  name: 'messages',
  of: (message, now) => messageJson(server, message, now),
  nameOf: ({ topic }) => topic,
})

const noMessage = (topic: string): HttpResponse => problem(404, `no message is retained on ${topic.slice(0, 200)}`)

function read(server: Context, { now, params, role }: HttpRequest): HttpResponse {
  const topic = params.topic!
  const message = server.broker.retained.get(topic)
  return message === undefined ? noMessage(topic) : json({ ...messageJson(server, message, now), ...contentJson(message, role) })
}

function contentJson({ payload, properties }: Publish, role: Role | undefined): object {
  if (role !== 'manage') return {}
  const shown = properties === NO_PROPERTIES ? {} : { properties: propertiesJson(properties) }
  if (payload.length > PAYLOAD_MAX) return shown
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
  const asText = bytes.length > TEXT_MAX ? undefined : textOf(bytes)
  return { ...(asText !== undefined && { payload: asText }), payload_base64: bytes.toString('base64'), ...shown }
}

function textOf(bytes: Buffer): string | undefined {
  const decoded = bytes.toString()
  return Buffer.from(decoded).equals(bytes) ? decoded : undefined
}

const FULL = 'the store is full'
const NO_ROOM = 'the store is too slow, and has no room for more'

function* deleteOne({ broker, notice }: Context, { params, user }: HttpRequest): HttpWork {
  const { retained, operator } = broker
  const topic = params.topic!
  const bytes = retained.get(topic)?.weight ?? 0
  const lsn = operator.deleteRetained(topic)
  if (lsn === undefined) return noMessage(topic)
  if (lsn === 'full') return problem(507, FULL)
  report(notice, user, `the retained message on ${topic} is deleted`)
  yield { kind: 'durable', lsn }
  return json({ messages: 1, bytes, dry_run: false })
}

function deleteMany({ broker, notice }: Context, { now, query, user }: HttpRequest): HttpResponse | HttpWork {
  const { filter = '', dry_run: dryRun } = query
  const wrong = topicFilterError(filter)
  if (wrong !== '') return problem(400, `filter: ${wrong}`)
  const deletion: Deletion = { filter, isDryRun: dryRun === 'true', messages: 0, bytes: 0, lsn: 0, isFull: false }
  return deleting(broker.operator, notice, deletion, now, user)
}

function* deleting(
  operator: Broker['operator'],
  notice: NoticeSink,
  deletion: Deletion,
  began: Instant,
  user: string | undefined,
): HttpWork {
  let isWaiting = false
  try {
    yield* inTurns(operator.deleteMatching(deletion), began, () => {
      isWaiting = true
    })
  } finally {
    // Also if it is given up half way.
    const { messages, filter, isDryRun } = deletion
    if (!isDryRun && messages > 0) report(notice, user, `deleted ${counted(messages, 'retained message')} on ${filter}`)
  }
  const { messages, bytes, lsn, isDryRun, isFull } = deletion
  const far = `${counted(messages, 'message')} deleted`
  if (isWaiting) return problem(503, `${NO_ROOM}; ${far}, but after a crash some of them may be back`)
  if (lsn > 0) yield { kind: 'durable', lsn, late: isFull ? `${FULL}; ${far}` : far }
  return isFull ? problem(507, `${FULL}; ${far}`) : json({ messages, bytes, dry_run: isDryRun })
}

function report(notice: NoticeSink, user: string | undefined, reason: string): void {
  notice({ code: 'operator-action', level: 'info', ...(user !== undefined && { user }), reason })
}
