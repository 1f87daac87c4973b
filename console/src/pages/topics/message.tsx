import { useEffect, useState } from 'preact/hooks'
import { type Answer, type ApiError, call } from '../../lib/api.ts'
import { useLoaded } from '../../lib/loaded.ts'
import { bytes, plural } from '../../lib/numbers.ts'
import { clientHref, href } from '../../lib/route.ts'
import { mayManage } from '../../lib/session.ts'
import { duration } from '../../lib/time.ts'
import { belowFilter } from '../../lib/topics.ts'
import { Card, Empty, Failed, Fields, Loading } from '../../parts/basics.tsx'
import { Icon } from '../../parts/icons.tsx'
import { Payload } from '../../parts/payload.tsx'
import { Time } from '../../parts/time.tsx'
import { askToDelete, changes } from './deletion.tsx'

type Retained = Answer<'GET /api/v1/retained/{topic}'>

interface MessageCardProps {
  readonly topic: string
  /** Messages on topics below, as far as the tree knows. */
  readonly below: number | undefined
  readonly onChanged: () => void
}

/** What is retained on a topic, who published it, and what can be done. */
export function MessageCard({ topic, below, onChanged }: MessageCardProps) {
  const { value, error, reload } = useLoaded(
    `retained ${topic}`,
    (signal) => call('GET /api/v1/retained/{topic}', { params: { topic }, signal }),
    3,
  )
  const isMissing = error?.status === 404
  const changed = changes.value
  useEffect(() => {
    if (changed > 0) reload()
  }, [changed])
  return (
    <Card class="message">
      <a class="back" href={href(['topics'])}>
        All topics
      </a>
      <h2 class="topic-name">{topic}</h2>
      {!isMissing && <Failed error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading />}
      {isMissing ? (
        <Empty title="Nothing is retained on this topic">
          {below === undefined || below === 0
            ? 'A message stays here when it is published with Retain.'
            : `${plural(below, 'message is', 'messages are')} retained below it.`}
        </Empty>
      ) : (
        value !== undefined && <Content message={value} />
      )}
      <Actions topic={topic} below={below} hasMessage={value !== undefined && !isMissing} onChanged={onChanged} />
    </Card>
  )
}

function Content({ message }: { readonly message: Retained }) {
  const { payload_bytes: length, payload_base64: payload, qos, user, published, expires_in: expiry, properties = {} } = message
  const { payload_format: format, content_type: type, response_topic: response, correlation_data: correlation } = properties
  return (
    <>
      {payload !== undefined ? (
        <Payload base64={payload} length={length} />
      ) : (
        <p class="soft">
          {mayManage.value
            ? `The payload has ${bytes(length)}: too large to be shown. Subscribe to the topic to read it.`
            : 'Payloads are shown to users who may manage only.'}
        </p>
      )}
      <Fields>
        {[
          ['Published by', <Publisher key="publisher" of={message} />],
          user !== undefined && ['As user', user],
          ['Published', <Time key="published" at={published} none="before Roost started" isExact />],
          ['Size', `${bytes(length)} of payload`],
          ['QoS', qos],
          ['Expires', expiry === undefined ? 'never' : `in ${duration(expiry)}`],
          format !== undefined && ['Payload format', format === 'utf-8' ? 'UTF-8 text' : 'bytes'],
          type !== undefined && ['Content type', type],
          response !== undefined && ['Response topic', response],
          correlation !== undefined && ['Correlation data', `${correlation} (base64)`],
          ...(properties.user_properties ?? []).map(({ name, value }) => [`Property ${name}`, value] as const),
        ]}
      </Fields>
    </>
  )
}

function Publisher({ of: { publisher } }: { readonly of: Retained }) {
  if (publisher === undefined) return <span class="faint">not known</span>
  if (/^(mqtt|sn):/.test(publisher))
    return (
      <>
        <a href={clientHref(publisher)}>{publisher.replace(/^\w+:/, '')}</a>{' '}
        <span class="faint">({publisher.startsWith('sn:') ? 'sensor' : 'MQTT client'})</span>
      </>
    )
  return <>{publisher === 'http' ? 'the HTTP service or this console' : `user ${publisher.slice(5)} of the HTTP service`}</>
}

interface ActionsProps extends MessageCardProps {
  readonly hasMessage: boolean
}

function Actions({ topic, below, hasMessage, onChanged }: ActionsProps) {
  const [error, setError] = useState<ApiError | undefined>(undefined)
  const ask = async (filter: string, what: string): Promise<void> => setError(await askToDelete(filter, what, onChanged))
  return (
    <>
      <Failed error={error} />
      <div class="actions">
        <a class="button" href={href(['trace'], { topic })}>
          <Icon name="trace" />
          Trace it
        </a>
        {mayManage.value && (
          <>
            <a class="button" href={href(['publish'], { topic })}>
              <Icon name="publish" />
              Publish here
            </a>
            {hasMessage && (
              <button type="button" class="danger" onClick={() => void ask(topic, `on ${topic}`)}>
                Delete
              </button>
            )}
            {below !== 0 && (
              <button type="button" class="danger" onClick={() => void ask(belowFilter(topic), `on ${topic} and below it`)}>
                {hasMessage ? 'Delete with all below' : 'Delete all below'}
              </button>
            )}
          </>
        )}
      </div>
    </>
  )
}
