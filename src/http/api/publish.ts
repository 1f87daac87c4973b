import type { Broker } from '../../broker/broker.ts'
import { Publish, type QoS } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { topicNameError } from '../../mqtt/topics.ts'
import { type HttpRequest, type HttpResponse, type HttpWork, json, problem, type Route } from '../exchange.ts'
import { base64, flag, object, PROBLEM, type RouteSpec, text, whole } from '../schema.ts'
import { bytesOf, mqttStringError, PROPERTIES, type PropertiesJson, propertiesOf } from './properties.ts'

/** A value that the body's schema describes. */
interface Message {
  readonly topic: string
  readonly payload?: string
  readonly payload_base64?: string
  readonly qos?: QoS
  readonly retain?: boolean
  readonly expiry?: number
  readonly properties?: PropertiesJson
}

const SPEC: RouteSpec = {
  tag: 'messages',
  summary: 'Publishes a message',
  description:
    'Like PUBLISH of a client, with the same limits, but access lists do not apply. Topics of the broker ($SYS, $CONTROL) are refused. Answered when everything that has to be stored is durable.',
  body: object(
    { topic: text('topic name', { minLength: 1 }) },
    {
      payload: text('the payload as text; empty if neither this nor payload_base64 is there'),
      payload_base64: base64('the payload as bytes'),
      qos: whole('0 if absent', 0, 2),
      retain: flag('whether it is retained; an empty payload deletes the retained message'),
      expiry: whole('seconds until it expires; absent: never', 1, 0xffffffff),
      properties: PROPERTIES,
    },
  ),
  answers: {
    200: {
      description: 'it is accepted',
      schema: object({ receivers: whole('sessions to which it is sent, or for which it waits') }),
    },
    409: { description: 'nothing is retained here (retain_available)', schema: PROBLEM },
    413: { description: 'the payload is larger than message_size_limit', schema: PROBLEM },
    422: { description: 'the payload does not fit the type of its topic (types)', schema: PROBLEM },
    507: { description: 'a limit on memory, retained messages or the store is reached', schema: PROBLEM },
  },
}

const BODY_BYTES_MAX = 1024 * 1024

/** Publishing in the name of a user of this service. */
export const publishRoutes = (broker: Broker): readonly Route[] => [
  {
    method: 'POST',
    path: '/api/v1/publish',
    needs: 'manage',
    bodyBytesMax: BODY_BYTES_MAX,
    spec: SPEC,
    answer: (request) => publish(broker, request),
  },
]

function publish({ operator }: Broker, { now, body, user }: HttpRequest): HttpResponse | HttpWork {
  const message = messageOf(body as Message)
  if (typeof message === 'string') return problem(400, message)
  const published = operator.publish(now, user, message)
  if (published.kind === 'accepted') return accepted(published)
  const { reasonCode, reason, limit } = published
  return problem(statusOf(reasonCode, limit), limit === undefined ? reason : `${reason} (${limit})`)
}

function* accepted({ lsn, receivers }: { readonly lsn: number; readonly receivers: number }): HttpWork {
  if (lsn > 0) yield { kind: 'durable', lsn }
  return json({ receivers })
}

function messageOf(body: Message): Publish | string {
  const { topic, payload, payload_base64: encoded, qos = 0, retain = false, expiry } = body
  if (payload !== undefined && encoded !== undefined) return 'payload: excludes payload_base64'
  const wrong = mqttStringError(topic) || topicNameError(topic)
  if (wrong !== '') return `topic: ${wrong}`
  const properties = propertiesOf(body.properties ?? {}, expiry)
  if (typeof properties === 'string') return properties
  const bytes = encoded === undefined ? Buffer.from(payload ?? '') : bytesOf(encoded)
  if (bytes === 'malformed') return 'payload_base64: is not valid base64'
  return Publish.of(topic, bytes, qos, retain, 0, properties)
}

function statusOf(reasonCode: number, limit: string | undefined): number {
  switch (reasonCode) {
    case ReasonCode.NOT_AUTHORIZED:
      return 403
    case ReasonCode.TOPIC_NAME_INVALID:
      return 400
    case ReasonCode.RETAIN_NOT_SUPPORTED:
      return 409
    case ReasonCode.PAYLOAD_FORMAT_INVALID:
      return 422
    default:
      return limit === 'message_size_limit' ? 413 : 507
  }
}
