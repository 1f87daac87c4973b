import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { DEFAULT_CONFIG } from '../config/config.ts'

/** What the default data directory depends on. */
export interface Surroundings {
  /** The folder of the package, which has the sources only in a checkout. */
  readonly root: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** `undefined` where the system has no users by number. */
  readonly uid: number | undefined
  readonly home?: () => string
}

/**
 * Returns the data directory where no option names one: that of the system's service manager (`StateDirectory` of systemd), or
 * that of the machine for root, or that of the user. In a checkout it is in the working directory.
 */
export function defaultDataDir({ root, env, uid, home = homedir }: Surroundings): string {
  // Several directories have colons between them.
  const [given = ''] = (env.STATE_DIRECTORY ?? '').split(':')
  if (isAbsolute(given)) return given
  if (existsSync(join(root, 'src'))) return DEFAULT_CONFIG.dataDir
  if (uid === 0) return '/var/lib/roost'
  const state = env.XDG_STATE_HOME ?? ''
  // By its specification a relative path counts as none.
  return join(isAbsolute(state) ? state : join(home(), '.local', 'state'), 'roost')
}
