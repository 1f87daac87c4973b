import { useState } from 'preact/hooks'
import { bytes } from '../lib/numbers.ts'
import { bytesOf, hexOf, jsonOf, textOf } from '../lib/payload.ts'

type Form = 'text' | 'json' | 'hex'

/** Bytes of a payload that are shown; the rest is only counted. */
const SHOWN = 16 * 1024

/** A payload as text, JSON or hexadecimal digits. It is only ever text in the page, whatever is in it. */
export function Payload({ base64, length }: { readonly base64: string; readonly length: number }) {
  const [wanted, setWanted] = useState<Form | undefined>(undefined)
  const all = bytesOf(base64)
  const payload = all.subarray(0, SHOWN)
  const text = textOf(all)
  const json = jsonOf(text)
  const forms: readonly Form[] = [
    ...(json === undefined ? [] : (['json'] as const)),
    ...(text === undefined ? [] : (['text'] as const)),
    'hex',
  ]
  const form = wanted !== undefined && forms.includes(wanted) ? wanted : forms[0]!
  const shown = form === 'json' ? json! : form === 'text' ? text! : hexOf(payload)
  if (length === 0) return <p class="faint">The payload is empty.</p>
  return (
    <div class="payload">
      <div class="payload-head">
        <div class="segmented" role="group" aria-label="Show the payload as">
          {forms.map((each) => (
            <button key={each} type="button" aria-pressed={each === form} onClick={() => setWanted(each)}>
              {NAMES[each]}
            </button>
          ))}
        </div>
        <span class="faint">{bytes(length)}</span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and has to with the keyboard, too. */}
      <pre tabIndex={0} role="region" aria-label={`Payload as ${NAMES[form]}`}>
        {shown.slice(0, SHOWN * 5)}
      </pre>
      {all.length > SHOWN && form === 'hex' && <p class="faint">The first {bytes(SHOWN)} are shown.</p>}
    </div>
  )
}

const NAMES: Readonly<Record<Form, string>> = { text: 'Text', json: 'JSON', hex: 'Hex' }
