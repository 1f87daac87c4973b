import { useMemo } from 'preact/hooks'
import { type Client, LISTED_MAX, useClients } from '../../lib/clients.ts'
import { count, plural, short } from '../../lib/numbers.ts'
import { clientHref, setQuery, where } from '../../lib/route.ts'
import { type Sorting, sorted } from '../../lib/sorted.ts'
import { Empty, Failed, Loading, PageHead, Search, Select } from '../../parts/basics.tsx'
import { StateMark } from '../../parts/state.tsx'
import { type Column, Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'

const STATES = ['connected', 'disconnected'] as const

const NONE = <span class="faint">–</span>

const COLUMNS: readonly Column<Client>[] = [
  {
    id: 'name',
    title: 'Client',
    class: 'col-name',
    sort: ({ client_id }) => client_id,
    cell: ({ id, client_id, user, address }) => (
      <>
        <a class="row-link" href={clientHref(id)}>
          {client_id}
        </a>
        <span class="row-sub">{[user, address].filter(Boolean).join(', ') || 'not connected'}</span>
      </>
    ),
  },
  {
    id: 'state',
    title: 'State',
    class: 'col-client-state',
    sort: ({ state }) => (state === 'connected' ? 0 : 1),
    cell: ({ state, since, waiting_messages: waiting }) => (
      <>
        <StateMark state={state} />
        <span class="row-sub">{waiting > 0 ? `${count(waiting)} waiting` : <Time at={since} none="" />}</span>
      </>
    ),
  },
  {
    id: 'since',
    title: 'Since',
    hideBelow: 'tablet',
    class: 'col-since',
    sort: ({ since }) => (since === undefined ? undefined : -Date.parse(since)),
    cell: ({ since }) => <Time at={since} />,
  },
  {
    id: 'user',
    title: 'User',
    hideBelow: 'desktop',
    class: 'col-user',
    sort: ({ user }) => user,
    cell: ({ user }) => user ?? NONE,
  },
  {
    id: 'address',
    title: 'Address',
    hideBelow: 'tablet',
    class: 'col-address',
    sort: ({ address }) => address,
    cell: ({ address }) => address ?? NONE,
  },
  {
    id: 'subscriptions',
    title: 'Subs.',
    isNumber: true,
    hideBelow: 'desktop',
    class: 'col-tiny',
    sort: ({ subscription_count }) => subscription_count,
    cell: ({ subscription_count: total }) => <span title={plural(total, 'subscription')}>{count(total)}</span>,
  },
  {
    id: 'in',
    title: 'In',
    isNumber: true,
    hideBelow: 'desktop',
    class: 'col-tiny',
    sort: ({ counters }) => counters?.messages_received,
    cell: ({ counters }) => <Messages value={counters?.messages_received} text="from it" />,
  },
  {
    id: 'out',
    title: 'Out',
    isNumber: true,
    hideBelow: 'desktop',
    class: 'col-tiny',
    sort: ({ counters }) => counters?.messages_sent,
    cell: ({ counters }) => <Messages value={counters?.messages_sent} text="to it" />,
  },
  {
    id: 'waiting',
    title: 'Waiting',
    isNumber: true,
    hideBelow: 'tablet',
    class: 'col-number',
    sort: ({ waiting_messages }) => waiting_messages,
    cell: ({ waiting_messages: waiting }) =>
      waiting === 0 ? <span class="faint">0</span> : <b title={`${plural(waiting, 'message')} waiting`}>{count(waiting)}</b>,
  },
]

function Messages({ value, text }: { readonly value: number | undefined; readonly text: string }) {
  return value === undefined ? NONE : <span title={`${plural(value, 'message')} ${text}`}>{short(value)}</span>
}

export function ClientList() {
  const { q = '', state = '', listener = '', sort = 'name', down = '' } = where.value.query
  const { clients, isKnown, isCut, error, reload } = useClients({ protocol: 'mqtt', figures: true })
  const listeners = useMemo(() => [...new Set(clients.flatMap(({ port }) => port ?? []))].sort(), [clients])
  const sorting: Sorting = { by: sort, down: down === '1' }
  const rows = useMemo(() => {
    const text = q.trim().toLowerCase()
    const chosen = clients.filter(
      (each) =>
        (state === '' || each.state === state) &&
        (listener === '' || each.port === listener) &&
        (text === '' || [each.client_id, each.user, each.address].some((part) => part?.toLowerCase().includes(text))),
    )
    return sorted(chosen, COLUMNS, { by: sort, down: down === '1' })
  }, [clients, q, state, listener, sort, down])
  const totalOf = (wanted: string): number =>
    wanted === '' ? clients.length : clients.reduce((sum, each) => sum + (each.state === wanted ? 1 : 0), 0)
  return (
    <>
      <PageHead
        title="MQTT clients"
        about={isCut && `The first ${count(LISTED_MAX)} are listed. roost clients -q finds the others.`}
      />
      <Failed error={error} retry={reload} />
      <div class="chips" role="group" aria-label="Show clients by state">
        {['', ...STATES].map((each) => (
          <button key={each} type="button" class="chip" aria-pressed={state === each} onClick={() => setQuery({ state: each })}>
            {each === '' ? 'All' : each} <b>{count(totalOf(each))}</b>
          </button>
        ))}
      </div>
      <div class="toolbar">
        <Search label="Search" placeholder="Client id, user or address" value={q} onInput={(value) => setQuery({ q: value })} />
        {listeners.length > 1 && (
          <Select
            label="Listener"
            value={listener}
            options={[['', 'All listeners'], ...listeners.map((each) => [each, each] as const)]}
            onChange={(value) => setQuery({ listener: value })}
          />
        )}
      </div>
      {!isKnown && error === undefined && <Loading />}
      {isKnown && rows.length === 0 && (clients.length === 0 ? <NoClients /> : <NoMatch />)}
      {rows.length > 0 && (
        <Table
          caption="MQTT clients"
          columns={COLUMNS}
          rows={rows}
          keyOf={({ id }) => id}
          sorting={sorting}
          onSort={({ by, down: isDown }) => setQuery({ sort: by, down: isDown ? '1' : '' })}
        />
      )}
    </>
  )
}

const NoClients = () => (
  <div class="card">
    <Empty title="No MQTT client has connected yet">
      <p>Point Home Assistant, Node-RED or another MQTT client at the TCP port of Roost, or try one from a terminal:</p>
      <pre class="block">mosquitto_sub -t 'site/#' -v</pre>
    </Empty>
  </div>
)

const NoMatch = () => (
  <div class="card">
    <Empty title="No client matches">
      <button type="button" onClick={() => setQuery({ q: '', state: '', listener: '' })}>
        Show all clients
      </button>
    </Empty>
  </div>
)
