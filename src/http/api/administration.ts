import type { HttpContext } from '../context.ts'
import { type HttpRequest, type HttpWork, json, problem, type ReloadPause, type Route } from '../exchange.ts'
import { READ_CONFIG, READ_SESSION, RELOAD } from './administration-specs.ts'

/** Who the user is, the configuration, and its reload. */
export const administrationRoutes = ({ server, config }: HttpContext): readonly Route[] => [
  {
    method: 'GET',
    path: '/api/v1/session',
    needs: 'view',
    spec: READ_SESSION,
    answer: ({ user, role, csrfToken }) => json({ user, role, csrf_token: csrfToken }),
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

function* reload(notice: HttpContext['server']['notice'], { user }: HttpRequest): HttpWork {
  notice({ code: 'operator-action', level: 'info', ...(user !== undefined && { user }), reason: 'files are reloaded' })
  const asked: ReloadPause = { kind: 'reload', result: undefined }
  yield asked
  const { result } = asked
  if (result === undefined || 'error' in result) return problem(409, result?.error ?? 'nothing was reloaded')
  return json(result)
}
