import { useMemo } from 'preact/hooks'
import { type Client, LISTED_MAX, useClients } from '../../lib/clients.ts'
import { now } from '../../lib/clock.ts'
import { count, plural } from '../../lib/numbers.ts'
import { clientHref, setQuery, where } from '../../lib/route.ts'
import { type Sorting, sorted } from '../../lib/sorted.ts'
import { relative } from '../../lib/time.ts'
import { Empty, Failed, Loading, PageHead, Search, Select } from '../../parts/basics.tsx'
import { StateMark } from '../../parts/state.tsx'
import { quartersOf, Strip } from '../../parts/strip.tsx'
import { type Column, Table } from '../../parts/table.tsx'
import { Time } from '../../parts/time.tsx'

const STATES = ['lost', 'awake', 'active', 'asleep', 'disconnected'] as const
type SensorState = (typeof STATES)[number]

/** A sensor that should have woken by now, and is not lost yet. */
const isOverdue = ({ state, next_wake }: Client, at: number): boolean =>
  state === 'asleep' && next_wake !== undefined && Date.parse(next_wake) < at

const millis = (at: string | undefined): number | undefined => (at === undefined ? undefined : Date.parse(at))

const COLUMNS: readonly Column<Client>[] = [
  {
    id: 'name',
    title: 'Sensor',
    class: 'col-name',
    sort: ({ client_id }) => client_id,
    cell: (sensor) => (
      <>
        <a class="row-link" href={clientHref(sensor.id)}>
          {sensor.client_id}
        </a>
        <span class="row-sub">
          {sensor.last_heard !== undefined && 'heard '}
          <Time at={sensor.last_heard} none="not heard yet" />
        </span>
        {sensor.day !== undefined && (
          <span class="row-sub row-strip">
            <Strip day={quartersOf(sensor.day)} />
          </span>
        )}
      </>
    ),
  },
  {
    id: 'state',
    title: 'State',
    class: 'col-state',
    sort: ({ state }) => STATES.indexOf(state as SensorState),
    cell: (sensor) => (
      <>
        <StateMark state={sensor.state} />
        {sensor.state === 'asleep' && (
          <span class="row-sub">
            {!isOverdue(sensor, now.value) && 'wakes '}
            <NextWake {...sensor} />
          </span>
        )}
      </>
    ),
  },
  {
    id: 'day',
    title: 'Last 24 hours',
    hideBelow: 'tablet',
    class: 'col-day',
    cell: ({ day }) => day !== undefined && <Strip day={quartersOf(day)} />,
  },
  {
    id: 'heard',
    title: 'Last heard',
    hideBelow: 'tablet',
    class: 'col-time',
    sort: ({ last_heard }) => negative(millis(last_heard)),
    cell: ({ last_heard }) => <Time at={last_heard} />,
  },
  {
    id: 'wake',
    title: 'Next wake',
    hideBelow: 'tablet',
    class: 'col-time',
    sort: ({ next_wake }) => millis(next_wake),
    cell: (sensor) => <NextWake {...sensor} />,
  },
  {
    id: 'waiting',
    title: 'Waiting',
    isNumber: true,
    class: 'col-number',
    sort: ({ waiting_messages }) => waiting_messages,
    cell: ({ waiting_messages: waiting }) =>
      waiting === 0 ? <span class="faint">0</span> : <b title={`${plural(waiting, 'message')} waiting`}>{count(waiting)}</b>,
  },
  {
    id: 'again',
    title: 'Sent again',
    isNumber: true,
    hideBelow: 'desktop',
    class: 'col-again',
    sort: ({ counters }) => counters?.retransmissions,
    cell: ({ counters }) => <Again {...counters} />,
  },
  {
    id: 'port',
    title: 'Port',
    hideBelow: 'desktop',
    class: 'col-port',
    sort: ({ port }) => port,
    cell: ({ port }) => port ?? <span class="faint">unknown</span>,
  },
]

const negative = (value: number | undefined): number | undefined => (value === undefined ? undefined : -value)

function Again({
  retransmissions: again = 0,
  messages_sent: sent = 0,
}: {
  readonly retransmissions?: number
  readonly messages_sent?: number
}) {
  if (again === 0) return <span class="faint">0</span>
  return <span title={`${count(again)} of ${plural(sent, 'message')} that it was sent`}>{count(again)}</span>
}

