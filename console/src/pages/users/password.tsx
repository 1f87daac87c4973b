import { useEffect, useRef, useState } from 'preact/hooks'
import { type ApiError, call } from '../../lib/api.ts'
import { Card, Failed, Select } from '../../parts/basics.tsx'
import { confirm } from '../../parts/confirm.tsx'
import { say } from '../../parts/said.tsx'

/** Whose password is set. */
export interface Target {
  readonly name: string
  readonly kind: 'mqtt' | 'http'
  /** The file that the user stands in. */
  readonly file: string | undefined
  readonly isNew: boolean
}

interface FormProps {
  readonly target: Target
  readonly onClose: () => void
  readonly onDone: () => void
}

export function PasswordForm({ target, onClose, onDone }: FormProps) {
  const { isNew, file } = target
  const [kind, setKind] = useState(target.kind)
  const [name, setName] = useState(target.name)
  const [error, setError] = useState<ApiError | undefined>(undefined)
  const form = useRef<HTMLFormElement>(null)
  useEffect(() => {
    form.current?.scrollIntoView({ block: 'center' })
    form.current?.querySelector<HTMLInputElement>(isNew ? '[name="user"]' : '[name="password"]')?.focus()
  }, [])
  const submit = (password: string): void => {
    const run = async () => {
      const result = await call('PUT /api/v1/users/{id}/password', {
        params: { id: `${kind}:${name}` },
        query: file === undefined ? {} : { file },
        body: { password, ...(isNew && { create: true }) },
      })
      setError(result.ok ? undefined : result.error)
      return result
    }
    if (!isNew) {
      confirm({
        title: `Set another password for ${name}?`,
        body: (
          <p>
            {kind === 'mqtt'
              ? 'Clients that have logged in with the old password are disconnected, and need the new one.'
              : 'It has to log in again with the new password, here and in scripts.'}
          </p>
        ),
        action: 'Set the password',
        done: `${name} has another password`,
        run,
        after: onDone,
      })
      return
    }
    void run().then((result) => {
      if (!result.ok) return
      say(result.value.created ? `The user ${name} is added` : `${name} was there, and has another password`)
      onDone()
    })
  }
  return (
    <Card title={isNew ? 'Add a user' : `Set the password of ${target.name}`}>
      <form
        ref={form}
        class="toolbar"
        onSubmit={(event) => {
          event.preventDefault()
          submit(String(new FormData(event.currentTarget).get('password') ?? ''))
        }}
      >
        {isNew && (
          <>
            <Select
              label="For"
              value={kind}
              options={[
                ['mqtt', 'MQTT clients'],
                ['http', 'this console'],
              ]}
              onChange={setKind}
            />
            <label class="field">
              <span>User</span>
              <input
                name="user"
                value={name}
                required
                autocomplete="off"
                autocapitalize="none"
                spellcheck={false}
                onInput={(event) => setName(event.currentTarget.value)}
              />
            </label>
          </>
        )}
        <label class="field">
          <span>New password</span>
          <input name="password" type="password" required maxLength={1024} autocomplete="new-password" />
        </label>
        <button type="submit" class="primary">
          {isNew ? 'Add the user' : 'Set the password'}
        </button>
        <button type="button" class="plain" onClick={onClose}>
          Cancel
        </button>
      </form>
      <Failed error={error} />
    </Card>
  )
}
