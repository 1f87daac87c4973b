import { call } from '../lib/api.ts'
import type { ClientDetail } from '../lib/clients.ts'
import { now } from '../lib/clock.ts'
import { useLoaded } from '../lib/loaded.ts'
import { bytes, count, plural } from '../lib/numbers.ts'
import { clientHref, setQuery, topicHref, where } from '../lib/route.ts'
import { mayManage } from '../lib/session.ts'
import { Card, Failed, Loading } from './basics.tsx'
import { confirm } from './confirm.tsx'
import { Icon } from './icons.tsx'
import { ShortTable } from './short-table.tsx'
import type { Column } from './table.tsx'
import { For, Time } from './time.tsx'

/** What the pages of a sensor and of an MQTT client have in common. */

/** Why the client does not get its messages at the moment, or those on a topic that is asked about. */
export function Reasons({ client }: { readonly client: ClientDetail }) {
  const { about = '' } = where.value.query
  const none =
    client.waiting_messages === 0
      ? 'Nothing waits for it, and nothing would hold a message back.'
      : 'Nothing holds its messages back: they are on their way.'
  return (
    <Card title="Why does it not get its messages?" class="reasons">
      {about === '' ? <ReasonList reasons={client.reasons} none={none} /> : <AboutTopic id={client.id} topic={about} />}
      <form
        class="toolbar"
        onSubmit={(event) => {
          event.preventDefault()
          setQuery({ about: String(new FormData(event.currentTarget).get('about') ?? '').trim() })
        }}
      >
        <label class="field grows">
          <span>Why not those on this topic?</span>
          <input key={about} name="about" defaultValue={about} placeholder="site/valve" autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit">Ask</button>
        {about !== '' && (
          <button type="button" onClick={() => setQuery({ about: undefined })}>
            All topics
          </button>
        )}
      </form>
    </Card>
  )
}

/** Also what only shows when a topic is known: no subscription matches it, or the access rules do not let it be read. */
function AboutTopic({ id, topic }: { readonly id: string; readonly topic: string }) {
  const { value, error } = useLoaded(
    `${id} ${topic}`,
    (signal) => call('GET /api/v1/clients/{id}', { params: { id }, query: { topic }, signal }),
    2,
  )
  return (
    <>
      <Failed error={error} />
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && <ReasonList reasons={value.reasons} none={`Nothing would hold back a message on ${topic}.`} />}
    </>
  )
}

/** The most important reason first. `none`: said without any. */
function ReasonList({ reasons, none }: { readonly reasons: ClientDetail['reasons']; readonly none: string }) {
  if (reasons.length === 0)
    return (
      <p class="reason-none">
        <Icon name="check" />
        {none}
      </p>
    )
  return (
    <ol>
      {reasons.map((reason) => (
        <li key={`${reason.code} ${reason.topic ?? ''} ${reason.filter ?? ''}`}>
          <p>{sentence(reason.text)}</p>
          <p class="soft">
            <ReasonMore {...reason} />
          </p>
        </li>
      ))}
    </ol>
  )
}

