import { userNameError } from '../../access/password-edit.ts'
import type { AccountChange, AccountFile, AccountKind } from '../accounts.ts'
import type { HttpContext } from '../context.ts'
import {
  type AccountPause,
  done,
  type HttpRequest,
  type HttpResponse,
  type HttpWork,
  json,
  problem,
  type Route,
} from '../exchange.ts'
import { listUsers } from './user-list.ts'
import { DELETE_USER, LIST_USERS, SET_PASSWORD } from './users-specs.ts'

/** Users: list them, set their passwords, delete them. */
export function userRoutes(context: HttpContext): readonly Route[] {
  return [
    {
      method: 'GET',
      path: '/api/v1/users',
      needs: 'view',
      spec: LIST_USERS,
      answer: (request) => listUsers(context, request),
    },
    {
      method: 'PUT',
      path: '/api/v1/users/:id/password',
      needs: 'manage',
      spec: SET_PASSWORD,
      answer: (request) => {
        const { password, create = false } = request.body as { readonly password: string; readonly create?: boolean }
        const found = accountOf(context, request)
        if (!isAccount(found)) return found
        const { name, file } = found
        return carryOut({ ...changeOf(found, request), password, create }, (outcome) =>
          json({ id: `${file.kind}:${name}`, file: file.path, created: outcome === 'created' }),
        )
      },
    },
    {
      method: 'DELETE',
      path: '/api/v1/users/:id',
      needs: 'manage',
      spec: DELETE_USER,
      answer: (request) => {
        const found = accountOf(context, request)
        if (!isAccount(found)) return found
        if (found.file.kind === 'http' && found.name === request.user) return problem(409, 'you cannot delete yourself')
        return carryOut({ ...changeOf(found, request), password: undefined, create: false }, () => done)
      },
    },
  ]
}

interface Account {
  readonly name: string
  readonly file: AccountFile
}

const isAccount = (found: Account | HttpResponse): found is Account => 'file' in found

const changeOf = ({ file: { path }, name }: Account, { user }: HttpRequest) => ({ path, name, by: user })

/** Which user in which file a request is about. The file may have more users than are in force: whether it has this one is seen then. */
function accountOf({ accounts }: HttpContext, { params, query }: HttpRequest): Account | HttpResponse {
  // What is written outlasts this process, and with it the reason why anyone may manage.
  if (accounts.isOpen) return problem(403, 'this needs a login: set http_password_file or http_token_file')
  const [, prefix, name = ''] = /^(mqtt:|http:|)(.*)$/s.exec(params.id!)!
  const wrong = userNameError(name)
  if (wrong !== '') return problem(400, wrong)
  const kind = prefix === '' ? undefined : (prefix!.slice(0, -1) as AccountKind)
  const files = accounts.files.filter((file) => kind === undefined || file.kind === kind)
  if (files.length === 0) return problem(409, `there is no password file: set ${optionOf(kind ?? 'mqtt')}`)
  const named = files.filter(({ path }) => query.file === undefined || path === query.file)
  if (named.length === 0) return problem(400, `file: none of the password files is ${query.file}`)
  const having = named.filter(({ users }) => users.has(name))
  const [file, another] = having.length > 0 ? having : named
  if (another === undefined) return { name, file: file! }
  const which = (having.length > 0 ? having : named).map((each) => `${each.kind}:${name} in ${each.path}`).join(', ')
  return problem(
    409,
    having.length > 0 ? `which one is meant: ${which}` : `there is no user ${name}; which one is meant: ${which}`,
  )
}

export const optionOf = (kind: AccountKind): 'password_file' | 'http_password_file' =>
  kind === 'mqtt' ? 'password_file' : 'http_password_file'

function* carryOut(change: AccountChange, answer: (outcome: 'set' | 'created' | 'deleted') => HttpResponse): HttpWork {
  const asked: AccountPause = { kind: 'account', change, result: undefined }
  yield asked
  const { result } = asked
  if (result === undefined) return problem(503, 'nothing was changed')
  return 'error' in result ? problem(result.status, result.error) : answer(result.outcome)
}
