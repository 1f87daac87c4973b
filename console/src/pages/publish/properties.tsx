import { useId } from 'preact/hooks'
import { Select } from '../../parts/basics.tsx'
import type { Draft, Errors } from './draft.ts'
import { FieldError, TextInput } from './inputs.tsx'

interface PropertiesProps {
  readonly draft: Draft
  readonly errors: Errors
  readonly onChange: (changes: Partial<Draft>) => void
}

/** Properties of MQTT 5, folded away until one is set: other clients, and sensors, do not see them. */
export function Properties({ draft, errors, onChange }: PropertiesProps) {
  const id = useId()
  const { payloadFormat, contentType, responseTopic, correlationData, userProperties } = draft
  const set = [payloadFormat, contentType, responseTopic, correlationData, userProperties].filter((each) => each !== '').length
  return (
    <details class="fold" open={set > 0 || undefined}>
      <summary>MQTT 5 properties{set > 0 && ` (${set} set)`}</summary>
      <div class="stack">
        <Select
          label="Payload format"
          value={payloadFormat}
          options={[
            ['', 'not said'],
            ['bytes', 'bytes'],
            ['utf-8', 'UTF-8 text'],
          ]}
          onChange={(value) => onChange({ payloadFormat: value })}
        />
        <TextInput
          label="Content type"
          value={contentType}
          placeholder="application/json"
          onInput={(value) => onChange({ contentType: value })}
        />
        <TextInput
          label="Response topic"
          value={responseTopic}
          error={errors.responseTopic}
          onInput={(value) => onChange({ responseTopic: value })}
        />
        <TextInput
          label="Correlation data (text, or 0x and hexadecimal digits)"
          value={correlationData}
          error={errors.correlationData}
          onInput={(value) => onChange({ correlationData: value })}
        />
        <div class="field">
          <label for={id}>User properties (name: value, one a line)</label>
          <textarea
            id={id}
            rows={3}
            value={userProperties}
            spellcheck={false}
            aria-invalid={errors.userProperties !== undefined}
            aria-describedby={errors.userProperties === undefined ? undefined : `${id}-error`}
            onInput={(event) => onChange({ userProperties: event.currentTarget.value })}
          />
          <FieldError id={id} error={errors.userProperties} />
        </div>
      </div>
    </details>
  )
}
