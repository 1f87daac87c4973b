import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { isUrl } from '../options/kinds.ts'
import { type OptionKey, options } from '../options.ts'

/** Options that name files which a reload reads. */
export const RELOADED: readonly OptionKey[] = [
  ...(['password_file', 'acl_file', 'clientid_file', 'ban_file', 'sn_users'] as const),
  ...(['jwt_secret_file', 'jwt_public_key_file', 'jwt_jwks'] as const),
  ...(['http_password_file', 'http_token_file', 'http_certfile', 'http_keyfile'] as const),
  ...(['certfile', 'keyfile', 'cafile', 'capath', 'crlfile'] as const),
]

/**
 * The state of the files that a reload reads, at one moment: size, modification time and inode. A program that writes a
 * file in place truncates it first, and a partial file may look complete.
 */
export class FileStamps {
  readonly #stamps = new Map<string, { readonly option: OptionKey; readonly stamp: string }>()

  constructor(config: Config) {
    for (const { key, name } of options) {
      if (!RELOADED.includes(key)) continue
      for (const settings of [config, ...config.listeners]) {
        const path = (settings as Readonly<Record<string, unknown>>)[name]
        if (typeof path === 'string' && !isUrl(path)) this.#stamps.set(path, { option: key, stamp: stampOf(path) })
      }
    }
  }

  /** Returns the first file that has changed since: `passwords (password_file)`. */
  changed(): string | undefined {
    for (const [path, { option, stamp }] of this.#stamps) if (stampOf(path) !== stamp) return `${path} (${option})`
    return undefined
  }
}

/**
 * Returns what changes with every change of a file; '' for anything that is not a file, such as a pipe or a missing file. Errors are
 * reported when it is read.
 */
export function stampOf(path: string): string {
  try {
    const found = statSync(path, { bigint: true })
    if (found.isDirectory())
      return readdirSync(path)
        .map((name) => `${name} ${stampOf(join(path, name))}`)
        .join('\n')
    const { dev, ino, size, mtimeNs } = found
    return found.isFile() ? `${dev} ${ino} ${size} ${mtimeNs}` : ''
  } catch {
    return ''
  }
}
