import { signal } from '@preact/signals'
import { useState } from 'preact/hooks'
import { type Answer, type ApiError, call, type Result } from '../../lib/api.ts'
import type { Operations } from '../../lib/api-types.ts'
import { bytes, plural } from '../../lib/numbers.ts'
import { Card, Failed } from '../../parts/basics.tsx'
import { confirm } from '../../parts/confirm.tsx'
import { Icon } from '../../parts/icons.tsx'
import { say } from '../../parts/said.tsx'
import { Time } from '../../parts/time.tsx'

type Message = Operations['POST /api/v1/publish']['body']

/** Messages that were deleted in this tab, as they can be published again. */
interface Deleted {
  readonly messages: readonly Message[]
  /** ISO 8601. */
  readonly at: string
}

/** Counts deletions and their undoing: lists fetch again then. */
export const changes = signal(0)
const deleted = signal<Deleted | undefined>(undefined)

/** Messages of which a copy is kept before they are deleted, and their bytes in all. */
const KEPT_MAX = 50
const KEPT_BYTES_MAX = 4 * 1024 * 1024
/** A request to publish may have 1 MiB, and base64 takes a third more. */
const ONE_BYTES_MAX = 700 * 1024

type Retained = Answer<'GET /api/v1/retained/{topic}'>

const messageOf = ({ topic, payload_base64: payload, qos, expires_in: expiry, properties }: Retained): Message => ({
  topic,
  ...(payload !== undefined && payload !== '' && { payload_base64: payload }),
  qos,
  retain: true,
  ...(expiry !== undefined && { expiry: Math.max(1, expiry) }),
  ...(properties !== undefined && { properties }),
})

/** What a filter matches, with payloads; an error if there is more than can be kept. */
async function copies(filter: string): Promise<Result<readonly Message[]>> {
  const list = await call('GET /api/v1/retained', { query: { filter, limit: KEPT_MAX + 1 } })
  if (!list.ok) return list
  const found = 'messages' in list.value ? list.value.messages : []
  const messages: Message[] = []
  for (const { topic } of found) {
    const one = await call('GET /api/v1/retained/{topic}', { params: { topic } })
    // It may have gone meanwhile.
    if (!one.ok && one.error.status !== 404) return one
    if (one.ok) messages.push(messageOf(one.value))
  }
  return { ok: true, value: messages }
}

/** Says what would be deleted, and then asks. `what`: `on site and below it`. */
export async function askToDelete(filter: string, what: string, onDone: () => void): Promise<ApiError | undefined> {
  const counted = await call('DELETE /api/v1/retained', { query: { filter, dry_run: true } })
  if (!counted.ok) return counted.error
  const { messages, bytes: size } = counted.value
  if (messages === 0) {
    say('There is nothing to delete')
    return undefined
  }
  const canUndo = messages <= KEPT_MAX && size <= KEPT_BYTES_MAX
  confirm({
    title: `Delete ${plural(messages, 'retained message')}?`,
    body: (
      <>
        <p>
          This will delete {plural(messages, 'message')}, {bytes(size)}, {what}. Subscribers are not told; later ones get nothing.
        </p>
        <p>
          {canUndo
            ? 'You can undo it while this tab is open: then the console publishes them again, which subscribers receive.'
            : 'It cannot be undone.'}
        </p>
      </>
    ),
    action: `Delete ${plural(messages, 'message')}`,
    done: `${plural(messages, 'message')} deleted`,
    after: () => {
      changes.value++
      onDone()
    },
    run: async () => {
      const kept = canUndo ? await copies(filter) : undefined
      if (kept?.ok === false) return kept
      const result = await call('DELETE /api/v1/retained', { query: { filter } })
      // Also if only some of them are.
      if (kept !== undefined) deleted.value = { messages: kept.value.filter(fits), at: new Date().toISOString() }
      return result
    },
  })
  return undefined
}

const fits = ({ payload_base64: payload = '' }: Message): boolean => payload.length * 0.75 <= ONE_BYTES_MAX

interface Undone {
  readonly left: readonly string[]
  readonly error: ApiError | undefined
}

/** Publishes the messages again, but for topics on which something is retained by now. */
async function undo({ messages }: Deleted): Promise<Undone> {
  const left: string[] = []
  for (const message of messages) {
    const { topic } = message
    const present = await call('GET /api/v1/retained/{topic}', { params: { topic } })
    if (!present.ok && present.error.status !== 404) return { left, error: present.error }
    if (present.ok) {
      left.push(topic)
      continue
    }
    const result = await call('POST /api/v1/publish', { body: message })
    if (!result.ok) return { left, error: result.error }
  }
  return { left, error: undefined }
}

/** What was deleted last, and how to have it back. */
export function Undo({ onDone }: { readonly onDone: () => void }) {
  const [state, setState] = useState<{ readonly isRunning: boolean; readonly undone?: Undone }>({ isRunning: false })
  const last = deleted.value
  if (last === undefined || last.messages.length === 0) return null
  const { messages, at } = last
  const run = async (): Promise<void> => {
    setState({ isRunning: true })
    const undone = await undo(last)
    setState({ isRunning: false, undone })
    changes.value++
    onDone()
    if (undone.error !== undefined) return
    deleted.value = undefined
    const count = messages.length - undone.left.length
    say(
      undone.left.length === 0
        ? `${plural(count, 'message')} retained again`
        : `${plural(count, 'message')} retained again; ${undone.left.length} left out, because something newer is retained there`,
    )
  }
  return (
    <Card class="undo">
      <Failed error={state.undone?.error} />
      <p>
        {plural(messages.length, 'message')} deleted <Time at={at} />:{' '}
        <span class="soft">
          {messages
            .slice(0, 3)
            .map(({ topic }) => topic)
            .join(', ')}
          {messages.length > 3 && ` and ${messages.length - 3} more`}
        </span>
      </p>
      <div class="actions">
        <button type="button" disabled={state.isRunning} onClick={() => void run()}>
          <Icon name="undo" />
          {state.isRunning ? 'Publishing …' : 'Undo: publish again'}
        </button>
        <button
          type="button"
          class="plain"
          onClick={() => {
            deleted.value = undefined
          }}
        >
          Forget
        </button>
      </div>
    </Card>
  )
}
