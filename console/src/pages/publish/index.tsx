import { signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import { type ApiError, call } from '../../lib/api.ts'
import { bytes, plural } from '../../lib/numbers.ts'
import { topicHref, where } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { Card, Empty, Failed, PageHead } from '../../parts/basics.tsx'
import { confirm } from '../../parts/confirm.tsx'
import { Icon } from '../../parts/icons.tsx'
import { Time } from '../../parts/time.tsx'
import { bodyOf, type Draft, draft, EMPTY, type Errors, errorsOf, lengthOf } from './draft.ts'
import { PayloadInput, TextInput } from './inputs.tsx'
import { Properties } from './properties.tsx'

interface Sent {
  readonly draft: Draft
  /** ISO 8601. */
  readonly at: string
  readonly receivers: number
}

const SENT_MAX = 10
/** The last ones, newest first; gone with the tab. */
const sent = signal<readonly Sent[]>([])

export function PublishPage() {
  const { topic } = where.value.query
  useEffect(() => {
    if (topic !== undefined) draft.value = { ...draft.value, topic }
  }, [topic])
  if (!mayManage.value)
    return (
      <>
        <PageHead title="Publish" />
        <Empty title="Publishing is for users who may manage">
          Log in as a user of <code>http_managers</code>, or with a token of role <code>manage</code>.
        </Empty>
      </>
    )
  return (
    <>
      <PageHead title="Publish" about="Sends a message to all subscribers. Access lists do not apply to it." />
      <div class="grid publish">
        <Form />
        <Card title="Published from this tab">
          {sent.value.length === 0 && <Empty title="Nothing yet">What you publish is listed here, and can be repeated.</Empty>}
          <ul class="lines">
            {sent.value.map((each) => (
              <SentLine key={each.at} {...each} />
            ))}
          </ul>
        </Card>
      </div>
    </>
  )
}

const change = (changes: Partial<Draft>): void => {
  draft.value = { ...draft.value, ...changes }
}

type Outcome = { readonly sent: Sent } | { readonly error: ApiError }

function Form() {
  const now = draft.value
  const [isTried, setIsTried] = useState(false)
  const [isRunning, setIsRunning] = useState(false)
  const [outcome, setOutcome] = useState<Outcome | undefined>(undefined)
  const errors: Errors = isTried ? errorsOf(now) : {}
  const submit = (form: HTMLFormElement): void => {
    setIsTried(true)
    setOutcome(undefined)
    if (Object.keys(errorsOf(now)).length > 0) {
      requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus())
      return
    }
    publish(now, setIsRunning, (next) => {
      setOutcome(next)
      if ('sent' in next) setIsTried(false)
    })
  }
  return (
    <Card>
      <form
        class="stack"
        noValidate
        onSubmit={(event) => {
          event.preventDefault()
          submit(event.currentTarget)
        }}
      >
        <TextInput
          label="Topic"
          value={now.topic}
          error={errors.topic}
          placeholder="site/valve/1"
          onInput={(topic) => change({ topic })}
        />
        <PayloadInput draft={now} error={errors.payload} onChange={change} />
        <div class="in-line">
          <fieldset class="choice">
            <legend>QoS</legend>
            {(['0', '1', '2'] as const).map((qos) => (
              <label key={qos}>
                <input type="radio" name="qos" checked={now.qos === qos} onChange={() => change({ qos })} /> {qos}
              </label>
            ))}
          </fieldset>
          <label class="field is-check">
            <input type="checkbox" checked={now.retain} onChange={(event) => change({ retain: event.currentTarget.checked })} />
            <span>Retain</span>
          </label>
          <TextInput
            label="Expires after (seconds)"
            value={now.expiry}
            error={errors.expiry}
            placeholder="never"
            inputMode="numeric"
            onInput={(expiry) => change({ expiry: expiry.trim() })}
          />
        </div>
        <Properties draft={now} errors={errors} onChange={change} />
        {'error' in (outcome ?? {}) && <Failed error={(outcome as { error: ApiError }).error} />}
        {outcome !== undefined && 'sent' in outcome && <Done {...outcome.sent} />}
        <div class="actions">
          <button type="submit" class="primary" disabled={isRunning}>
            <Icon name="publish" />
            {isRunning ? 'Publishing …' : 'Publish'}
          </button>
          <button
            type="button"
            class="plain"
            onClick={() => {
              draft.value = EMPTY
              setIsTried(false)
              setOutcome(undefined)
            }}
          >
            Clear the form
          </button>
        </div>
      </form>
    </Card>
  )
}

function Done({ draft: { topic, retain }, receivers }: Sent) {
  return (
    <p class="done" role="status">
      <Icon name="check" />
      <span>
        {receivers === 0
          ? 'Published. No session has subscribed to this topic, so nobody received it.'
          : `Published: sent to ${plural(receivers, 'session')}, or waiting for those that sleep or are away.`}{' '}
        {retain && <a href={topicHref(topic)}>Show what is retained</a>}
      </span>
    </p>
  )
}

/** Asks first if it deletes a retained message. */
function publish(from: Draft, setIsRunning: (is: boolean) => void, onOutcome: (outcome: Outcome) => void): void {
  const run = async () => {
    setIsRunning(true)
    const result = await call('POST /api/v1/publish', { body: bodyOf(from) })
    setIsRunning(false)
    if (!result.ok) {
      onOutcome({ error: result.error })
      return result
    }
    const done: Sent = { draft: from, at: new Date().toISOString(), receivers: result.value.receivers }
    sent.value = [done, ...sent.value].slice(0, SENT_MAX)
    onOutcome({ sent: done })
    return result
  }
  if (!from.retain || lengthOf(from) !== 0) {
    void run()
    return
  }
  confirm({
    title: 'Delete the retained message?',
    body: (
      <p>
        An empty message with Retain deletes what is retained on <b>{from.topic}</b>, and tells the subscribers so. It cannot be
        undone.
      </p>
    ),
    action: 'Publish and delete',
    done: 'Published; nothing is retained there now',
    run,
  })
}

function SentLine({ draft: from, at, receivers }: Sent) {
  const [state, setState] = useState({ isRunning: false, error: '' })
  const repeat = (): void =>
    publish(
      from,
      (isRunning) => setState({ isRunning, error: '' }),
      (outcome) => 'error' in outcome && setState({ isRunning: false, error: outcome.error.detail }),
    )
  const length = lengthOf(from) ?? 0
  return (
    <li>
      <div class="line">
        <b class="cut">{from.topic}</b>
        <span class="faint">
          <Time at={at} />
        </span>
      </div>
      <div class="soft cut mono">{from.payload === '' ? '(empty)' : from.payload}</div>
      <div class="soft">
        {bytes(length)}, QoS {from.qos}
        {from.retain && ', retained'}, {plural(receivers, 'receiver')}
      </div>
      {state.error !== '' && (
        <p class="failed" role="alert">
          {state.error}
        </p>
      )}
      <div class="actions">
        <button type="button" disabled={state.isRunning} aria-label={`Publish again on ${from.topic}`} onClick={repeat}>
          <Icon name="reload" />
          Again
        </button>
        <button
          type="button"
          class="plain"
          aria-label={`Edit a copy of the message on ${from.topic}`}
          onClick={() => {
            draft.value = from
            scrollTo(0, 0)
          }}
        >
          Edit a copy
        </button>
      </div>
    </li>
  )
}
