import { NOTICES } from '../../base/notice.ts'
import {
  listOf,
  object,
  oneOfWords,
  PAGE_LIMIT,
  PAGE_LIMIT_MAX,
  PROBLEM,
  type RouteSpec,
  type Schema,
  text,
  whole,
} from '../schema.ts'

const CODE = oneOfWords('code of docs/notices.md', Object.keys(NOTICES))
const CLIENT = text('only those about this client: its client id, or `mqtt:` or `sn:` and that')

/** An object of any names and values. */
const anything = (description: string): Schema => ({ type: 'object', description })

export const LIST_NOTICES: RouteSpec = {
  tag: 'notices',
  summary: 'Returns the last notices, the newest first',
  description: 'The last 1,000 and, counted apart, the last 1,000 at level debug; fewer if they take more than 1 MiB.',
  query: {
    code: CODE,
    client: CLIENT,
    limit: whole(`notices at most; ${PAGE_LIMIT} if absent`, 1, PAGE_LIMIT_MAX),
  },
  answers: {
    200: {
      description: 'the notices',
      schema: object({
        notices: listOf(
          object(
            {
              id: text('its number and a word for this process'),
              time: text('ISO 8601, UTC'),
              code: CODE,
              level: oneOfWords('as in the log', ['debug', 'info', 'warn', 'error']),
            },
            {
              client: text('session: `mqtt:` or `sn:` and the client id; `http:` and a user of this service'),
              user: text('user name, which may be unverified'),
              peer: text('network address'),
              reason: text('in plain words'),
              count: whole('number of occurrences; 1 if absent'),
              limit: text('option whose limit was reached'),
            },
          ),
        ),
      }),
    },
  },
}

export const STREAM_EVENTS: RouteSpec = {
  tag: 'notices',
  summary: 'Streams notices as they come, as server-sent events',
  description:
    'Events `notice` have the JSON of GET /api/v1/notices; `missed` has the number of notices that were left out because the reader is slow. A client that sends Last-Event-ID continues where it was. Every 15 seconds there is a comment. At most 16 streams.',
  query: { code: CODE, client: CLIENT },
  answers: { 200: { description: 'the stream', type: 'text/event-stream' } },
}

const SESSION = object(
  {
    role: oneOfWords('what the user may do', ['view', 'manage']),
    csrf_token: text('for the header X-CSRF-Token; valid until Roost ends'),
  },
  {
    user: text('user name; absent where no login is needed, and for tokens'),
    login: oneOfWords('how the user has logged in; absent where no login is needed', ['password', 'token']),
  },
)

export const READ_SESSION: RouteSpec = {
  tag: 'administration',
  summary: 'Returns who asks, and the token that changes need',
  answers: { 200: { description: 'the user', schema: SESSION } },
}

export const BEGIN_SESSION: RouteSpec = {
  tag: 'administration',
  summary: 'Logs a browser in: with a cookie, later requests need no password or token',
  description:
    'The request itself carries the password or token, in the header Authorization. The session ends after 12 hours without a request, when the password changes, and when Roost ends.',
  answers: { 200: { description: 'the user, with Set-Cookie where a login is needed', schema: SESSION } },
}

export const END_SESSION: RouteSpec = {
  tag: 'administration',
  summary: 'Logs a browser out',
  answers: { 204: { description: 'the session of the cookie is over' } },
}

const TYPE = object(
  {
    name: text('name of the type'),
    topics: listOf(text('topic filter')),
    invalid: oneOfWords('what happens to messages that do not fit', ['refuse', 'mark']),
    invalid_mqtt3: oneOfWords('how messages of MQTT 3 clients are refused', ['acknowledge', 'close']),
  },
  {
    content_type: text('content type of messages whose publisher gives none'),
    form: listOf(oneOfWords('by what payloads are checked', ['schema', 'layout'])),
  },
)

export const READ_CONFIG: RouteSpec = {
  tag: 'administration',
  summary: 'Returns the configuration in effect',
  description: 'User names and passwords in URLs are masked.',
  answers: {
    200: {
      description: 'the configuration, by the keys of its file',
      schema: object(
        {
          options: anything('options of the process'),
          listeners: listOf(anything('options of one listener')),
          sn_listeners: listOf(anything('options of one port for sensors')),
          bridges: listOf(anything('options of one bridge')),
          types: listOf(TYPE),
          filters: listOf(
            object(
              { filter: text('condition, in CEL') },
              { client: text('pattern of client ids'), user: text('user name'), topic: text('topic filter') },
            ),
          ),
          predefined_topics: listOf(object({ clients: text('pattern of client ids'), topic_ids: whole('how many there are') })),
        },
        { upstream: anything('the cluster at which sensors have their sessions') },
      ),
    },
  },
}

export const RELOAD: RouteSpec = {
  tag: 'administration',
  summary: 'Reads files again, as SIGHUP does',
  answers: {
    200: { description: 'the files are in force', schema: object({ warnings: listOf(text('one line')) }) },
    409: { description: 'a file is wrong: nothing has changed', schema: PROBLEM },
  },
}
