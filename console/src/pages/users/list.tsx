import { useEffect, useState } from 'preact/hooks'
import { type Answer, call } from '../../lib/api.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { plural } from '../../lib/numbers.ts'
import { setQuery, where } from '../../lib/route.ts'
import { mayManage, session } from '../../lib/session.ts'
import { Card, Empty, Failed, Loading, Search, Select } from '../../parts/basics.tsx'
import { confirm } from '../../parts/confirm.tsx'
import type { Target } from './password.tsx'

type User = Answer<'GET /api/v1/users'>['users'][number]

const PAGE = 200
const KINDS = [
  ['', 'all'],
  ['mqtt', 'MQTT clients'],
  ['http', 'this console'],
  ['sn', 'sensors'],
] as const
type Kind = (typeof KINDS)[number][0]
const KIND_NAMES = { mqtt: 'MQTT', http: 'console', sn: 'sensors' } as const

/** Where no login is needed, Roost refuses it: a password would outlast that. */
const maySetPasswords = (): boolean => mayManage.value && session.value.login !== undefined

interface ListProps {
  /** Counts changes made elsewhere on the page. */
  readonly changes: number
  readonly onPassword: (target: Target) => void
}

export function UserList({ changes, onPassword }: ListProps) {
  const { q = '', kind = '' } = where.value.query
  const chosen = KINDS.find(([each]) => each === kind)?.[0] ?? ''
  const [limit, setLimit] = useState(PAGE)
  const { value, error, reload } = useLoaded(`users ${q} ${chosen} ${limit}`, (signal) =>
    call('GET /api/v1/users', { query: { q: q.trim(), limit, ...(chosen !== '' && { kind: chosen }) }, signal }),
  )
  useEffect(() => {
    if (changes > 0) reload()
  }, [changes])
  const users = value?.users ?? []
  return (
    <Card title="Users" aside={users.length > 0 && plural(users.length, 'user')}>
      <div class="toolbar">
        <Search label="Search users" value={q} placeholder="Part of the name" onInput={(text) => setQuery({ q: text })} />
        <Select<Kind> label="Users of" value={chosen} options={KINDS} onChange={(text) => setQuery({ kind: text })} />
        {maySetPasswords() && (
          <button type="button" onClick={() => onPassword({ name: '', kind: 'mqtt', file: undefined, isNew: true })}>
            Add a user
          </button>
        )}
      </div>
      <Failed error={error} retry={reload} />
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && users.length === 0 && (
        <Empty title={q === '' && chosen === '' ? 'There are no users yet' : 'No user matches'}>
          Users are kept in the files that <code>password_file</code> and <code>http_password_file</code> name;{' '}
          <code>roost passwd</code> writes them. Without <code>password_file</code>, nobody needs a password to connect.
        </Empty>
      )}
      <ul class="lines">
        {users.map((user) => (
          <UserLine key={`${user.id} ${user.file ?? ''}`} user={user} onPassword={onPassword} onDone={reload} />
        ))}
      </ul>
      {value?.cursor !== undefined && limit < 1000 && (
        <p class="more">
          <button type="button" onClick={() => setLimit(1000)}>
            Show more
          </button>
        </p>
      )}
    </Card>
  )
}

interface LineProps {
  readonly user: User
  readonly onPassword: (target: Target) => void
  readonly onDone: () => void
}

function UserLine({ user, onPassword, onDone }: LineProps) {
  const { id, name, kind, option, file, line, listeners, role, refused, password } = user
  const remove = (): void =>
    confirm({
      title: `Delete the user ${name}?`,
      body: (
        <p>
          {name} is removed from {file}.{' '}
          {kind === 'mqtt' ? 'Clients that have logged in as it are disconnected.' : 'It is logged out.'} This cannot be undone,
          but a user of this name can be added again with another password.
        </p>
      ),
      action: 'Delete the user',
      done: `The user ${name} is deleted`,
      run: () => call('DELETE /api/v1/users/{id}', { params: { id }, query: file === undefined ? {} : { file } }),
      after: onDone,
    })
  return (
    <li class="line">
      <b class="cut">{name}</b>
      <span class="soft">
        {KIND_NAMES[kind]}
        {role !== undefined && `, may ${role}`}
        {listeners !== undefined && `, at ${listeners.join(', ')}`}
        {refused === true && <b class="bad-text"> cannot log in: its line cannot be read</b>}
        {password?.weak === true && <b class="warn-text"> weak hash: set its password again</b>}
      </span>
      <span class="faint" title={file}>
        {option}
        {line !== undefined && `, line ${line}`}
      </span>
      {maySetPasswords() && kind !== 'sn' && (
        <span class="line-actions">
          <button
            type="button"
            class="plain"
            aria-label={`Set the password of ${name}`}
            onClick={() => onPassword({ name, kind, file, isNew: false })}
          >
            Set password
          </button>
          <button type="button" class="plain" aria-label={`Delete the user ${name}`} onClick={remove}>
            Delete
          </button>
        </span>
      )}
    </li>
  )
}
