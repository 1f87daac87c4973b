import type { HttpContext } from '../context.ts'
import { json, type Route } from '../exchange.ts'
import { disconnectClient, endClient, findClient, isEntry } from './client-actions.ts'
import { clientDetail } from './client-json.ts'
import { listClients } from './client-list.ts'
import { DISCONNECT_CLIENT, END_CLIENT, LIST_CLIENTS, READ_CLIENT } from './client-specs.ts'

/** Clients and sensors: list, look at, disconnect, and end their sessions. */
export function clientRoutes({ server, notices: { run } }: Pick<HttpContext, 'server' | 'notices'>): readonly Route[] {
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
      answer: ({ now, params, role }) => {
        const found = findClient(server, params.id!)
        return isEntry(found) ? json(clientDetail(server, now, found, role === 'manage')) : found
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
