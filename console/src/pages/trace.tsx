import { useEffect, useState } from 'preact/hooks'
import { download } from '../lib/download.ts'
import { count, plural } from '../lib/numbers.ts'
import { type Entry, KEPT_MAX, type Packet } from '../lib/packets.ts'
import { bytesOf } from '../lib/payload.ts'
import { setQuery, where } from '../lib/route.ts'
import { mayManage } from '../lib/session.ts'
import { useTrace } from '../lib/trace.ts'
import { Empty, PageHead, Search } from '../parts/basics.tsx'
import { Icon } from '../parts/icons.tsx'
import { Packets } from '../parts/packets.tsx'

/** Milliseconds after the last key until a filter is applied. */
const TYPING_MS = 500

/** A value that follows another one when that has not changed for a while. */
function useCalm<T>(value: T): T {
  const [calm, setCalm] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setCalm(value), TYPING_MS)
    return () => clearTimeout(timer)
  }, [value])
  return calm
}

export function TracePage() {
  const { id, client = '', topic = '', find = '' } = where.value.query
  const [payloads, setPayloads] = useState(true)
  const [showsSys, setShowsSys] = useState(false)
  const [frozen, setFrozen] = useState<readonly Entry[] | undefined>(undefined)
  const [follows, setFollows] = useState(true)
  const calm = { client: useCalm(id ?? patternOf(client.trim())), topic: useCalm(topic.trim()) }
  const trace = useTrace({
    client: calm.client === '' ? undefined : calm.client,
    topic: calm.topic === '' ? undefined : calm.topic,
    payloads: mayManage.value && payloads,
    pcap: true,
  })
  const all = frozen ?? trace.entries
  const hidesSys = !showsSys && !calm.topic.startsWith('$SYS')
  const chosen = hidesSys ? all.filter((entry) => !isSys(entry)) : all
  const shown = find === '' ? chosen : chosen.filter((entry) => has(entry, find.toLowerCase()))
  const isPaused = frozen !== undefined
  return (
    <>
      <PageHead title="Trace" about="Packets as they come and go." />
      <Filters client={id ?? client} topic={topic} find={find} />
      <div class="trace-bar">
        <button type="button" aria-pressed={isPaused} onClick={() => setFrozen(isPaused ? undefined : trace.entries)}>
          <Icon name={isPaused ? 'play' : 'pause'} />
          {isPaused ? 'Continue' : 'Pause'}
        </button>
        <button
          type="button"
          onClick={() => {
            trace.clear()
            setFrozen(isPaused ? [] : undefined)
          }}
        >
          <Icon name="close" />
          Clear
        </button>
        <button
          type="button"
          disabled={shown.length === 0}
          title="Save the packets that are shown as a capture file, for Wireshark"
          onClick={() => save(shown)}
        >
          <Icon name="download" />
          Save pcap
        </button>
        <label class="field is-check">
          <input type="checkbox" checked={follows} onChange={(event) => setFollows(event.currentTarget.checked)} />
          <span>Follow</span>
        </label>
        <label class="field is-check">
          <input type="checkbox" checked={showsSys} onChange={(event) => setShowsSys(event.currentTarget.checked)} />
          <span>$SYS</span>
        </label>
        {mayManage.value && (
          <label class="field is-check">
            <input type="checkbox" checked={payloads} onChange={(event) => setPayloads(event.currentTarget.checked)} />
            <span>Payloads</span>
          </label>
        )}
      </div>
      <Said trace={trace} shown={shown} hidden={all.length - chosen.length} isPaused={isPaused} />
      <Packets entries={shown} follows={follows && !isPaused} onFollow={(at) => !isPaused && setFollows(at)}>
        <Nothing isFiltered={calm.client !== '' || topic !== '' || find !== ''} isOpen={trace.state === 'open'} />
      </Packets>
      {!mayManage.value && (
        <p class="faint">Payloads are shown to users who may manage only; the capture has zeros in their place.</p>
      )}
    </>
  )
}

