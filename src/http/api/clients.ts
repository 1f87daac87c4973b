import type { HttpContext } from '../context.ts'
import { json, type Route } from '../exchange.ts'
import { disconnectClient, endClient, findClient, isEntry } from './client-actions.ts'
import { clientDetail } from './client-json.ts'
import { listClients } from './client-list.ts'
import { DISCONNECT_CLIENT, END_CLIENT, LIST_CLIENTS, READ_CLIENT } from './client-specs.ts'
import { reasonJson, reasonsOf } from './reasons.ts'

type Context = Pick<HttpContext, 'server' | 'notices'> & { readonly status: Pick<HttpContext['status'], 'notReady'> }

/** Clients and sensors: list, look at, disconnect, and end their sessions. */
export function clientRoutes({ server, status, notices: { run } }: Context): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/clients',
      needs: 'view',
      spec: LIST_CLIENTS,
      answer: (request) => listClients(server, run, request),
    },
    {
      method: 'GET',
      path: '/api/v1/clients/:id',
      needs: 'view',
      spec: READ_CLIENT,
      answer: ({ now, params, query: { topic }, role }) => {
        const found = findClient(server, params.id!)
        if (!isEntry(found)) return found
        const reasons = Array.from(reasonsOf(server, found, { now, status, topic }), (reason) => reasonJson(server, reason))
        return json({ ...clientDetail(server, now, found, role === 'manage'), reasons })
      },
    },
    {
      method: 'POST',
      path: '/api/v1/clients/:id/disconnect',
      needs: 'manage',
      spec: DISCONNECT_CLIENT,
      answer: (request) => {
        const found = findClient(server, request.params.id!)
        return isEntry(found) ? disconnectClient(server, found, request) : found
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/clients/:id',
      needs: 'manage',
      spec: END_CLIENT,
      answer: (request) => {
        const found = findClient(server, request.params.id!)
        return isEntry(found) ? endClient(server, found, request) : found
      },
    },
  ]
}
