import { printable } from '../../process/log.ts'
import { jsonArray, table } from '../listing.ts'
import type { Host } from '../serve.ts'
import { ApiClient, type ApiFlags, collected } from './api-client.ts'
import type { Shape } from './shape.ts'

export interface UsersFlags extends ApiFlags {
  readonly query?: string
  readonly kind?: string
  readonly json?: true
}

interface User {
  readonly id: string
  readonly option: string
  readonly file?: string
  readonly line?: number
  readonly role?: string
  readonly refused?: boolean
  readonly password?: { readonly rounds?: number; readonly weak: boolean }
}

/** `User` */
const USER: Shape = {
  id: 'string',
  option: 'string',
  'file?': 'string',
  'line?': 'number',
  'role?': 'string',
  'refused?': 'boolean',
  'password?': { weak: 'boolean', 'rounds?': 'number' },
}

/** Lists users. */
export async function users(flags: UsersFlags, host: Host): Promise<void> {
  const { query: q, kind, json } = flags
  const api = await ApiClient.from(flags, host)
  const all = await collected(api.list<User>('/api/v1/users', { q, kind }, 'users', USER))
  for (const line of json === true ? jsonArray(all) : userTable(all)) host.stdout.write(line)
}

const userTable = (all: readonly User[]): readonly string[] =>
  table(
    [
      ['USER', 'ROLE', 'PASSWORD', 'FROM'],
      ...all.map((user) => [user.id, user.role ?? '-', passwordText(user), placeText(user)].map(printable)),
    ],
    new Set(),
  )

function passwordText({ refused, password }: User): string {
  if (refused === true) return 'refused: its line cannot be read'
  if (password === undefined) return '-'
  return password.weak ? 'weak' : 'strong hash'
}

const placeText = ({ option, file, line }: User): string =>
  [option, ...(file === undefined ? [] : [`${file}${line === undefined ? '' : `:${line}`}`])].join(' ')
