import { useState } from 'preact/hooks'
import { PageHead } from '../../parts/basics.tsx'
import { Access } from './access.tsx'
import { UserList } from './list.tsx'
import { PasswordForm, type Target } from './password.tsx'

export function UsersPage() {
  const [target, setTarget] = useState<Target | undefined>(undefined)
  const [changes, setChanges] = useState(0)
  return (
    <>
      <PageHead title="Users and access" about="Who may log in, and what a client may do, and by which line of which file." />
      <UserList changes={changes} onPassword={setTarget} />
      {target !== undefined && (
        <PasswordForm
          key={`${target.kind} ${target.name}`}
          target={target}
          onClose={() => setTarget(undefined)}
          onDone={() => {
            setTarget(undefined)
            setChanges(changes + 1)
          }}
        />
      )}
      <Access />
    </>
  )
}
