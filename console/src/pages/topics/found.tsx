import { useEffect, useState } from 'preact/hooks'
import { type Answer, type ApiError, call } from '../../lib/api.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { bytes } from '../../lib/numbers.ts'
import { href } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { topicFilterError } from '../../lib/topics.ts'
import { Empty, Failed, Loading } from '../../parts/basics.tsx'
import { askToDelete, changes } from './deletion.tsx'

type Listed = Extract<Answer<'GET /api/v1/retained'>, { readonly messages: unknown }>

const PAGE = 200

/** A search with a wildcard is a topic filter. */
export const isFilter = (q: string): boolean => /[+#]/.test(q) && topicFilterError(q) === ''

interface FoundProps {
  readonly q: string
  readonly selected: string | undefined
  readonly onChanged: () => void
}

/** Retained messages whose topic has a text in it, or matches a filter. */
export function Found({ q, selected, onChanged }: FoundProps) {
  const query = isFilter(q) ? { filter: q } : { q }
  const { value, error, reload } = useLoaded(
    `found ${q}`,
    (signal) => call('GET /api/v1/retained', { query: { ...query, limit: PAGE }, signal }),
    10,
  )
  const [further, setFurther] = useState<Listed>({ messages: [] })
  const [failed, setFailed] = useState<ApiError | undefined>(undefined)
  const changed = changes.value
  useEffect(() => {
    setFurther({ messages: [] })
    if (changed > 0) reload()
  }, [q, changed])
  const first = value !== undefined && 'messages' in value ? value : undefined
  const cursor = further.messages.length > 0 ? further.cursor : first?.cursor
  const more = async (): Promise<void> => {
    const result = await call('GET /api/v1/retained', {
      query: { ...query, limit: PAGE, ...(cursor !== undefined && { cursor }) },
    })
    setFailed(result.ok ? undefined : result.error)
    if (result.ok && 'messages' in result.value) {
      const { messages, cursor: next } = result.value
      setFurther({ messages: [...further.messages, ...messages], ...(next !== undefined && { cursor: next }) })
    }
  }
  const remove = async (): Promise<void> => setFailed(await askToDelete(q, `on topics that match ${q}`, onChanged))
  const all = [...(first?.messages ?? []), ...further.messages]
  return (
    <>
      <Failed error={error ?? failed} retry={reload} />
      {first === undefined && error === undefined && <Loading />}
      {first !== undefined && all.length === 0 && cursor === undefined && (
        <Empty title="No retained message matches">
          Search for a part of a topic, or for a topic filter such as <code>site/+/state</code> or <code>site/#</code>.
        </Empty>
      )}
      <ul class="found">
        {all.map(({ topic, payload_bytes: length }) => (
          <li key={topic}>
            <a href={href(['topics'], { q, topic })} aria-current={topic === selected ? 'true' : undefined}>
              <span>{topic}</span>
              <span class="faint">{bytes(length)}</span>
            </a>
          </li>
        ))}
      </ul>
      {cursor !== undefined && (
        <button type="button" onClick={() => void more()}>
          Show more
        </button>
      )}
      {mayManage.value && isFilter(q) && all.length > 0 && (
        <p class="more">
          <button type="button" class="danger" onClick={() => void remove()}>
            Delete all that match …
          </button>
        </p>
      )}
    </>
  )
}