function NextWake(sensor: Client) {
  const { next_wake, state } = sensor
  if (state === 'active')
    return (
      <span class="faint" title="It does not sleep">
        –
      </span>
    )
  if (next_wake === undefined || state === 'lost' || state === 'disconnected') return <span class="faint">–</span>
  if (!isOverdue(sensor, now.value)) return <Time at={next_wake} />
  return <span class="is-overdue">due {relative(Date.parse(next_wake), now.value)}</span>
}

/** Lost sensors first, then by name, so that rows do not move whenever one wakes. */
const FIRST_LOST: Column<Client> = {
  id: 'lost',
  title: '',
  sort: ({ state, client_id }) => `${state === 'lost' ? 0 : 1} ${client_id}`,
  cell: () => null,
}

export function SensorList() {
  const { q = '', state = '', port = '', sort = 'lost', down = '' } = where.value.query
  const { clients, isKnown, isCut, error, reload } = useClients({ protocol: 'mqtt-sn', figures: true })
  const counts = useMemo(() => countsOf(clients), [clients])
  const ports = useMemo(
    () => [...new Set(clients.map((each) => each.port ?? ''))].filter((each) => each !== '').sort(),
    [clients],
  )
  const sorting: Sorting = { by: sort, down: down === '1' }
  const rows = useMemo(() => {
    const text = q.toLowerCase()
    const chosen = clients.filter(
      (each) =>
        (state === '' || each.state === state) &&
        (port === '' || each.port === port) &&
        (text === '' || each.client_id.toLowerCase().includes(text) || each.user?.toLowerCase().includes(text) === true),
    )
    return sorted(chosen, [...COLUMNS, FIRST_LOST], { by: sort, down: down === '1' })
  }, [clients, q, state, port, sort, down])
  return (
    <>
      <PageHead
        title="Sensors"
        about={isCut && `The first ${count(LISTED_MAX)} are listed here; roost clients -q finds the others.`}
      />
      <Failed error={error} retry={reload} />
      <div class="chips" role="group" aria-label="Show sensors by state">
        <Chip value="" label="All" total={clients.length} current={state} />
        {STATES.map((each) => (
          <Chip key={each} value={each} label={each} total={counts[each]} current={state} />
        ))}
      </div>
      <div class="toolbar">
        <Search label="Search" placeholder="Name or user" value={q} onInput={(value) => setQuery({ q: value })} />
        {ports.length > 1 && (
          <Select
            label="Port"
            value={port}
            options={[['', 'All ports'], ...ports.map((each) => [each, each] as const)]}
            onChange={(value) => setQuery({ port: value })}
          />
        )}
      </div>
      {!isKnown && error === undefined && <Loading />}
      {isKnown && rows.length === 0 && (clients.length === 0 ? <NoSensors /> : <NoMatch />)}
      {rows.length > 0 && (
        <Table
          caption="Sensors"
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

function countsOf(clients: readonly Client[]): Record<SensorState, number> {
  const counts = { lost: 0, awake: 0, active: 0, asleep: 0, disconnected: 0 }
  for (const { state } of clients) if (state in counts) counts[state as SensorState]++
  return counts
}

function Chip({
  value,
  label,
  total,
  current,
}: {
  readonly value: string
  readonly label: string
  readonly total: number
  readonly current: string
}) {
  return (
    <button
      type="button"
      class={`chip ${value === 'lost' && total > 0 ? 'is-bad' : ''}`}
      aria-pressed={current === value}
      onClick={() => setQuery({ state: value })}
    >
      {label} <b>{count(total)}</b>
    </button>
  )
}

const NoSensors = () => (
  <div class="card">
    <Empty title="No sensor has connected yet">
      <p>Point an MQTT-SN client at the UDP port of Roost, or try one from a terminal on this machine:</p>
      <pre class="block">roost sn pub -t site/temperature -m 21.5</pre>
    </Empty>
  </div>
)

const NoMatch = () => (
  <div class="card">
    <Empty title="No sensor matches">
      <button type="button" onClick={() => setQuery({ q: '', state: '', port: '' })}>
        Show all sensors
      </button>
    </Empty>
  </div>
)
