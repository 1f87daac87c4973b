import { call } from '../../lib/api.ts'
import type { ClientDetail } from '../../lib/clients.ts'
import { now } from '../../lib/clock.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { bytes, count, percent } from '../../lib/numbers.ts'
import { go, href, topicHref } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { duration } from '../../lib/time.ts'
import { Card, Empty, Failed, Fields, Figure, Loading, PageHead } from '../../parts/basics.tsx'
import { ClientActions, InFlight, Queue, Reasons, Subscriptions } from '../../parts/client.tsx'
import { LiveTrace } from '../../parts/live-trace.tsx'
import { RecentNotices } from '../../parts/notices.tsx'
import { ShortTable } from '../../parts/short-table.tsx'
import { ABOUT_STATE, StateMark } from '../../parts/state.tsx'
import { dayInWords, Strip } from '../../parts/strip.tsx'
import type { Column } from '../../parts/table.tsx'
import { For, Time, When } from '../../parts/time.tsx'

/** Everything about one sensor: does it hear us, when did it sleep, what waits for it, why does it not get it? */
export function SensorPage({ id }: { readonly id: string }) {
  const {
    value: sensor,
    error,
    reload,
  } = useLoaded(id, (signal) => call('GET /api/v1/clients/{id}', { params: { id }, signal }), 2)
  const name = sensor?.client_id ?? id.replace(/^sn:/, '')
  if (error?.status === 404) return <Unknown name={name} detail={error.detail} />
  return (
    <>
      <a class="back" href={href(['sensors'])}>
        All sensors
      </a>
      <PageHead title={name} about={sensor && <Heading sensor={sensor} />}>
        {sensor && <ClientActions client={sensor} onChanged={reload} onEnded={() => go(['sensors'])} />}
      </PageHead>
      <Failed error={error} retry={reload} />
      {sensor === undefined ? error === undefined && <Loading /> : <Parts sensor={sensor} />}
    </>
  )
}

function Unknown({ name, detail }: { readonly name: string; readonly detail: string }) {
  return (
    <>
      <a class="back" href={href(['sensors'])}>
        All sensors
      </a>
      <PageHead title={name} />
      <div class="card">
        <Empty title="There is no such sensor now">{detail}</Empty>
      </div>
    </>
  )
}

function Heading({ sensor: { state, since, reasons } }: { readonly sensor: ClientDetail }) {
  return (
    <>
      <StateMark state={state} />{' '}
      {since !== undefined && (
        <>
          <For at={since} />:{' '}
        </>
      )}
      {reasons.some(({ code }) => code === 'overdue') ? 'should have woken by now' : ABOUT_STATE[state]}
    </>
  )
}

function Parts({ sensor }: { readonly sensor: ClientDetail }) {
  const { last_day: day, queue, id, client_id } = sensor
  return (
    <>
      <Figures sensor={sensor} />
      <Reasons client={sensor} />
      {day !== undefined && (
        <Card title="Last 24 hours" aside={dayInWords(day)}>
          <Strip day={day} isLarge />
        </Card>
      )}
      {queue !== undefined && <Queue queue={queue} />}
      <InFlight client={sensor} />
      <div class="grid">
        <Facts sensor={sensor} />
        <Counters sensor={sensor} />
      </div>
      <Subscriptions client={sensor} />
      <TopicIds sensor={sensor} />
      <Card title="Trace" aside="packets between it and Roost">
        <LiveTrace client={client_id} payloads={mayManage.value} />
      </Card>
      <Card title="Notices">
        <RecentNotices client={id} limit={12} />
      </Card>
    </>
  )
}

const ABOUT_WAKE: Readonly<Record<ClientDetail['state'], string>> = {
  active: 'it does not sleep',
  awake: 'awake now',
  lost: 'unknown: it is lost',
  disconnected: 'unknown: it has left',
  asleep: '',
  connected: '',
}

function Figures({ sensor }: { readonly sensor: ClientDetail }) {
  const { last_heard, next_wake, state, waiting_messages: waiting, waiting_bytes, sleep_seconds, counters } = sensor
  const isLate = next_wake !== undefined && state === 'asleep' && Date.parse(next_wake) < now.value
  return (
    <div class="figures">
      <Figure label="Last heard" value={<Time at={last_heard} />} tone={state === 'lost' ? 'is-bad' : ''}>
        <When at={last_heard} />
      </Figure>
      {state === 'asleep' ? (
        <Figure label={isLate ? 'Was due to wake' : 'Next wake'} value={<Time at={next_wake} />} tone={isLate ? 'is-bad' : ''}>
          <When at={next_wake} />
          {sleep_seconds !== undefined && `, sleeps for ${duration(sleep_seconds)}`}
        </Figure>
      ) : (
        <Figure label="Next wake" value="–">
          {ABOUT_WAKE[state]}
        </Figure>
      )}
      {counters !== undefined && (
        <Figure label="Messages from it" value={count(counters.messages_received)}>
          since Roost started
        </Figure>
      )}
      <Figure label="Waiting for it" value={count(waiting)}>
        {bytes(waiting_bytes)}
      </Figure>
      {counters !== undefined && (
        <Figure label="Sent again" value={count(counters.retransmissions)}>
          {counters.messages_sent === 0
            ? 'nothing was sent to it yet'
            : `${percent(counters.retransmissions, counters.messages_sent)} of what it was sent`}
        </Figure>
      )}
      {counters !== undefined && (
        <Figure label="Dropped" value={count(counters.dropped)} tone={counters.dropped > 0 ? 'is-bad' : ''}>
          messages for it, since Roost started
        </Figure>
      )}
    </div>
  )
}

