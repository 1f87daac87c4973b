import { call } from '../../lib/api.ts'
import type { ClientDetail } from '../../lib/clients.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { bytes, count } from '../../lib/numbers.ts'
import { go, href, topicHref } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { duration } from '../../lib/time.ts'
import { Card, Empty, Failed, Fields, Figure, Loading, PageHead } from '../../parts/basics.tsx'
import { ClientActions, InFlight, Queue, Reasons, Subscriptions } from '../../parts/client.tsx'
import { LiveTrace } from '../../parts/live-trace.tsx'
import { RecentNotices } from '../../parts/notices.tsx'
import { Payload } from '../../parts/payload.tsx'
import { ABOUT_STATE, StateMark } from '../../parts/state.tsx'
import { For, Time, When } from '../../parts/time.tsx'

/** Everything about one MQTT client. */
export function ClientPage({ id }: { readonly id: string }) {
  const {
    value: client,
    error,
    reload,
  } = useLoaded(id, (signal) => call('GET /api/v1/clients/{id}', { params: { id }, signal }), 2)
  const name = client?.client_id ?? id.replace(/^mqtt:/, '')
  const back = (
    <a class="back" href={href(['clients'])}>
      All MQTT clients
    </a>
  )
  if (error?.status === 404)
    return (
      <>
        {back}
        <PageHead title={name} />
        <div class="card">
          <Empty title="There is no such client now">{error.detail}</Empty>
        </div>
      </>
    )
  return (
    <>
      {back}
      <PageHead title={name} about={client && <Heading {...client} />}>
        {client && <ClientActions client={client} onChanged={reload} onEnded={() => go(['clients'])} />}
      </PageHead>
      <Failed error={error} retry={reload} />
      {client === undefined ? error === undefined && <Loading /> : <Parts client={client} />}
    </>
  )
}

function Heading({ state, since }: ClientDetail) {
  return (
    <>
      <StateMark state={state} /> {since !== undefined && <For at={since} />}
      {state === 'disconnected' && `: ${ABOUT_STATE.disconnected}`}
    </>
  )
}

function Parts({ client }: { readonly client: ClientDetail }) {
  const { queue, id, client_id, will } = client
  return (
    <>
      <Figures {...client} />
      <Reasons client={client} />
      {queue !== undefined && <Queue queue={queue} />}
      <InFlight client={client} />
      <div class="grid">
        <Connection {...client} />
        <Session {...client} />
      </div>
      <Subscriptions client={client} />
      {will !== undefined && <Will {...will} />}
      <Card title="Trace" aside="packets between it and Roost">
        <LiveTrace client={client_id} payloads={mayManage.value} />
      </Card>
      <Card title="Notices">
        <RecentNotices client={id} limit={12} />
      </Card>
    </>
  )
}

function Figures(client: ClientDetail) {
  const { waiting_messages: waiting, waiting_bytes: size, queue, in_flight: flight, window, counters, reads } = client
  return (
    <div class="figures">
      <Figure label="Last heard" value={<Time at={client.last_heard} />}>
        <When at={client.last_heard} />
      </Figure>
      <Figure label="Waiting for it" value={count(waiting)}>
        {bytes(size)}
        {queue?.oldest !== undefined && (
          <>
            , the oldest came <Time at={queue.oldest} />
          </>
        )}
      </Figure>
      {flight !== undefined && (
        <Figure label="Not acknowledged" value={count(flight.messages)}>
          {window === undefined ? 'sent to it' : `of ${count(window)} at a time`}
        </Figure>
      )}
      {counters !== undefined && (
        <>
          <Figure label="Messages from it" value={count(counters.messages_received)}>
            {bytes(counters.bytes_received)} with all packets
          </Figure>
          <Figure label="Messages to it" value={count(counters.messages_sent)}>
            {bytes(counters.bytes_sent)} with all packets
          </Figure>
          <Figure label="Dropped" value={count(counters.dropped)} tone={counters.dropped > 0 ? 'is-bad' : ''}>
            messages for it
          </Figure>
        </>
      )}
      {reads === false && (
        <Figure label="Reading" value="no" tone="is-bad">
          it takes nothing from its connection
        </Figure>
      )}
    </div>
  )
}

function Connection(client: ClientDetail) {
  const {
    id,
    state,
    port,
    address,
    user,
    user_verified,
    protocol_version: version,
    keep_alive_seconds: alive,
    bridge,
    paused,
  } = client
  return (
    <Card
      title={state === 'connected' ? 'Connection' : 'Last connection'}
      aside={<a href={href(['users'], { client: id })}>What may it do?</a>}
    >
      <Fields>
        {[
          port !== undefined && ['Listener', port],
          address !== undefined && ['Address', address],
          ['User', user === undefined ? 'none' : `${user}${user_verified === true ? '' : ', not verified'}`],
          version !== undefined && ['Protocol', `MQTT ${version}${bridge === true ? ', a bridge' : ''}`],
          alive !== undefined && ['Keep alive', alive === 0 ? 'none' : duration(alive)],
          paused === true && ['Paused', 'it publishes faster than its receivers read, and waits for a moment'],
        ]}
      </Fields>
    </Card>
  )
}

function Session(client: ClientDetail) {
  const {
    created,
    persistent,
    clean,
    expiry_seconds: expiry,
    expires,
    mount_point,
    unreleased = 0,
    unanswered_publishes: unanswered = 0,
  } = client
  return (
    <Card title="Session">
      <Fields>
        {[
          created !== undefined && ['Began', <Time key="created" at={created} isExact />],
          ['Ends', persistent === false ? 'with its connection' : endText(expiry)],
          expires !== undefined && ['Expires', <Time key="expires" at={expires} isExact />],
          clean !== undefined && ['Clean session', clean ? 'yes: a new session began' : 'no: an earlier session is resumed'],
          mount_point !== undefined && ['Mount point', <code key="mount">{mount_point}</code>],
          unreleased > 0 && ['Messages to be released', `${count(unreleased)} of QoS 2 wait for its PUBREL`],
          unanswered > 0 && ['Not acknowledged to it', `${count(unanswered)} of QoS 1 wait for the store`],
        ]}
      </Fields>
    </Card>
  )
}

const endText = (expiry: number | undefined): string =>
  expiry === undefined ? 'never by itself' : `${duration(expiry)} after its connection`

function Will({
  topic,
  qos,
  retain,
  payload_bytes: length,
  delay_seconds: delay,
  payload_base64: payload,
}: NonNullable<ClientDetail['will']>) {
  return (
    <Card title="Will" aside="published if its connection is lost">
      <Fields>
        {[
          [
            'Topic',
            <a key="topic" href={topicHref(topic)}>
              {topic}
            </a>,
          ],
          ['QoS', `${qos}${retain ? ', retained' : ''}`],
          delay > 0 && ['Delay', `${duration(delay)} after its connection`],
          payload === undefined && ['Payload', bytes(length)],
        ]}
      </Fields>
      {payload !== undefined && <Payload base64={payload} length={length} />}
    </Card>
  )
}
