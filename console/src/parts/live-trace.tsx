import { useState } from 'preact/hooks'
import { count } from '../lib/numbers.ts'
import { KEPT_MAX } from '../lib/packets.ts'
import { href } from '../lib/route.ts'
import { useTrace } from '../lib/trace.ts'
import { Empty } from './basics.tsx'
import { Icon } from './icons.tsx'
import { Packets } from './packets.tsx'

/** What goes to and from one client, once the user asks for it. */
export function LiveTrace({ client, payloads }: { readonly client: string; readonly payloads: boolean }) {
  const [isOn, setIsOn] = useState(false)
  const [follows, setFollows] = useState(true)
  // `*` in a client id stands for any characters in the pattern: others might be shown, too, but none is left out.
  const { entries, dropped, state, reason, clear } = useTrace({ client, payloads }, isOn)
  const hasBegun = isOn || entries.length > 0
  return (
    <>
      <div class="actions trace-actions">
        <button type="button" class={hasBegun ? '' : 'primary'} onClick={() => setIsOn(!isOn)}>
          <Icon name={isOn ? 'pause' : 'play'} />
          {isOn ? 'Pause' : hasBegun ? 'Continue' : 'Show packets as they come'}
        </button>
        {entries.length > 0 && (
          <button type="button" onClick={clear}>
            Clear
          </button>
        )}
        <a class="button" href={href(['trace'], { id: client })}>
          Open in Trace
        </a>
      </div>
      {state === 'lost' && <p class="failed">The trace is interrupted: {reason}</p>}
      {dropped > 0 && <p class="soft">The last {count(KEPT_MAX)} packets are kept.</p>}
      {hasBegun && (
        <Packets entries={entries} follows={follows && isOn} onFollow={setFollows} isOfClient>
          {state === 'open' ? (
            <Empty title="Waiting for a packet">
              Packets appear here as they come. A sensor that sleeps sends nothing until it wakes.
            </Empty>
          ) : (
            <Empty title={isOn ? 'Connecting …' : 'No packet came'} />
          )}
        </Packets>
      )}
    </>
  )
}