function Facts({ sensor }: { readonly sensor: ClientDetail }) {
  const { port, address, node, user, user_verified, protocol_version, keep_alive_seconds, clean, expiry_seconds, expires, will } =
    sensor
  return (
    <Card title="Connection and session">
      <Fields>
        {[
          ['Port', port ?? 'unknown'],
          ['Address', address ?? 'unknown'],
          node !== undefined && ['Node behind forwarder', node],
          user !== undefined && ['User', `${user}${user_verified === true ? '' : ', not verified'}`],
          ['Protocol', `MQTT-SN ${protocol_version ?? ''}`],
          keep_alive_seconds !== undefined && ['Keep alive', keep_alive_seconds === 0 ? 'none' : duration(keep_alive_seconds)],
          clean !== undefined && ['Session', clean ? 'clean: ends with its connection' : sessionText(expiry_seconds)],
          sensor.created !== undefined && ['Session began', <Time key="created" at={sensor.created} isExact />],
          expires !== undefined && ['Session expires', <Time key="expires" at={expires} isExact />],
          sensor.address_validated === false && ['Address validation', 'under way: it has to answer first'],
          sensor.waits_for_port === true && ['Airtime', 'a message waits until the port may send'],
          ...clusterRows(sensor),
          will !== undefined && [
            'Will',
            `${will.topic}, QoS ${will.qos}${will.retain ? ', retained' : ''}, ${bytes(will.payload_bytes)}`,
          ],
        ]}
      </Fields>
    </Card>
  )
}

/** Where its session is, if that is at a cluster. */
function clusterRows({ upstream }: ClientDetail): [string, string][] {
  if (upstream === undefined) return []
  const { state, target, last_error: error } = upstream
  return [
    ['Cluster', target === undefined ? CLUSTER[state] : `${CLUSTER[state]}, ${target}`],
    ...(error === undefined ? [] : [['Last error there', error] satisfies [string, string]]),
  ]
}

const CLUSTER: Readonly<Record<NonNullable<ClientDetail['upstream']>['state'], string>> = {
  connected: 'connected',
  connecting: 'being connected',
  waiting: 'not connected, waits for the next attempt',
  parked: 'no connection until it wakes',
}

const sessionText = (expiry: number | undefined): string =>
  expiry === undefined ? 'never expires' : `is kept for ${duration(expiry)} after it has left`

function Counters({ sensor: { counters } }: { readonly sensor: ClientDetail }) {
  if (counters === undefined) return null
  return (
    <Card title="Since Roost started">
      <Fields>
        {[
          ['Messages from it', `${count(counters.messages_received)}, ${bytes(counters.bytes_received)} with all packets`],
          ['Messages to it', `${count(counters.messages_sent)}, ${bytes(counters.bytes_sent)} with all packets`],
          ['Sent again', count(counters.retransmissions)],
          ['Dropped', count(counters.dropped)],
          ['Refused', `${count(counters.refused)} connects, messages and requests`],
          counters.wakes !== undefined && ['Wakes', count(counters.wakes)],
        ]}
      </Fields>
    </Card>
  )
}

type TopicId = NonNullable<ClientDetail['topic_ids']>[number]

const TOPIC_ID_COLUMNS: readonly Column<TopicId>[] = [
  { id: 'topic', title: 'Topic', cell: ({ topic }) => <a href={topicHref(topic)}>{topic}</a> },
  {
    id: 'id',
    title: 'Topic id',
    class: 'col-time',
    cell: ({ id }) => <code title={`${id}`}>0x{id.toString(16).padStart(4, '0')}</code>,
  },
  { id: 'by', title: 'Registered by', hideBelow: 'tablet', class: 'col-state', cell: ({ requested_by }) => requested_by },
  {
    id: 'known',
    title: 'Known to it',
    hideBelow: 'tablet',
    class: 'col-time',
    cell: ({ known }) => (known ? 'yes' : <span title="registered again before it is used">not any more</span>),
  },
]

function TopicIds({ sensor: { topic_ids: ids = [], topic_id_count: total = 0 } }: { readonly sensor: ClientDetail }) {
  return (
    <Card title="Topic ids" aside={total > 0 && count(total)}>
      {ids.length === 0 ? (
        <p class="soft">None: it uses short topics or predefined topic ids, or has to register its topics again.</p>
      ) : (
        <ShortTable caption="Topic ids" columns={TOPIC_ID_COLUMNS} rows={ids} total={total} keyOf={({ id }) => `${id}`} />
      )}
    </Card>
  )
}
