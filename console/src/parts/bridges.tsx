import { type Answer, call } from '../lib/api.ts'
import { useLoaded } from '../lib/loaded.ts'
import { bytes, count, figures, plural } from '../lib/numbers.ts'
import type { Overview } from '../lib/overview.ts'
import { clientHref } from '../lib/route.ts'
import { duration } from '../lib/time.ts'
import { Card, Failed, Loading } from './basics.tsx'
import { For } from './time.tsx'

type Bridge = Answer<'GET /api/v1/bridges'>['bridges'][number]

/** The bridges to other brokers; nothing where none is configured. */
export function Bridges({ totals }: { readonly totals: Overview }) {
  return totals.bridges === undefined ? null : <BridgesCard {...totals.bridges} />
}

function BridgesCard({ connected, configured }: NonNullable<Overview['bridges']>) {
  const { value, error } = useLoaded('bridges', (signal) => call('GET /api/v1/bridges', { signal }), 5)
  return (
    <Card title="Bridges" class="is-wide" aside={`${count(connected)} of ${count(configured)} connected`}>
      <Failed error={error} />
      {value === undefined && error === undefined && <Loading />}
      <ul class="lines">
        {(value?.bridges ?? []).map((bridge) => (
          <BridgeLine key={bridge.name} {...bridge} />
        ))}
      </ul>
    </Card>
  )
}

function BridgeLine(bridge: Bridge) {
  const { name, state, since, target, client, version, waiting, oldest_seconds: oldest } = bridge
  const { sent, received, refused, dials, round_trip_ms: roundTrip, last_error: lastError } = bridge
  const [word, more] = WORDS[state]
  return (
    <li class={`line bridge ${state === 'connecting' || state === 'ended' ? 'is-bad' : ''}`}>
      <span class="cut">
        <a href={clientHref(client)}>
          <b>{name}</b>
        </a>{' '}
        <span class="soft">{target}</span>
      </span>
      <span>
        <b class="word">{word}</b>{' '}
        <span class="soft">
          <For at={since} />
          {more}
          {version !== undefined && state === 'connected' && `, MQTT ${version}`}
          {roundTrip !== undefined && `, round trip ${figures(roundTrip)} ms`}
          {`, ${plural(dials, 'attempt')} to connect`}
        </span>
      </span>
      <span class="soft">
        {waiting.messages === 0
          ? 'nothing waits'
          : `${plural(waiting.messages, 'message')} (${bytes(waiting.bytes)}) waiting${oldest === undefined ? '' : `, the oldest for ${duration(oldest)}`}`}
        {`; ${count(sent)} out, ${count(received)} in`}
        {refused > 0 && `, ${count(refused)} refused`}
      </span>
      {state !== 'connected' && lastError !== undefined && <span class="soft">last error: {lastError}</span>}
    </li>
  )
}

/** How a state is told, before and behind for how long it has been so. */
const WORDS: Readonly<Record<Bridge['state'], readonly [word: string, more: string]>> = {
  connected: ['connected', ''],
  connecting: ['not connected', ', is tried again'],
  idle: ['idle', ', until messages wait'],
  ended: ['ended', ', was to connect once (start_type)'],
}
