import { useId } from 'preact/hooks'
import { bytes } from '../../lib/numbers.ts'
import { type Draft, type Form, lengthOf } from './draft.ts'

interface TextInputProps {
  readonly label: string
  readonly value: string
  readonly error?: string | undefined
  readonly placeholder?: string
  readonly inputMode?: 'numeric'
  readonly onInput: (value: string) => void
}

/** A field with what is wrong with it below. */
export function TextInput({ label, value, error, placeholder, inputMode, onInput }: TextInputProps) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        value={value}
        placeholder={placeholder}
        inputMode={inputMode}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        aria-invalid={error !== undefined}
        aria-describedby={error === undefined ? undefined : `${id}-error`}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <FieldError id={id} error={error} />
    </div>
  )
}

export function FieldError({ id, error }: { readonly id: string; readonly error: string | undefined }) {
  if (error === undefined) return null
  return (
    <p class="field-error" id={`${id}-error`}>
      {error}
    </p>
  )
}

const FORMS: readonly (readonly [Form, string])[] = [
  ['text', 'Text'],
  ['json', 'JSON'],
  ['hex', 'Hex'],
  ['base64', 'Base64'],
]

interface PayloadInputProps {
  readonly draft: Draft
  readonly error: string | undefined
  readonly onChange: (changes: Partial<Draft>) => void
}

export function PayloadInput({ draft, error, onChange }: PayloadInputProps) {
  const id = useId()
  const length = lengthOf(draft)
  return (
    <div class="field">
      <div class="payload-head">
        <label for={id}>Payload</label>
        <div class="segmented" role="group" aria-label="The payload is written as">
          {FORMS.map(([form, name]) => (
            <button key={form} type="button" aria-pressed={draft.form === form} onClick={() => onChange({ form })}>
              {name}
            </button>
          ))}
        </div>
        <span class="faint">{length === undefined ? '' : bytes(length)}</span>
      </div>
      <textarea
        id={id}
        rows={5}
        value={draft.payload}
        spellcheck={false}
        autocapitalize="none"
        aria-invalid={error !== undefined}
        aria-describedby={error === undefined ? undefined : `${id}-error`}
        onInput={(event) => onChange({ payload: event.currentTarget.value })}
      />
      <FieldError id={id} error={error} />
    </div>
  )
}
