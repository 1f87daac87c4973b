import { type Answer, call } from '../lib/api.ts'
import { now } from '../lib/clock.ts'
import { useLoaded } from '../lib/loaded.ts'
import { bytes, count, figures, percent, plural, short } from '../lib/numbers.ts'
import { type Overview, ratesOf, type Sample, samples } from '../lib/overview.ts'
import { clientHref, href } from '../lib/route.ts'
import { duration } from '../lib/time.ts'
import { Card, Empty, Failed, Fields, Figure, Loading, PageHead } from '../parts/basics.tsx'
import { Bridges } from '../parts/bridges.tsx'
import { Chart } from '../parts/chart.tsx'
import { RecentNotices } from '../parts/notices.tsx'
import { Time } from '../parts/time.tsx'
import { Upstream } from '../parts/upstream.tsx'

export function OverviewPage() {
  const all = samples.value
  const totals = all.at(-1)?.totals
  if (totals === undefined) return <Loading />
  return (
    <>
      <PageHead title="Overview" />
      <Totals totals={totals} all={all} />
      <div class="grid">
        <Attention hasSensors={Object.values(totals.sensors).some((total) => total > 0)} />
        <Airtime totals={totals} />
        <Bridges totals={totals} />
        <Upstream totals={totals} />
      </div>
      <Charts all={all} />
      <div class="grid">
        <Card title="Latest notices" aside={<a href={href(['notices'])}>All notices</a>}>
          <RecentNotices limit={8} />
        </Card>
        <Process totals={totals} all={all} />
      </div>
    </>
  )
}

/** The last rate that is known; a sample may be missing. */
const lastRate = (all: readonly Sample[], counter: (totals: Overview) => number): string => {
  const rate = ratesOf(all.slice(-6), counter).findLast((each) => each !== undefined)
  return rate === undefined ? '–' : figures(rate)
}

function Totals({ totals, all }: { readonly totals: Overview; readonly all: readonly Sample[] }) {
  const { sensors, clients, waiting, retained, messages, retransmissions } = totals
  const known = sensors.active + sensors.asleep + sensors.awake + sensors.lost
  return (
    <div class="figures is-four">
      <Figure label="Sensors" value={count(known)}>
        {count(sensors.active)} active, {count(sensors.asleep)} asleep, {count(sensors.awake)} awake
      </Figure>
      <Figure label="Lost sensors" value={count(sensors.lost)} tone={sensors.lost > 0 ? 'is-bad' : ''}>
        {sensors.lost > 0 ? (
          <a href={href(['sensors'], { state: 'lost' })}>Show them</a>
        ) : (
          known > 0 && 'all have been heard in time'
        )}
      </Figure>
      <Figure label="Connected" value={count(clients.connected)}>
        sensors included; {count(clients.disconnected)} not connected
      </Figure>
      <Figure label="Messages in" value={lastRate(all, (each) => each.messages.received)} unit="/s">
        {short(messages.received)} since the start
      </Figure>
      <Figure label="Messages out" value={lastRate(all, (each) => each.messages.sent)} unit="/s">
        {short(messages.dropped)} dropped since the start
      </Figure>
      <Figure label="Waiting" value={count(waiting.messages)}>
        {bytes(waiting.bytes)}, each receiver counted
      </Figure>
      <Figure label="Sent again" value={lastRate(all, (each) => each.retransmissions)} unit="/s">
        {short(retransmissions)} to sensors since the start
      </Figure>
      <Figure label="Retained" value={count(retained.messages)}>
        <a href={href(['topics'])}>Browse topics</a>
      </Figure>
    </div>
  )
}

const ATTENTION_MAX = 6

