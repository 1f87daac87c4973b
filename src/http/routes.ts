import { accessRoutes } from './api/access.ts'
import { administrationRoutes } from './api/administration.ts'
import { bridgeRoutes } from './api/bridges.ts'
import { clientRoutes } from './api/clients.ts'
import { noticeRoutes } from './api/notices.ts'
import { overviewRoutes } from './api/overview.ts'
import { publishRoutes } from './api/publish.ts'
import { retainedRoutes } from './api/retained.ts'
import { traceRoutes } from './api/trace.ts'
import { upstreamRoutes } from './api/upstream.ts'
import { userRoutes } from './api/users.ts'
import type { HttpContext } from './context.ts'
import type { Route } from './exchange.ts'
import { healthRoutes } from './health.ts'
import { metricsRoute } from './metrics.ts'
import { openApiRoute } from './openapi.ts'

/** Everything that can be asked for. */
export function routesOf(context: HttpContext): readonly Route[] {
  const { server, status } = context
  const api = [
    ...overviewRoutes(context),
    ...clientRoutes(context),
    ...bridgeRoutes(server),
    ...upstreamRoutes(server),
    ...retainedRoutes(server),
    ...publishRoutes(server.broker),
    ...noticeRoutes(context),
    ...traceRoutes(context),
    ...userRoutes(context),
    ...accessRoutes(context),
    ...administrationRoutes(context),
  ]
  return [...healthRoutes(status), metricsRoute(server, status), ...api, openApiRoute(api, status.version)]
}
