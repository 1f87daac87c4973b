import type { PasswordEntry } from '../access/password-file.ts'

/** Users of MQTT clients, and of this service. */
export type AccountKind = 'mqtt' | 'http'

/** A password file in use. */
export interface AccountFile {
  readonly kind: AccountKind
  readonly path: string
  /** MQTT listeners that verify passwords by it. */
  readonly listeners: readonly string[]
  /** Replaced as a whole when the file changes. */
  readonly users: ReadonlyMap<string, PasswordEntry>
}

/** Who may log in. */
export interface Accounts {
  /** Those of MQTT clients first; their order does not change. */
  readonly files: readonly AccountFile[]
  /** Names of `http_managers`. */
  readonly managers: ReadonlySet<string>
  /** The service needs no login. */
  readonly isOpen: boolean
}

/** A change of one user in a password file. */
export interface AccountChange {
  readonly path: string
  readonly name: string
  /** The new password; `undefined` deletes the user. */
  readonly password: string | undefined
  /** A user who is not there is created. */
  readonly create: boolean
  /** Who asks for it, for the notice. */
  readonly by: string | undefined
}

export type AccountResult =
  | { readonly outcome: 'set' | 'created' | 'deleted' }
  /** An HTTP status, and one sentence. The password is not in it. */
  | { readonly status: 404 | 409 | 503 | 507; readonly error: string }