/** A pattern of client ids with `*`; a part of the id is enough, as elsewhere in the console. */
const patternOf = (text: string): string => (text === '' || text.includes('*') ? text : `*${text}*`)

function Filters({ client, topic, find }: { readonly client: string; readonly topic: string; readonly find: string }) {
  return (
    <div class="toolbar trace-filters">
      <Search
        label="Client"
        value={client}
        placeholder="sensor-7, or sensor-*"
        onInput={(value) => setQuery({ client: value, id: undefined })}
      />
      <Search
        label="Topic filter"
        value={topic}
        placeholder="site/+/temperature"
        onInput={(value) => setQuery({ topic: value })}
      />
      <Search label="Find in these packets" value={find} placeholder="PUBACK" onInput={(value) => setQuery({ find: value })} />
    </div>
  )
}

/** Every ten seconds there is a hundred of them. */
const isSys = (entry: Entry): boolean => entry.kind === 'packet' && entry.topic?.startsWith('$SYS/') === true

const has = (entry: Entry, text: string): boolean =>
  entry.kind === 'gap' || [entry.type, entry.rest, entry.client, entry.peer].some((each) => each?.toLowerCase().includes(text))

interface SaidProps {
  readonly trace: ReturnType<typeof useTrace>
  readonly shown: readonly Entry[]
  /** Packets of $SYS that are not shown. */
  readonly hidden: number
  readonly isPaused: boolean
}

function Said({ trace, shown, hidden, isPaused }: SaidProps) {
  const packets = shown.filter(({ kind }) => kind === 'packet').length
  if (trace.state === 'lost')
    return (
      <p class="failed" role="alert">
        <Icon name="warning" />
        <span>No packets at the moment: {trace.reason}. Trying again.</span>
      </p>
    )
  const came = trace.entries.at(-1)?.number ?? 0
  const last = shown.at(-1)?.number ?? came
  return (
    <p class="trace-said faint">
      {isPaused ? `Paused; ${plural(Math.max(0, came - last), 'packet')} since then. ` : ''}
      {plural(packets, 'packet')} shown{hidden > 0 && `, ${count(hidden)} of $SYS hidden`}.{' '}
      {trace.dropped > 0
        ? `The oldest ${count(trace.dropped)} have made room: the last ${count(KEPT_MAX)} are kept.`
        : `The last ${count(KEPT_MAX)} are kept.`}
    </p>
  )
}

function Nothing({ isFiltered, isOpen }: { readonly isFiltered: boolean; readonly isOpen: boolean }) {
  if (!isOpen) return <Empty title="Connecting …" />
  return isFiltered ? (
    <Empty title="No packet matches yet">
      Packets appear here as they come. One without a topic matches no topic filter, and one of a client that is not known yet
      matches no client.
    </Empty>
  ) : (
    <Empty title="Waiting for the first packet">
      Switch on a sensor, or send something: <code>mosquitto_pub -t test -m hello</code>
    </Empty>
  )
}

/** Saves the packets that are shown, as `roost trace --pcap` would have written them. */
function save(entries: readonly Entry[]): void {
  const records = entries.flatMap((entry) =>
    entry.kind === 'packet' && (entry as Packet).pcap !== undefined ? [bytesOf((entry as Packet).pcap!) as BlobPart] : [],
  )
  const stamp = new Date().toISOString().slice(0, 19).replaceAll(':', '')
  download(`roost-${stamp}.pcap`, [pcapHeader(), ...records], 'application/vnd.tcpdump.pcap')
}

/** The beginning of a capture file in the classic format, of raw IP packets. */
function pcapHeader(): BlobPart {
  const view = new DataView(new ArrayBuffer(24))
  view.setUint32(0, 0xa1b2c3d4, true)
  view.setUint16(4, 2, true)
  view.setUint16(6, 4, true)
  view.setUint32(16, 262_144, true)
  view.setUint32(20, 101, true)
  return view.buffer
}
