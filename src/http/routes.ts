import type { Server } from '../server.ts'
import type { Route } from './exchange.ts'
import { exposition, TEXT_TYPE } from './exposition.ts'
import { healthRoutes } from './health.ts'
import { metricsOf } from './metrics.ts'
import type { ProcessStatus } from './status.ts'

/** What the HTTP service shows. */
export interface HttpContext {
  readonly server: Server
  readonly status: ProcessStatus
}

/** Everything that can be asked for. */
export const routesOf = (context: HttpContext): readonly Route[] => [
  ...healthRoutes(context.status),
  {
    method: 'GET',
    path: '/metrics',
    needs: 'view',
    answer: ({ now }) => ({ status: 200, type: TEXT_TYPE, body: exposition(metricsOf(now, context.server, context.status)) }),
  },
]