const sentence = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`

function ReasonMore({ since, until, bytes: held, option }: ClientDetail['reasons'][number]) {
  const parts = [
    since !== undefined && <For at={since} />,
    until !== undefined && (
      <>
        {Date.parse(until) < now.value ? 'was due' : 'ends'} <Time at={until} />
      </>
    ),
    held !== undefined && held > 0 && bytes(held),
    option !== undefined && (
      <>
        option <code>{option}</code>
      </>
    ),
  ].filter((part) => part !== false)
  return (
    <>
      {parts.map((part, i) => (
        // The parts of a reason have an order, and no names.
        <span key={i}>
          {i > 0 && ' · '}
          {part}
        </span>
      ))}
    </>
  )
}

/** Buttons for those who may manage. `onEnded`: the session is gone, and so is its page. */
export function ClientActions({
  client,
  onChanged,
  onEnded,
}: {
  readonly client: ClientDetail
  readonly onChanged: () => void
  readonly onEnded: () => void
}) {
  if (!mayManage.value) return null
  const {
    id,
    client_id: name,
    state,
    subscription_count: subscriptions,
    waiting_messages: waiting,
    topic_id_count: topicIds = 0,
  } = client
  const isSensor = client.protocol === 'mqtt-sn'
  const will = client.will === undefined ? '' : 'Its will is published. '
  const disconnect = (): void =>
    confirm({
      title: `Disconnect ${name}?`,
      body: (
        <>
          <p>
            {state === 'asleep' ? 'It sleeps, and has to connect again when it wakes. ' : 'Its connection ends now. '}
            {will}It may connect again at any time.
          </p>
          <p>
            {client.persistent === false || (client.upstream !== undefined && client.clean === true)
              ? 'Its session ends with the connection.'
              : `Its session stays: ${plural(subscriptions, 'subscription')}, ${plural(waiting, 'waiting message')}.`}
          </p>
        </>
      ),
      action: 'Disconnect',
      run: () => call('POST /api/v1/clients/{id}/disconnect', { params: { id } }),
      done: `${name} is disconnected`,
      after: onChanged,
    })
  const end = (): void =>
    confirm({
      title: `End the session of ${name}?`,
      body: (
        <>
          <p>
            This deletes {plural(waiting, 'waiting message')}, {plural(subscriptions, 'subscription')}
            {isSensor && `, ${plural(topicIds, 'topic id')}`}. {will}
          </p>
          <p>This cannot be undone. It may connect again, with a new session.</p>
        </>
      ),
      action: 'End the session',
      run: () => call('DELETE /api/v1/clients/{id}', { params: { id } }),
      done: `The session of ${name} has ended`,
      after: onEnded,
    })
  return (
    <>
      {state !== 'disconnected' && state !== 'lost' && (
        <button type="button" onClick={disconnect}>
          Disconnect
        </button>
      )}
      <button type="button" class="danger" onClick={end}>
        End session
      </button>
    </>
  )
}

type Queued = NonNullable<ClientDetail['queue']>['first'][number]
type InFlightMessage = NonNullable<ClientDetail['in_flight']>['first'][number]
type Listed<T> = T & { readonly at: number }

/** The same topic may wait a hundred times: what tells rows apart is where they are. */
const numbered = <T,>(all: readonly T[]): Listed<T>[] => all.map((each, at) => ({ ...each, at }))

const TOPIC: Column<Listed<Queued>> = {
  id: 'topic',
  title: 'Topic',
  cell: ({ topic, qos, publisher }) => (
    <>
      <a href={topicHref(topic)}>{topic}</a>
      <span class="row-sub">
        QoS {qos}
        {publisher !== undefined && `, from ${publisher.replace(/^(sn|mqtt):/, '')}`}
      </span>
    </>
  ),
}

const MESSAGE_COLUMNS: readonly Column<Listed<Queued>>[] = [
  { id: 'qos', title: 'QoS', class: 'col-small', hideBelow: 'tablet', cell: ({ qos }) => qos },
  { id: 'size', title: 'Payload', isNumber: true, class: 'col-number', cell: ({ payload_bytes }) => bytes(payload_bytes) },
  { id: 'publisher', title: 'From', hideBelow: 'tablet', cell: ({ publisher }) => <Publisher id={publisher} /> },
  {
    id: 'accepted',
    title: 'Accepted',
    hideBelow: 'tablet',
    class: 'col-time',
    cell: ({ accepted }) => <Time at={accepted} none="before the start" />,
  },
  {
    id: 'expires',
    title: 'Expires',
    hideBelow: 'desktop',
    class: 'col-time',
    cell: ({ expires, expired }) => (expired === true ? 'expired' : <Time at={expires} none="never" />),
  },
]

const Publisher = ({ id }: { readonly id: string | undefined }) => {
  if (id === undefined) return <span class="faint">unknown</span>
  return /^(sn|mqtt):/.test(id) ? <a href={clientHref(id)}>{id.replace(/^\w+:/, '')}</a> : <span>{id}</span>
}

/** What waits for the client, first things first. */
export function Queue({ queue }: { readonly queue: NonNullable<ClientDetail['queue']> }) {
  const { messages, bytes: size, first, oldest } = queue
  return (
    <Card
      title="Waiting"
      aside={
        messages > 0 && (
          <>
            {plural(messages, 'message')}, {bytes(size)}
            {oldest !== undefined && (
              <>
                , the oldest came <Time at={oldest} isExact />
              </>
            )}
          </>
        )
      }
    >
      {messages === 0 ? (
        <p class="soft">No message waits.</p>
      ) : (
        <ShortTable
          caption="Waiting messages"
          columns={[TOPIC, ...MESSAGE_COLUMNS]}
          rows={numbered(first)}
          total={messages}
          keyOf={({ at }) => `${at}`}
        />
      )}
    </Card>
  )
}

const FLIGHT: readonly Column<Listed<InFlightMessage>>[] = [
  TOPIC as Column<Listed<InFlightMessage>>,
  {
    id: 'state',
    title: 'State',
    class: 'col-state',
    cell: ({ state }) => ({ sent: 'sent', received: 'PUBREC has come', waiting: 'waits for the store' })[state],
  },
  {
    id: 'packet',
    title: 'Packet id',
    isNumber: true,
    class: 'col-number',
    hideBelow: 'tablet',
    cell: ({ packet_id }) => packet_id,
  },
  ...(MESSAGE_COLUMNS as readonly Column<Listed<InFlightMessage>>[]),
]

/** What was sent, and is not acknowledged. */
export function InFlight({ client }: { readonly client: ClientDetail }) {
  const { in_flight: flight, exchanges = [] } = client
  if (flight === undefined || (flight.messages === 0 && exchanges.length === 0)) return null
  return (
    <Card title="Sent and not acknowledged" aside={`${plural(flight.messages, 'message')}, ${bytes(flight.bytes)}`}>
      {exchanges.length > 0 && (
        <p class="soft">
          Roost waits for {exchanges.map(({ awaiting, msg_id }) => `${awaiting} (message id ${msg_id})`).join(', ')}.
        </p>
      )}
      {flight.messages > 0 && (
        <ShortTable
          caption="Messages in flight"
          columns={FLIGHT}
          rows={numbered(flight.first)}
          total={flight.messages}
          keyOf={({ at }) => `${at}`}
        />
      )}
    </Card>
  )
}

type Subscription = NonNullable<ClientDetail['subscriptions']>[number]

const SUBSCRIPTION_COLUMNS: readonly Column<Subscription>[] = [
  { id: 'filter', title: 'Topic filter', cell: ({ filter }) => <code>{filter}</code> },
  { id: 'qos', title: 'QoS', class: 'col-small', cell: ({ qos }) => qos },
  {
    id: 'options',
    title: 'Options',
    hideBelow: 'tablet',
    cell: ({ no_local, retain_as_published, retain_handling, identifier, condition }) =>
      [
        condition !== undefined && `if ${condition.text} (${condition.passed} of ${condition.evaluated} messages)`,
        no_local && 'no local',
        retain_as_published && 'retain as published',
        retain_handling > 0 && `retain handling ${retain_handling}`,
        identifier !== undefined && `identifier ${identifier}`,
      ]
        .filter(Boolean)
        .join(', ') || <span class="faint">none</span>,
  },
]

export function Subscriptions({ client }: { readonly client: ClientDetail }) {
  const { subscriptions = [], subscription_count: total } = client
  return (
    <Card title="Subscriptions" aside={total > 0 && count(total)}>
      {subscriptions.length === 0 ? (
        <p class="soft">It has not subscribed to anything, and gets no messages.</p>
      ) : (
        <ShortTable
          caption="Subscriptions"
          columns={SUBSCRIPTION_COLUMNS}
          rows={subscriptions}
          total={total}
          keyOf={({ filter }) => filter}
        />
      )}
    </Card>
  )
}
