import {
  flag,
  listOf,
  NEXT_CURSOR,
  object,
  oneOfWords,
  PAGE_QUERY,
  PROBLEM,
  type RouteSpec,
  type Schema,
  text,
  whole,
} from '../schema.ts'

const TAG = 'users'
export const USER_KINDS = ['mqtt', 'http', 'sn'] as const
export type UserKind = (typeof USER_KINDS)[number]
/** Of HTTP Basic, the header of a request is the limit; with this, there is room for everything else in it. */
export const PASSWORD_MAX = 1024

const ID = text('`mqtt:` or `http:` and the user name; or the user name alone, if only one user has it')
const FILE = text('the password file, as it is configured; needed only if there are several')
const REFUSALS: Readonly<Record<number, { readonly description: string; readonly schema: Schema }>> = {
  404: { description: 'there is no such user', schema: PROBLEM },
  409: { description: 'there is no password file, or none that can be written, or more than one such user', schema: PROBLEM },
  507: { description: 'the disk is full', schema: PROBLEM },
}

export const LIST_USERS: RouteSpec = {
  tag: TAG,
  summary: 'Lists users',
  description:
    'Users of MQTT clients (password_file), of this service (http_password_file), and those that sensors become (sn_users, sn_username, qos_m1_username). Only for users who have logged in, unless everyone may manage.',
  query: {
    q: text('part of the user name; letters of either case are the same'),
    kind: oneOfWords('only users of MQTT clients, of this service, or of sensors', USER_KINDS),
    ...PAGE_QUERY,
  },
  answers: {
    200: {
      description: 'a page',
      schema: object(
        {
          users: listOf(
            object(
              {
                id: text('`mqtt:`, `http:` or `sn:` and the user name'),
                name: text('user name; for sensors, %c in it stands for the client id'),
                kind: oneOfWords('whose user it is', USER_KINDS),
                option: oneOfWords('the option that names it, or its file', [
                  'password_file',
                  'http_password_file',
                  'sn_users',
                  'sn_username',
                  'qos_m1_username',
                ]),
              },
              {
                file: text('the file that it stands in'),
                line: whole('line of its first rule in sn_users', 1),
                listeners: listOf(text('name'), 'MQTT listeners that verify passwords by this file'),
                role: oneOfWords('what a user of this service may do', ['view', 'manage']),
                refused: flag('its line in the file cannot be read, so it cannot log in'),
                password: object(
                  {
                    methods: listOf(oneOfWords('how it is verified', ['password', 'scram-sha-256'])),
                    weak: flag('its hash has fewer rounds than one of roost passwd'),
                  },
                  { rounds: whole('rounds of the hash', 1) },
                ),
              },
            ),
          ),
        },
        { cursor: NEXT_CURSOR },
      ),
    },
  },
}

export const SET_PASSWORD: RouteSpec = {
  tag: TAG,
  summary: 'Sets the password of a user',
  description:
    'As roost passwd does, with its keys for SCRAM-SHA-256 if the user has some. Answered when the file is written and in force: clients that have logged in with the password before are disconnected. Only for users who have logged in.',
  params: { id: ID },
  query: { file: FILE },
  body: object(
    { password: text('the new password', { minLength: 1, maxLength: PASSWORD_MAX }) },
    { create: flag('create the user if there is none of this name') },
  ),
  answers: {
    200: {
      description: 'the password is set',
      schema: object({
        id: text('`mqtt:` or `http:` and the user name'),
        file: text('the file that was written'),
        created: flag('the user is new'),
      }),
    },
    ...REFUSALS,
  },
}

export const DELETE_USER: RouteSpec = {
  tag: TAG,
  summary: 'Deletes a user',
  description:
    'As roost passwd -D does. Clients that have logged in with its password are disconnected. The last user of a file, and the one who asks, cannot be deleted.',
  params: { id: ID },
  query: { file: FILE },
  answers: { 204: { description: 'it is deleted' }, ...REFUSALS },
}
