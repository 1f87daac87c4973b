import type { HttpContext } from '../context.ts'
import {
  done,
  type HttpRequest,
  type HttpResponse,
  type HttpWork,
  json,
  problem,
  type ReloadPause,
  type Route,
} from '../exchange.ts'
import { BEGIN_SESSION, END_SESSION, READ_CONFIG, READ_SESSION, RELOAD } from './administration-specs.ts'

/** Who the user is, the configuration, and its reload. */
export const administrationRoutes = ({ server, config }: HttpContext): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/session',
    needs: 'view',
    spec: READ_SESSION,
    always: true,
    answer: sessionOf,
  },
  {
    method: 'POST',
    path: '/api/v1/session',
    needs: 'view',
    spec: BEGIN_SESSION,
    always: true,
    withoutToken: true,
    answer: (request) => ({ ...sessionOf(request), session: 'begin' }),
  },
  {
    method: 'DELETE',
    path: '/api/v1/session',
    needs: 'view',
    spec: END_SESSION,
    always: true,
    answer: () => ({ ...done, session: 'end' }),
  },
  { method: 'GET', path: '/api/v1/config', needs: 'view', spec: READ_CONFIG, answer: () => json(config) },
  {
    method: 'POST',
    path: '/api/v1/reload',
    needs: 'manage',
    spec: RELOAD,
    answer: (request) => reload(server.notice, request),
  },
]

const sessionOf = ({ user, role, login, csrfToken }: HttpRequest): HttpResponse =>
  json({ user, role, login, csrf_token: csrfToken })

function* reload(notice: HttpContext['server']['notice'], { user }: HttpRequest): HttpWork {
  notice({ code: 'operator-action', level: 'info', ...(user !== undefined && { user }), reason: 'files are reloaded' })
  const asked: ReloadPause = { kind: 'reload', result: undefined }
  yield asked
  const { result } = asked
  if (result === undefined || 'error' in result) return problem(409, result?.error ?? 'nothing was reloaded')
  return json(result)
}
