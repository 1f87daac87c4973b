import { type Answer, call } from '../lib/api.ts'
import { useLoaded } from '../lib/loaded.ts'
import { bytes, count, figures, plural } from '../lib/numbers.ts'
import type { Overview } from '../lib/overview.ts'
import { Card, Failed, Loading } from './basics.tsx'
import { For, Time } from './time.tsx'

type Cluster = Answer<'GET /api/v1/upstream'>
type Target = Cluster['targets'][number]

/** The cluster at which sensors have their sessions; nothing where they have them here. */
export function Upstream({ totals: { upstream } }: { readonly totals: Overview }) {
  return upstream === undefined ? null : <UpstreamCard {...upstream} />
}

function UpstreamCard({ connections }: NonNullable<Overview['upstream']>) {
  const { value, error } = useLoaded('upstream', (signal) => call('GET /api/v1/upstream', { signal }), 5)
  return (
    <Card title="Cluster" class="is-wide" aside={plural(connections, 'connection')}>
      <Failed error={error} />
      {value === undefined && error === undefined && <Loading />}
      <ul class="lines">
        {(value?.targets ?? []).map((target) => (
          <TargetLine key={target.target} {...target} />
        ))}
      </ul>
      {value !== undefined && <p class="more soft">{inWords(value)}</p>}
    </Card>
  )
}

function TargetLine(shown: Target) {
  const { target, state, since, retry_at: retry, version, connections, dialling, dials, failed_dials: failed } = shown
  const { round_trip_ms: roundTrip, last_error: lastError } = shown
  return (
    <li class={`line bridge ${state === 'away' || state === 'failing' ? 'is-bad' : ''}`}>
      <b class="cut">{target}</b>
      <span>
        <b class="word">{WORDS[state]}</b>{' '}
        <span class="soft">
          {since !== undefined && <For at={since} />}
          {version !== undefined && state === 'up' && `, MQTT ${version}`}
          {roundTrip !== undefined && `, round trip ${figures(roundTrip)} ms`}
        </span>
      </span>
      <span class="soft">
        {plural(connections, 'connection')}
        {dialling > 0 && `, ${count(dialling)} being set up`}
        {`; ${plural(dials, 'attempt')} to connect, ${count(failed)} failed`}
      </span>
      {state !== 'up' && lastError !== undefined && (
        <span class="soft">
          last error: {lastError}
          {retry !== undefined && (
            <>
              ; next attempt <Time at={retry} />
            </>
          )}
        </span>
      )}
    </li>
  )
}

const WORDS: Readonly<Record<Target['state'], string>> = {
  up: 'up',
  idle: 'no connection',
  failing: 'cannot be reached',
  away: 'away',
}

function inWords({ sessions, ending, held, unanswered, dropped }: Cluster): string {
  const { connected, connecting, waiting, parked } = sessions
  const states = `Sensors: ${count(connected)} connected, ${count(connecting)} connecting, ${count(waiting)} waiting, ${count(parked)} parked`
  return [
    ending > 0 ? `${states}, ${count(ending)} ending.` : `${states}.`,
    `Held: ${plural(held.messages, 'message')} (${bytes(held.bytes)}).`,
    `Unanswered by the cluster: ${plural(unanswered, 'message')}.`,
    `Dropped: ${count(dropped)}.`,
  ].join(' ')
}