/** Sensors that are lost, the last one first. */
function Attention({ hasSensors }: { readonly hasSensors: boolean }) {
  const { value, error } = useLoaded(
    'lost',
    (signal) => call('GET /api/v1/clients', { query: { protocol: 'mqtt-sn', state: 'lost', limit: 1000 }, signal }),
    5,
  )
  const lost = (value?.clients ?? []).toSorted((a, b) => (b.last_heard ?? '').localeCompare(a.last_heard ?? ''))
  return (
    <Card title="Lost sensors" aside={value !== undefined && lost.length > 0 && plural(lost.length, 'sensor')}>
      <Failed error={error} />
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && !hasSensors && (
        <Empty title="No sensor has connected yet">
          Point an MQTT-SN client at the UDP port of Roost, or try one from a terminal on this machine:{' '}
          <code>roost sn pub -t site/temperature -m 21.5</code>
        </Empty>
      )}
      {value !== undefined && hasSensors && lost.length === 0 && (
        <Empty title="No sensor is lost">Each of them was heard within its keep alive or its sleep.</Empty>
      )}
      <ul class="lines">
        {lost.slice(0, ATTENTION_MAX).map(({ id, client_id, last_heard, waiting_messages }) => (
          <li key={id} class="line">
            <a class="cut" href={clientHref(id)}>
              {client_id}
            </a>
            <span class="soft">
              heard <Time at={last_heard} isExact />
              {waiting_messages > 0 && `, ${plural(waiting_messages, 'message')} waiting`}
            </span>
          </li>
        ))}
      </ul>
      {lost.length > ATTENTION_MAX && (
        <p class="more">
          <a href={href(['sensors'], { state: 'lost' })}>Show all {count(lost.length)}</a>
        </p>
      )}
    </Card>
  )
}

type PortAirtime = Answer<'GET /api/v1/overview'>['airtime'][number]

/** Whether the radio is full: how much of the airtime that a port may use in an hour is used. */
function Airtime({ totals: { airtime, queued_frames: queued } }: { readonly totals: Overview }) {
  return (
    <Card title="Airtime of the last hour" aside={queued > 0 && `${plural(queued, 'frame')} waiting for airtime`}>
      {airtime.length === 0 ? (
        <Empty title="No port has a data rate">
          For a radio, set <code>sn_bytes_per_second</code> and <code>sn_duty_cycle</code>: then Roost keeps to its airtime, and
          shows it here.
        </Empty>
      ) : (
        <ul class="lines">
          {airtime.map((port) => (
            <PortLine key={port.port} {...port} isWaitedFor={queued > 0} />
          ))}
        </ul>
      )}
    </Card>
  )
}

/** Of the airtime: nothing is sent beyond the first; what waits beyond the second is too long for the rest. */
const FULL = 0.98
const FULL_FOR_FRAMES = 0.9
const NEARLY_FULL = 0.8

interface PortLineProps extends PortAirtime {
  /** Frames wait for airtime. */
  readonly isWaitedFor: boolean
}

function PortLine({ port, used_seconds: used, left_seconds: left, isWaitedFor }: PortLineProps) {
  if (left === undefined)
    return (
      <li>
        <b>{port}</b> <span class="soft">has sent for {duration(used)}; it has no limit</span>
      </li>
    )
  const share = used / Math.max(used + left, 0.001)
  const isFull = share >= (isWaitedFor ? FULL_FOR_FRAMES : FULL)
  const word = isFull ? 'full' : share >= NEARLY_FULL ? 'nearly full' : 'has room'
  return (
    <li class={`meter-line ${isFull ? 'is-bad' : share >= NEARLY_FULL ? 'is-near' : ''}`}>
      <span class="meter-head">
        <b>{port}</b>
        <span>
          <b class="word">{word}</b>: {percent(used, used + left)} used
        </span>
      </span>
      <meter
        min={0}
        max={1}
        low={NEARLY_FULL}
        high={isWaitedFor ? FULL_FOR_FRAMES : FULL}
        optimum={0}
        value={share}
        aria-label={`Airtime of ${port}: ${percent(used, used + left)} used`}
      />
      <span class="soft">
        {seconds(used)} of {seconds(used + left)} used, {seconds(left)} left
      </span>
    </li>
  )
}

const seconds = (value: number): string => (value >= 60 ? duration(value) : `${figures(value)} s`)

