import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { plural } from '../lib/numbers.ts'
import { clockOf, type Entry, type Packet } from '../lib/packets.ts'
import { clientHref, topicHref } from '../lib/route.ts'
import { absolute } from '../lib/time.ts'
import { Fields } from './basics.tsx'
import { Icon } from './icons.tsx'

interface PacketsProps {
  readonly entries: readonly Entry[]
  /** Stays at the newest one. */
  readonly follows: boolean
  /** The user has scrolled away from the newest one, or back to it. */
  readonly onFollow: (follows: boolean) => void
  /** Shown while there are none. */
  readonly children: ComponentChildren
  /** All of one client, which need not be named in each line then. */
  readonly isOfClient?: boolean
}

/** Rows that are in the page beyond the visible ones, above and below. */
const BEYOND = 10
/** Pixels from the end at which the list counts as being at its end. */
const AT_END = 24

/** Packets, one in each row of the same height, of which only the visible ones are in the page. The one that is chosen is shown in full. */
export function Packets({ entries, follows, onFollow, children, isOfClient = false }: PacketsProps) {
  const box = useRef<HTMLDivElement>(null)
  const [rowHeight, setRowHeight] = useState(28)
  const [first, setFirst] = useState(0)
  const [chosen, setChosen] = useState<Packet | undefined>(undefined)
  const visible = Math.ceil((box.current?.clientHeight ?? 600) / rowHeight)

  useLayoutEffect(() => {
    const height = box.current?.querySelector('.packet')?.getBoundingClientRect().height ?? 0
    if (height > 0 && Math.abs(height - rowHeight) > 0.5) setRowHeight(height)
    if (follows && box.current !== null) box.current.scrollTop = box.current.scrollHeight
  })
  // The list is shorter or narrower than before.
  useEffect(() => {
    const observer = new ResizeObserver(() => setFirst((before) => before))
    if (box.current !== null) observer.observe(box.current)
    return () => observer.disconnect()
  }, [])
  const onScroll = (): void => {
    const { scrollTop, scrollHeight, clientHeight } = box.current!
    setFirst(Math.max(0, Math.floor(scrollTop / rowHeight) - BEYOND))
    const isAtEnd = scrollTop + clientHeight >= scrollHeight - AT_END
    if (isAtEnd !== follows && scrollHeight > clientHeight) onFollow(isAtEnd)
  }
  const choose = (step: number): void => {
    const packets = entries.filter((entry) => entry.kind === 'packet')
    const at = packets.findIndex(({ number }) => number === chosen?.number)
    const next = packets[at < 0 ? packets.length - 1 : Math.min(packets.length - 1, Math.max(0, at + step))]
    if (next === undefined) return
    setChosen(next)
    onFollow(false)
    const top = entries.indexOf(next) * rowHeight
    const { scrollTop, clientHeight } = box.current!
    if (top < scrollTop) box.current!.scrollTop = top
    else if (top + rowHeight > scrollTop + clientHeight) box.current!.scrollTop = top + rowHeight - clientHeight
  }
  const onKey = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: visible, PageUp: -visible }[event.key]
    if (event.key === 'Escape') setChosen(undefined)
    if (step === undefined) return
    event.preventDefault()
    choose(step)
  }
  const from = Math.min(first, Math.max(0, entries.length - visible))
  const to = Math.min(entries.length, from + visible + 2 * BEYOND)
  return (
    <div class={isOfClient ? 'packets is-of-client' : 'packets'}>
      <div
        ref={box}
        class="packet-box"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and arrows choose a packet.
        tabIndex={0}
        role="group"
        aria-label={`${plural(entries.length, 'packet')}, the newest one last; arrow keys choose one`}
        onScroll={onScroll}
        onKeyDown={onKey}
      >
        {entries.length === 0 && children}
        <ul style={{ paddingTop: `${from * rowHeight}px`, paddingBottom: `${(entries.length - to) * rowHeight}px` }}>
          {entries.slice(from, to).map((entry) => (
            <Row
              key={entry.number}
              entry={entry}
              isChosen={entry.number === chosen?.number}
              onChoose={(packet) => {
                setChosen(packet.number === chosen?.number ? undefined : packet)
                onFollow(false)
              }}
            />
          ))}
        </ul>
      </div>
      {chosen !== undefined && <Chosen packet={chosen} onClose={() => setChosen(undefined)} />}
    </div>
  )
}

interface RowProps {
  readonly entry: Entry
  readonly isChosen: boolean
  readonly onChoose: (packet: Packet) => void
}

function Row({ entry, isChosen, onChoose }: RowProps) {
  if (entry.kind === 'gap')
    return (
      <li class="packet is-gap">
        <Icon name="warning" /> {entry.text}
      </li>
    )
  const { time, direction, type, rest } = entry
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the arrow keys of the list choose, too.
    <li class={`packet is-${direction}${isChosen ? ' is-chosen' : ''}`} onClick={() => onChoose(entry)}>
      <time dateTime={time}>{clockOf(time)}</time>
      <span class="way">{direction === 'received' ? '→ from' : '← to'}</span>
      <span class="who">{entry.client ?? entry.peer}</span>
      <span class="what">
        <b>{type}</b> {rest}
      </span>
    </li>
  )
}

function Chosen({ packet, onClose }: { readonly packet: Packet; readonly onClose: () => void }) {
  const { time, protocol, direction, client, peer, topic, type, rest } = packet
  const id = client === undefined ? undefined : `${protocol === 'mqtt' ? 'mqtt' : 'sn'}:${client}`
  return (
    <section class="packet-chosen" aria-label="The chosen packet">
      <button type="button" class="plain" aria-label="Close" onClick={onClose}>
        <Icon name="close" />
      </button>
      <p class="mono">
        <b>{type}</b> {rest}
      </p>
      <Fields>
        {[
          ['Time', `${absolute(Date.parse(time))} (${clockOf(time).slice(-3)} ms)`],
          [
            direction === 'received' ? 'Received from' : 'Sent to',
            id === undefined ? peer : <a href={clientHref(id)}>{client}</a>,
          ],
          ['Address', peer],
          ['Protocol', protocol === 'mqtt' ? 'MQTT' : 'MQTT-SN'],
          topic !== undefined && ['Topic', <a href={topicHref(topic)}>{topic}</a>],
        ]}
      </Fields>
    </section>
  )
}
