import { NOTICES, type NoticeCode } from '../../base/notice.ts'
import type { HttpContext } from '../context.ts'
import { type HttpRequest, json, problem, type Route } from '../exchange.ts'
import { type NoticeFilter, noticeJson } from '../notice-ring.ts'
import { LIST_NOTICES, STREAM_EVENTS } from './administration-specs.ts'
import { limitError } from './client-list.ts'

const LIMIT = 100
const LIMIT_MAX = 1000

/** The last notices, and those to come. */
export const noticeRoutes = ({ notices }: HttpContext): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/notices',
    needs: 'view',
    spec: LIST_NOTICES,
    answer: ({ query }) => {
      const filter = filterOf(query, ['code', 'client', 'limit'])
      if (typeof filter === 'string') return problem(400, filter)
      const wrong = limitError(query.limit, LIMIT_MAX)
      if (wrong !== undefined) return problem(400, wrong)
      const limit = query.limit === undefined ? LIMIT : Number(query.limit)
      return json({ notices: notices.last(filter, limit).map((kept) => noticeJson(kept, notices.run)) })
    },
  },
  {
    method: 'GET',
    path: '/api/v1/events',
    needs: 'view',
    spec: STREAM_EVENTS,
    answer: ({ query, lastEventId }) => {
      const filter = filterOf(query, ['code', 'client'])
      return typeof filter === 'string' ? problem(400, filter) : notices.stream(filter, lastEventId)
    },
  },
]

function filterOf(query: HttpRequest['query'], known: readonly string[]): NoticeFilter | string {
  const { code, client } = query
  const unknown = Object.keys(query).find((name) => !known.includes(name))
  if (unknown !== undefined) return `${unknown.slice(0, 100)}: is not known here; there are ${known.join(', ')}`
  if (code !== undefined && !Object.hasOwn(NOTICES, code)) return 'code: expected a code of docs/notices.md'
  return { code: code as NoticeCode | undefined, client }
}
