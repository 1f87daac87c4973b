import { useEffect, useState } from 'preact/hooks'
import { call } from '../lib/api.ts'
import { type Notice, onNotice } from '../lib/live.ts'
import { useLoaded } from '../lib/loaded.ts'
import { count } from '../lib/numbers.ts'
import { NOTICES } from '../lib/reference.ts'
import { clientHref } from '../lib/route.ts'
import { Empty, Failed, Loading } from './basics.tsx'
import { Time } from './time.tsx'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]

const rank = (level: Level): number => LEVELS.indexOf(level)
export const isAtLeast = (notice: Notice, least: Level): boolean => rank(notice.level) >= rank(least)

interface LineProps {
  readonly notice: Notice
  /** The client is known from the page. */
  readonly isOfClient?: boolean
  /** The meaning of the code can be unfolded. */
  readonly isExplained?: boolean
}

/** One notice: what, about which client, why, when. */
export function NoticeLine({ notice, isOfClient = false, isExplained = false }: LineProps) {
  const { code, level, client, user, peer, reason, limit, time, count: times = 1 } = notice
  return (
    <li class={`notice is-${level}`}>
      <span class="notice-head">
        <span class="level">{level}</span>
        <b>{code}</b>
        {times > 1 && <span class="soft">{count(times)} times</span>}
        {!isOfClient && client !== undefined && <ClientName client={client} />}
        <span class="faint">
          <Time at={time} isExact />
        </span>
      </span>
      {(reason !== undefined || user !== undefined || limit !== undefined || (client === undefined && peer !== undefined)) && (
        <span class="soft notice-text">
          {[reason, user !== undefined && `user ${user}`, limit !== undefined && `limit ${limit}`, client === undefined && peer]
            .filter(Boolean)
            .join('; ')}
        </span>
      )}
      {isExplained && <Explained code={code} />}
    </li>
  )
}

function Explained({ code }: { readonly code: string }) {
  const [about, action] = NOTICES[code] ?? []
  if (about === undefined) return null
  return (
    <details>
      <summary>What does this mean?</summary>
      <p>{about}</p>
      {action !== 'Nothing.' && (
        <p>
          <b>What to do:</b> {action}
        </p>
      )}
    </details>
  )
}

const ClientName = ({ client }: { readonly client: string }) =>
  /^(sn|mqtt):/.test(client) ? <a href={clientHref(client)}>{client.replace(/^\w+:/, '')}</a> : <span>{client}</span>

/** Notices of the same kind about the same client, one after the other, as one: the last, with their number. */
export function grouped(notices: readonly Notice[]): readonly Notice[] {
  const groups: Notice[] = []
  for (const notice of notices) {
    const last = groups.at(-1)
    if (last !== undefined && last.code === notice.code && last.client === notice.client && last.level === notice.level)
      groups[groups.length - 1] = { ...last, count: (last.count ?? 1) + (notice.count ?? 1) }
    else groups.push(notice)
  }
  return groups
}

interface RecentProps {
  readonly limit: number
  /** Only those about this client, with `mqtt:` or `sn:`. */
  readonly client?: string
  /** The lowest level that is shown. */
  readonly least?: Level
}

/** The last notices, and those that come. */
export function RecentNotices({ limit, client, least = client === undefined ? 'info' : 'debug' }: RecentProps) {
  const [came, setCame] = useState<readonly Notice[]>([])
  const { value, error } = useLoaded(`notices ${client ?? ''}`, (signal) =>
    call('GET /api/v1/notices', { query: { ...(client !== undefined && { client }), limit: 100 }, signal }),
  )
  useEffect(
    () =>
      onNotice((notice) => {
        if (client === undefined || notice.client === client) setCame((before) => [notice, ...before].slice(0, limit * 4))
      }),
    [client, limit],
  )
  const known = new Set(came.map(({ id }) => id))
  const all = [...came, ...(value?.notices ?? []).filter(({ id }) => !known.has(id))].filter((notice) => isAtLeast(notice, least))
  const groups = grouped(all).slice(0, limit)
  if (value === undefined && error === undefined) return <Loading />
  return (
    <>
      <Failed error={error} />
      {value !== undefined && groups.length === 0 && (
        <Empty title="Nothing has happened yet">
          {client === undefined ? 'Connects, losses and errors appear here as they come.' : 'What happens to it appears here.'}
        </Empty>
      )}
      <ul class="lines">
        {groups.map((notice) => (
          <NoticeLine key={notice.id} notice={notice} isOfClient={client !== undefined} />
        ))}
      </ul>
    </>
  )
}
