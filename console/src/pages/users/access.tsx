import { useState } from 'preact/hooks'
import { type Answer, type ApiError, call } from '../../lib/api.ts'
import { plural } from '../../lib/numbers.ts'
import { where } from '../../lib/route.ts'
import { Card, Failed, Fields, Select } from '../../parts/basics.tsx'
import { Icon } from '../../parts/icons.tsx'

type AccessAnswer = Answer<'GET /api/v1/access'>
type Action = 'publish' | 'subscribe' | 'receive'
type Rule = AccessAnswer['rules'][number]

/** What a client may do, and why. */
export function Access() {
  const { client: named = '' } = where.value.query
  const [action, setAction] = useState<Action>('publish')
  const [result, setResult] = useState<AccessAnswer | undefined>(undefined)
  const [error, setError] = useState<ApiError | undefined>(undefined)
  const submit = async (form: HTMLFormElement): Promise<void> => {
    const field = (name: string): string => String(new FormData(form).get(name) ?? '').trim()
    const topic = field('topic')
    const asked = await call('GET /api/v1/access', { query: { client: field('client'), ...(topic !== '' && { topic, action }) } })
    setResult(asked.ok ? asked.value : undefined)
    setError(asked.ok ? undefined : asked.error)
  }
  return (
    <Card title="What may a client do?">
      <form
        class="toolbar"
        onSubmit={(event) => {
          event.preventDefault()
          void submit(event.currentTarget)
        }}
      >
        <label class="field grows">
          <span>Client id</span>
          <input
            name="client"
            defaultValue={named}
            placeholder="sensor-7, or mqtt:pump"
            required
            autocomplete="off"
            spellcheck={false}
          />
        </label>
        <Select<Action>
          label="May it"
          value={action}
          options={[
            ['publish', 'publish on'],
            ['subscribe', 'subscribe to'],
            ['receive', 'receive from'],
          ]}
          onChange={setAction}
        />
        <label class="field grows">
          <span>Topic (empty: only list its rules)</span>
          <input name="topic" placeholder="site/valve" autocomplete="off" spellcheck={false} />
        </label>
        <button type="submit" class="primary">
          Ask
        </button>
      </form>
      <Failed error={error} />
      {result !== undefined && <Shown result={result} />}
    </Card>
  )
}

const RULES_FROM = {
  acl_file: 'the access list (acl_file)',
  token: 'its token',
  service: 'the service that checked its login',
  login: 'its login, before a restart',
  none: 'nowhere: there is no access list, and everything is allowed',
} as const

function Shown({ result }: { readonly result: AccessAnswer }) {
  const { answer, sensor_user: sensor, rules, unknown } = result
  return (
    <div aria-live="polite">
      {answer !== undefined && (
        <p class={answer.allowed ? 'done' : 'failed'}>
          <Icon name={answer.allowed ? 'check' : 'warning'} />
          <span>
            <b>
              {answer.allowed ? 'It may' : 'It may not'} {answer.action}: {answer.topic}
            </b>
            {answer.partial === true && ', but not all that it matches is delivered'}
            {answer.why !== undefined && <span class="soft"> ({answer.why})</span>}
          </span>
        </p>
      )}
      <Fields>
        {[
          ['User', result.user === undefined ? 'none' : `${result.user}${result.user_verified ? '' : ', not verified'}`],
          result.banned === true && ['Banned', 'by ban_file'],
          sensor !== undefined && [
            'As a sensor',
            sensor.may_connect ? `may connect (${sensor.outcome})` : `may not connect (${sensor.outcome})`,
          ],
          ['Rules from', RULES_FROM[result.rules_from]],
          ['Without a rule', result.default === 'allow' ? 'allowed' : 'denied'],
          result.mount_point !== undefined && ['Mount point', result.mount_point],
          unknown.length > 0 && ['Not known', unknown.join('; ')],
        ]}
      </Fields>
      {rules.length > 0 && (
        <>
          <h3>{plural(result.rule_count, 'rule')} about it</h3>
          <ul class="lines">
            {rules.map((rule, i) => (
              <RuleLine key={i} rule={rule} />
            ))}
          </ul>
        </>
      )}
    </div>
  )
}

function RuleLine({ rule: { permission, allow, filter, pattern, file, line, ignored } }: { readonly rule: Rule }) {
  return (
    <li class="line">
      <b class={allow ? '' : 'bad-text'}>{permission}</b>
      <code>{filter ?? pattern}</code>
      {pattern !== undefined && filter !== undefined && <span class="faint">from {pattern}</span>}
      {ignored !== undefined && <span class="soft">does not apply: {ignored}</span>}
      {line !== undefined && (
        <span class="faint" title={file}>
          line {line}
        </span>
      )}
    </li>
  )
}
