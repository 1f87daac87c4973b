import { plain, type Route } from './exchange.ts'
import type { ProcessStatus } from './status.ts'

/** For supervisors and load balancers. They tell strangers nothing but this one word. */
export const healthRoutes = (status: Pick<ProcessStatus, 'notReady'>): readonly Route[] => [
  { method: 'GET', path: '/healthz', needs: undefined, always: true, answer: () => plain('ok') },
  {
    method: 'GET',
    path: '/readyz',
    needs: undefined,
    always: true,
    answer: () => {
      const reason = status.notReady()
      return reason === undefined ? plain('ready') : plain(`not ready: ${reason}`, 503)
    },
  },
]
