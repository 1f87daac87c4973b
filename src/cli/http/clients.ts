import { StartError } from '../../base/start-error.ts'
import { jsonArray } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags, collected } from './api-client.ts'
import { type ClientDetail, detailLines } from './client-detail.ts'
import { CLIENT, type ClientSummary, clientTable } from './client-table.ts'

export interface ClientsFlags extends ApiFlags {
  readonly query?: string
  readonly state?: string
  readonly protocol?: string
  readonly port?: string
  readonly json?: true
}

/** Lists clients, or shows one. */
export async function clients(flags: ClientsFlags, host: Host, id: string | undefined): Promise<void> {
  const { query: q, state, protocol, port, json } = flags
  const chosen = Object.entries({ query: q, state, protocol, port }).find(([, value]) => value !== undefined)
  if (id !== undefined && chosen !== undefined) throw new StartError(`--${chosen[0]}: not with a client id`)
  const api = await ApiClient.from(flags, host)
  if (id !== undefined) {
    const detail = await api.get<ClientDetail>(`/api/v1/clients/${encodeURIComponent(id)}`, CLIENT)
    for (const line of json === true ? [`${JSON.stringify(detail, undefined, 2)}\n`] : detailLines(detail, Date.now()))
      host.stdout.write(line)
    return
  }
  const all = await collected(api.list<ClientSummary>('/api/v1/clients', { q, state, protocol, port }, 'clients', CLIENT))
  for (const line of json === true ? jsonArray(all) : clientTable(all, Date.now())) host.stdout.write(line)
}