function Charts({ all }: { readonly all: readonly Sample[] }) {
  const times = all.map(({ at }) => at)
  const rate = (counter: (totals: Overview) => number) => ratesOf(all, counter)
  const gauge = (value: (totals: Overview) => number | undefined) => all.map(({ totals }) => value(totals))
  const hasAirtime = all.some(({ totals }) => totals.airtime.length > 0)
  const ports = [...new Set(all.flatMap(({ totals }) => totals.airtime.map(({ port }) => port)))].slice(0, 5)
  return (
    <div class="grid charts">
      <Card>
        <Chart
          title="Messages"
          times={times}
          format={(value) => `${figures(value)}/s`}
          series={[
            { label: 'in', color: '--series-1', values: rate(({ messages }) => messages.received) },
            { label: 'out', color: '--series-2', values: rate(({ messages }) => messages.sent), dash: [6, 3] },
          ]}
        />
      </Card>
      <Card>
        <Chart
          title="Sensors"
          times={times}
          format={short}
          atLeast={4}
          series={[
            { label: 'asleep', color: '--series-3', values: gauge(({ sensors }) => sensors.asleep) },
            {
              label: 'active or awake',
              color: '--series-2',
              values: gauge(({ sensors }) => sensors.active + sensors.awake),
              dash: [6, 3],
            },
            { label: 'lost', color: '--series-4', values: gauge(({ sensors }) => sensors.lost), dash: [2, 3] },
          ]}
        />
      </Card>
      <Card>
        <Chart
          title="Waiting messages"
          times={times}
          format={short}
          atLeast={4}
          series={[{ label: 'waiting', color: '--series-1', values: gauge(({ waiting }) => waiting.messages) }]}
        />
      </Card>
      <Card>
        <Chart
          title="Messages sent to sensors again"
          times={times}
          format={(value) => `${figures(value)}/s`}
          series={[{ label: 'sent again', color: '--series-4', values: rate(({ retransmissions }) => retransmissions) }]}
        />
      </Card>
      <Card>
        <Chart
          title="Event-loop delay"
          times={times}
          format={(value) => `${figures(value)} ms`}
          atLeast={5}
          series={[{ label: 'delay', color: '--series-1', values: gauge((each) => each.event_loop_lag_ms) }]}
        />
      </Card>
      {hasAirtime && (
        <Card>
          <Chart
            title="Airtime used in the last hour"
            times={times}
            format={(value) => `${figures(value)} s`}
            series={ports.map((port, i) => ({
              label: port,
              color: `--series-${i + 1}`,
              values: gauge(({ airtime }) => airtime.find((each) => each.port === port)?.used_seconds),
              ...(i > 0 && { dash: [6, 3] }),
            }))}
          />
        </Card>
      )}
    </div>
  )
}

function Process({ totals, all }: { readonly totals: Overview; readonly all: readonly Sample[] }) {
  const { version, started_at, memory, store, open_files: files, subscriptions, connects } = totals
  const cpu = ratesOf(all.slice(-6), (each) => each.cpu_seconds).findLast((each) => each !== undefined)
  const perSecond = (counter: (totals: Overview) => number): string => {
    const rate = ratesOf(all.slice(-6), counter).findLast((each) => each !== undefined)
    return rate === undefined ? '–' : `${bytes(rate)}/s`
  }
  return (
    <Card title="Process">
      <Fields>
        {[
          ['Version', version],
          ['Running for', duration((now.value - Date.parse(started_at)) / 1000)],
          ['Processor', cpu === undefined ? '–' : `${figures(cpu * 100)} % of a core`],
          ['Memory', `${bytes(memory.resident)}, of which clients hold ${bytes(memory.clients)}`],
          memory.limit !== undefined && ['Memory limit', `${bytes(memory.limit)} for clients`],
          ['Store', store === undefined ? 'in memory only' : storeText(store)],
          files !== undefined && ['Open files', `${count(files.used)} of ${count(files.limit)}`],
          ['Network', `${perSecond((each) => each.bytes.received)} in, ${perSecond((each) => each.bytes.sent)} out`],
          ['Subscriptions', `${count(subscriptions.plain)}, and ${count(subscriptions.shared)} shared`],
          ['Connects', `${count(connects)} since the start`],
        ]}
      </Fields>
    </Card>
  )
}

function storeText({ bytes: used, max_bytes: most, waiting_bytes: waiting }: NonNullable<Overview['store']>): string {
  const limit = most === undefined ? '' : ` of ${bytes(most)}`
  return `${bytes(used)}${limit}${waiting > 0 ? `, ${bytes(waiting)} not durable yet` : ''}`
}
