import { useState } from 'preact/hooks'
import { logIn } from '../lib/session.ts'

/** Where Roost has users (http_password_file) or tokens (http_token_file). */
export function Login() {
  const [by, setBy] = useState<'password' | 'token'>('password')
  const [state, setState] = useState({ isRunning: false, error: '' })
  const submit = async (form: HTMLFormElement): Promise<void> => {
    const data = new FormData(form)
    const field = (name: string): string => String(data.get(name) ?? '')
    setState({ isRunning: true, error: '' })
    const error = await logIn(by === 'token' ? { token: field('token') } : { user: field('user'), password: field('password') })
    setState({ isRunning: false, error: error?.detail ?? '' })
  }
  return (
    <main class="login">
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void submit(event.currentTarget)
        }}
      >
        <h1>Roost</h1>
        <p class="about">
          {by === 'password'
            ? 'Log in as a user of this console (http_password_file).'
            : 'Log in with a token (http_token_file).'}
        </p>
        {by === 'password' ? (
          <>
            <label class="field">
              <span>User</span>
              <input name="user" autocomplete="username" required autocapitalize="none" spellcheck={false} />
            </label>
            <label class="field">
              <span>Password</span>
              <input name="password" type="password" autocomplete="current-password" required />
            </label>
          </>
        ) : (
          <label class="field">
            <span>Token</span>
            <input name="token" type="password" autocomplete="off" required />
          </label>
        )}
        {state.error !== '' && (
          <p class="failed" role="alert">
            {state.error}
          </p>
        )}
        <button type="submit" class="primary" disabled={state.isRunning}>
          {state.isRunning ? 'Logging in …' : 'Log in'}
        </button>
        <button type="button" class="link" onClick={() => setBy(by === 'token' ? 'password' : 'token')}>
          {by === 'password' ? 'Use a token instead' : 'Use a password instead'}
        </button>
      </form>
    </main>
  )
}
