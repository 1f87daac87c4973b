import { ACTIONS } from '../../access/explanation.ts'
import { flag, listOf, object, oneOfWords, PROBLEM, type RouteSpec, text, whole } from '../schema.ts'
import { PROTOCOLS } from './client-json.ts'

const PERMISSION = oneOfWords('as in acl_file', ['read', 'write', 'readwrite', 'deny'])
const OF_RULE = {
  file: text('acl_file that it stands in'),
  line: whole('its line there', 1),
  pattern: text('as written, if it is a pattern'),
}

export const READ_ACCESS: RouteSpec = {
  tag: 'users',
  summary: 'Returns what a client may do, and by which lines',
  description:
    'Of the clients that are known, connected or not, as GET /api/v1/clients/{id}. With `mqtt:` or `sn:` before the client id, also of one that has never connected. With `topic` and `action`, also whether it may do that. Limits, such as max_topic_levels, are not considered.',
  query: {
    client: text('`mqtt:` or `sn:` and the client id; or the client id alone, if one client has it'),
    user: text('what would an MQTT client be allowed that has logged in as this user?'),
    listener: text('what would it be allowed at this listener?'),
    topic: text('topic name as the client has it; with the action subscribe, a topic filter'),
    action: oneOfWords('PUBLISH, SUBSCRIBE, or the delivery of a message', ACTIONS),
  },
  requiredQuery: ['client'],
  answers: {
    200: {
      description: 'its access',
      schema: object(
        {
          id: text('`mqtt:` or `sn:` and the client id'),
          client_id: text('client id'),
          protocol: oneOfWords('its protocol', PROTOCOLS),
          connected: flag('it is connected; a sensor may be asleep'),
          user_verified: flag('its user name was verified, or follows from sn_users'),
          rules_from: oneOfWords(
            'where its rules come from; token, service, login: they came with its login, and replace those of acl_file',
            ['acl_file', 'token', 'service', 'login', 'none'],
          ),
          default: oneOfWords('what holds where no rule applies', ['allow', 'deny']),
          subscriptions: oneOfWords(
            'filtered: a filter may be wider than what may be read; whole: all that it matches must be allowed',
            ['filtered', 'whole'],
          ),
          rule_count: whole('rules that are about it, patterns that do not apply included'),
          rules: listOf(
            object(
              {
                permission: PERMISSION,
                allow: flag('false: it denies what it is about, whatever other rules allow'),
                actions: listOf(oneOfWords('action', ACTIONS), 'what it is about'),
              },
              {
                ...OF_RULE,
                filter: text('topic filter with the names of the client in it'),
                ignored: text('why this pattern does not apply to the client'),
              },
            ),
            'the first 1,000',
          ),
          unknown: listOf(text('one sentence'), 'what is not known, and how it was read'),
        },
        {
          user: text('user name; absent: none'),
          rules_of_user: text('user whose rules of acl_file apply; absent: those for clients without a user name'),
          listener: text('name of the listener'),
          mount_point: text('prefix of all its topics; rules are about topics with it'),
          banned: flag('ban_file lists its client id or its address'),
          sensor_user: object(
            {
              outcome: oneOfWords('as whom it may connect now; taken: its client id would make it a user who has a password', [
                'user',
                'anonymous',
                'denied',
                'banned',
                'taken',
              ]),
              may_connect: flag('whether it may connect'),
            },
            {
              user: text('user name'),
              option: oneOfWords('what names this user', ['sn_users', 'sn_username']),
              file: text('sn_users'),
              line: whole('line of the rule in it', 1),
            },
          ),
          answer: object(
            { action: oneOfWords('what was asked for', ACTIONS), topic: text('what was asked for'), allowed: flag('it may') },
            {
              why: text('in one sentence'),
              filter: text('topic filter of the rule that decides'),
              ...OF_RULE,
              permission: PERMISSION,
              partial: flag('the subscription is granted, and not everything that it matches is delivered'),
            },
          ),
        },
      ),
    },
    404: { description: 'there is no such client', schema: PROBLEM },
    409: { description: 'an MQTT client and a sensor have this client id', schema: PROBLEM },
  },
}
