import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Result } from '../lib/api.ts'
import { say } from './said.tsx'

interface Question {
  readonly title: string
  /** What will happen, and whether it can be undone. */
  readonly body: ComponentChildren
  /** On the button: what it does, not `OK`. */
  readonly action: string
  readonly run: () => Promise<Result<unknown>>
  /** Said when it is done. */
  readonly done: string
  readonly after?: () => void
}

const question = signal<Question | undefined>(undefined)

/** Asks before something is ended or deleted, carries it out, and shows what went wrong if it did. */
export function confirm(asked: Question): void {
  question.value = asked
}

export function ConfirmDialog() {
  const asked = question.value
  const ref = useRef<HTMLDialogElement>(null)
  const [state, setState] = useState<{ readonly isRunning: boolean; readonly error: string }>(IDLE)
  useEffect(() => {
    setState(IDLE)
    if (asked === undefined) ref.current?.close()
    else ref.current?.showModal()
  }, [asked])
  const run = async (): Promise<void> => {
    if (asked === undefined) return
    setState({ isRunning: true, error: '' })
    const result = await asked.run()
    if (!result.ok) {
      setState({ isRunning: false, error: result.error.detail })
      return
    }
    question.value = undefined
    say(asked.done)
    asked.after?.()
  }
  return (
    <dialog
      ref={ref}
      class="confirm"
      aria-labelledby="confirm-title"
      onClose={() => {
        question.value = undefined
      }}
    >
      {asked !== undefined && (
        <form
          method="dialog"
          onSubmit={(event) => {
            event.preventDefault()
            void run()
          }}
        >
          <h2 id="confirm-title">{asked.title}</h2>
          <div class="confirm-body">{asked.body}</div>
          {state.error !== '' && (
            <p class="failed" role="alert">
              {state.error}
            </p>
          )}
          <div class="actions">
            <button
              type="button"
              onClick={() => {
                question.value = undefined
              }}
            >
              Cancel
            </button>
            <button type="submit" class="danger" disabled={state.isRunning}>
              {state.isRunning ? 'Working …' : asked.action}
            </button>
          </div>
        </form>
      )}
    </dialog>
  )
}

const IDLE = { isRunning: false, error: '' }
