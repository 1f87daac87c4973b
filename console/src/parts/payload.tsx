import { useState } from 'preact/hooks'
import { bytes } from '../lib/numbers.ts'

type Form = 'text' | 'json' | 'hex'

/** Bytes of a payload that are shown; the rest is only counted. */
const SHOWN = 16 * 1024

export const bytesOf = (base64: string): Uint8Array => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0))

/** The text of UTF-8; undefined for anything else, and for what has control characters in it. */
export function textOf(payload: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(payload)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what makes it no text.
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

export function jsonOf(text: string | undefined): string | undefined {
  if (text === undefined || !/^\s*[[{]/.test(text)) return undefined
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return undefined
  }
}

/** `0000  48 65 6c 6c 6f                                    Hello` */
export function hexOf(payload: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < payload.length; at += 16) {
    const part = payload.subarray(at, at + 16)
    const hex = Array.from(part, (byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = Array.from(part, (byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('')
    lines.push(`${at.toString(16).padStart(4, '0')}  ${hex.padEnd(47)}  ${text}`)
  }
  return lines.join('\n')
}

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
