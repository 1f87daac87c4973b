import type { HttpContext } from '../context.ts'
import { type Answer, type HttpRequest, json, type Route } from '../exchange.ts'
import type { ProcessStatus } from '../status.ts'
import { disconnectClient, endClient, findClient, isEntry } from './client-actions.ts'
import { type ClientEntry, clientDetail } from './client-json.ts'
import { listClients } from './client-list.ts'
import { DISCONNECT_CLIENT, END_CLIENT, LIST_CLIENTS, READ_CLIENT } from './client-specs.ts'
import { reasonJson, reasonsOf } from './reasons.ts'

/** Clients and sensors: list, look at, disconnect, and end their sessions. */
export function clientRoutes({
  server,
  status,
  notices: { run },
}: Pick<HttpContext, 'server' | 'notices'> & { readonly status: Pick<ProcessStatus, 'notReady'> }): readonly Route[] {
  /** Answers what `act` returns for the client in the path, or why there is none. */
  const withClient =
    (act: (client: ClientEntry, request: HttpRequest) => Answer): Route['answer'] =>
    (request) => {
      const found = findClient(server, request.params.id!)
      return isEntry(found) ? act(found, request) : found
    }
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
      answer: withClient((client, { now, query: { topic }, role }) => {
        const reasons = Array.from(reasonsOf(server, client, { now, status, topic }), (reason) => reasonJson(server, reason))
        return json({ ...clientDetail(server, now, client, role === 'manage'), reasons })
      }),
    },
    {
      method: 'POST',
      path: '/api/v1/clients/:id/disconnect',
      needs: 'manage',
      spec: DISCONNECT_CLIENT,
      answer: withClient((client, request) => disconnectClient(server, client, request)),
    },
    {
      method: 'DELETE',
      path: '/api/v1/clients/:id',
      needs: 'manage',
      spec: END_CLIENT,
      answer: withClient((client, request) => endClient(server, client, request)),
    },
  ]
}
