import { useState } from 'preact/hooks'
import { type ApiError, call } from '../../lib/api.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { plural } from '../../lib/numbers.ts'
import { setQuery, where } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { Card, Empty, Failed, Loading, PageHead, Search, Select } from '../../parts/basics.tsx'
import { confirm } from '../../parts/confirm.tsx'
import { Icon } from '../../parts/icons.tsx'
import { matches, type Section, type Setting, sectionsOf } from './settings.ts'

export function ConfigurationPage() {
  const { q = '', show = 'all' } = where.value.query
  const { value, error, reload } = useLoaded('config', (signal) => call('GET /api/v1/config', { signal }))
  const part = q.trim().toLowerCase()
  const sections = (value === undefined ? [] : sectionsOf(value))
    .map((section) => ({
      ...section,
      settings: section.settings.filter(
        (each) => (show !== 'changed' || !each.isStandard) && (section.title.toLowerCase().includes(part) || matches(each, part)),
      ),
    }))
    .filter(({ settings }) => settings.length > 0)
  return (
    <>
      <PageHead title="Configuration" about="The options in effect. They are changed by flags, or in the configuration file.">
        {mayManage.value && <Reload onDone={reload} />}
      </PageHead>
      <div class="toolbar">
        <Search label="Search options" value={q} placeholder="queue" onInput={(text) => setQuery({ q: text })} />
        <Select
          label="Show"
          value={show === 'changed' ? 'changed' : 'all'}
          options={[
            ['all', 'all options'],
            ['changed', 'only what differs from the default'],
          ]}
          onChange={(text) => setQuery({ show: text === 'all' ? undefined : text })}
        />
      </div>
      <Failed error={error} retry={reload} />
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && sections.length === 0 && (
        <Empty title="No option matches">Search for a part of its name, of its value, or of what it does.</Empty>
      )}
      {sections.map((section) => (
        <Part key={section.title} section={section} isOpen={part !== '' || show === 'changed'} />
      ))}
    </>
  )
}

/** On a phone the groups are closed until they, or what is searched for, are asked for: there are many screens of options. */
function Part({ section: { title, settings, isGroup }, isOpen }: { readonly section: Section; readonly isOpen: boolean }) {
  const changed = settings.filter(({ isStandard }) => !isStandard).length
  const list = (
    <ul class="options">
      {settings.map((each) => (
        <Line key={each.key} setting={each} />
      ))}
    </ul>
  )
  const count = plural(settings.length, 'option')
  if (isGroup === undefined)
    return (
      <Card title={title} aside={count}>
        {list}
      </Card>
    )
  return (
    <details class="card group" open={isOpen || matchMedia('(width >= 900px)').matches}>
      <summary>
        <h2>{title}</h2>
        <span class="aside">{changed === 0 ? count : `${count}, ${changed} changed`}</span>
      </summary>
      {list}
    </details>
  )
}

function Line({ setting }: { readonly setting: Setting }) {
  const { key, about, value, inUnits, isStandard, standard } = setting
  return (
    <li class={isStandard ? 'is-standard' : ''}>
      <code>{key}</code>
      <span class="value">
        {value}
        {inUnits !== '' && <span class="faint"> ({inUnits})</span>}
        {!isStandard && <span class="changed">default: {standard}</span>}
      </span>
      <span class="option-about">{about}</span>
    </li>
  )
}

type Outcome = { readonly warnings: readonly string[] } | { readonly error: ApiError }

/** Reads the files again, and shows what Roost says about it until it is asked again. */
function Reload({ onDone }: { readonly onDone: () => void }) {
  const [outcome, setOutcome] = useState<Outcome | undefined>(undefined)
  const ask = (): void =>
    confirm({
      title: 'Reload the files?',
      body: (
        <>
          <p>
            Users, access lists, bans, tokens, certificates and users of sensors are read again, as by SIGHUP. The options on this
            page stay as they are until Roost is restarted.
          </p>
          <p>Clients that the new rules do not allow are disconnected. If a file is wrong, nothing changes.</p>
        </>
      ),
      action: 'Reload the files',
      done: 'The files have been read again',
      run: async () => {
        const result = await call('POST /api/v1/reload')
        setOutcome(result.ok ? { warnings: result.value.warnings } : { error: result.error })
        return result
      },
      after: onDone,
    })
  return (
    <div class="reload">
      <button type="button" onClick={ask}>
        <Icon name="reload" />
        Reload files
      </button>
      {outcome !== undefined && <Said outcome={outcome} />}
    </div>
  )
}

function Said({ outcome }: { readonly outcome: Outcome }) {
  if ('error' in outcome) return <Failed error={outcome.error} />
  if (outcome.warnings.length === 0) return <p class="soft">Read again, without warnings.</p>
  return (
    <div class="soft">
      <p>Read again, with {plural(outcome.warnings.length, 'warning')}:</p>
      <ul>
        {outcome.warnings.map((warning) => (
          <li key={warning}>{warning}</li>
        ))}
      </ul>
    </div>
  )
}
