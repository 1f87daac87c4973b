import { useEffect, useRef, useState } from 'preact/hooks'
import { plural } from '../lib/numbers.ts'
import { absolute, clock } from '../lib/time.ts'
import { openTrace, type TraceFilter, type TraceLine } from '../lib/trace.ts'
import { Empty } from './basics.tsx'
import { Icon } from './icons.tsx'

/** Lines that are kept; the oldest go first. */
const KEPT = 500
/** Milliseconds between two updates of the page: packets may come by the thousand. */
const SHOWN_EVERY_MS = 200

interface Shown {
  readonly lines: readonly TraceLine[]
  readonly missed: number
  readonly lost: string
}

const NOTHING: Shown = { lines: [], missed: 0, lost: '' }

/** The last packets that `filter` chooses, newest last, while `isOn`. */
export function useTrace(
  filter: TraceFilter,
  isOn: boolean,
  onRecords?: (base64: string) => void,
): Shown & { readonly clear: () => void } {
  const [shown, setShown] = useState<Shown>(NOTHING)
  const records = useRef(onRecords)
  records.current = onRecords
  const key = JSON.stringify(filter)
  // The key stands for the filter.
  useEffect(() => {
    if (!isOn) return undefined
    let waiting: TraceLine[] = []
    let missed = 0
    let timer: ReturnType<typeof setTimeout> | undefined
    const flush = (): void => {
      timer = undefined
      const [lines, left] = [waiting, missed]
      waiting = []
      missed = 0
      setShown((before) => ({ ...before, lines: [...before.lines, ...lines].slice(-KEPT), missed: before.missed + left }))
    }
    const close = openTrace(filter, {
      onLine: (line) => {
        waiting.push(line)
        // What would be dropped at once is not kept until then.
        if (waiting.length > KEPT) waiting.shift()
        timer ??= setTimeout(flush, SHOWN_EVERY_MS)
      },
      onMissed: (packets) => {
        missed += packets
        timer ??= setTimeout(flush, SHOWN_EVERY_MS)
      },
      onState: (state, reason) => setShown((before) => ({ ...before, lost: state === 'lost' ? reason : '' })),
      onRecords: (base64) => records.current?.(base64),
    })
    return () => {
      close()
      clearTimeout(timer)
      if (waiting.length > 0) flush()
    }
  }, [key, isOn])
  return { ...shown, clear: () => setShown(NOTHING) }
}

/** Lines of a trace. New ones come at the end, where the list stays unless the user has scrolled up. */
export function TraceLines({ lines, isNamed = true }: { readonly lines: readonly TraceLine[]; readonly isNamed?: boolean }) {
  const list = useRef<HTMLOListElement>(null)
  const isAtEnd = useRef(true)
  useEffect(() => {
    const { current: element } = list
    if (element !== null && isAtEnd.current) element.scrollTop = element.scrollHeight
  })
  const onScroll = (): void => {
    const { current: element } = list
    if (element !== null) isAtEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and has to with the keyboard, too.
    <ol class="trace" ref={list} tabIndex={0} aria-label="Packets" onScroll={onScroll}>
      {lines.map(({ id, time, direction, line, protocol }) => (
        <li key={id} class={`is-${direction}`}>
          <time dateTime={time} title={absolute(Date.parse(time))}>
            {clock(Date.parse(time))}
          </time>
          {isNamed && <span class="protocol">{protocol}</span>}
          <span class="packet">{line}</span>
        </li>
      ))}
    </ol>
  )
}

/** What goes to and from one client, once the user asks for it. */
export function LiveTrace({ client, payloads }: { readonly client: string; readonly payloads: boolean }) {
  const [isOn, setIsOn] = useState(false)
  // `*` in a client id stands for any characters in the pattern: others might be shown, too, but none is left out.
  const { lines, missed, lost, clear } = useTrace({ client, payloads }, isOn)
  return (
    <>
      <div class="actions trace-actions">
        <button type="button" class={isOn ? '' : 'primary'} onClick={() => setIsOn(!isOn)}>
          <Icon name={isOn ? 'pause' : 'play'} />
          {isOn ? 'Pause' : lines.length > 0 ? 'Continue' : 'Show packets as they come'}
        </button>
        {lines.length > 0 && (
          <button type="button" onClick={clear}>
            Clear
          </button>
        )}
      </div>
      {lost !== '' && <p class="failed">The trace is interrupted: {lost}</p>}
      {missed > 0 && <p class="soft">{plural(missed, 'packet')} came too fast, and are not shown.</p>}
      {isOn && lines.length === 0 && (
        <Empty title="Waiting for a packet">A sensor that sleeps sends nothing until it wakes.</Empty>
      )}
      {lines.length > 0 && <TraceLines lines={lines} isNamed={false} />}
    </>
  )
}
