import { useEffect, useRef, useState } from 'preact/hooks'
import { queryText } from './api.ts'
import { type Entry, TraceBuffer } from './packets.ts'
import { openStream } from './stream.ts'

export interface TraceQuery {
  readonly client?: string | undefined
  readonly topic?: string | undefined
  readonly payloads?: boolean | undefined
  readonly pcap?: boolean | undefined
}

/** Milliseconds between two updates of the page. */
const SHOWN_EVERY_MS = 120

export interface Trace {
  readonly entries: readonly Entry[]
  readonly dropped: number
  /** `lost` with a reason, and then it is tried again. */
  readonly state: 'connecting' | 'open' | 'lost' | 'off'
  readonly reason: string
  readonly clear: () => void
}

/** Streams packets while `isOn`. What came before another filter stays, with a line between. */
export function useTrace({ client, topic, payloads, pcap }: TraceQuery, isOn = true): Trace {
  const buffer = useRef(new TraceBuffer())
  const [shown, setShown] = useState<{ readonly entries: readonly Entry[]; readonly dropped: number }>(NOTHING)
  const [{ state, reason }, setState] = useState<Pick<Trace, 'state' | 'reason'>>({ state: 'connecting', reason: '' })
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const show = (): void => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      setShown({ entries: [...buffer.current.entries], dropped: buffer.current.dropped })
    }, SHOWN_EVERY_MS)
  }
  useEffect(() => {
    if (!isOn) {
      setState({ state: 'off', reason: '' })
      return
    }
    let wasLost = false
    const query = queryText({ client, topic, payloads: payloads || undefined, pcap: pcap || undefined })
    const close = openStream(`/api/v1/trace${query}`, {
      onState: (now, why) => {
        if (now === 'open' && wasLost) buffer.current.gap('The connection was lost. Packets are missing here.')
        wasLost = now === 'lost'
        setState({ state: now, reason: why })
        show()
      },
      onEvent: ({ name, data }) => {
        const event = JSON.parse(data)
        if (name === 'packet') buffer.current.packet(event)
        else if (name === 'missed')
          buffer.current.gap(`${event.packets} packets are missing here: they came faster than they were read.`)
        show()
      },
    })
    return () => {
      close()
      clearTimeout(timer.current)
      timer.current = undefined
    }
  }, [client, topic, payloads, pcap, isOn])
  return {
    ...shown,
    state,
    reason,
    clear: () => {
      buffer.current.clear()
      setShown(NOTHING)
    },
  }
}

const NOTHING = { entries: [], dropped: 0 }
