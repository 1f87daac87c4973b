import { spawnSync } from 'node:child_process'
import { statSync } from 'node:fs'
import { basename } from 'node:path'
import { pathToFileURL } from 'node:url'
import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { type Config, type ListenerConfig, refuseUnprotected } from '../config/config.ts'
import { reasonOf } from '../config/io/text-file.ts'
import { HOOK_NAMES, type HookName, type Hooks } from './hooks.ts'

/** Milliseconds in which a module has to be loaded. */
const LOAD_TIMEOUT_MS = 10_000

/**
 * Loads the module that `hooks` names, which runs it. Its exports are the hooks; or those of its default export, which is what
 * CommonJS exports.
 * @throws StartError
 */
export async function loadHooks(path: string, timeoutMs = LOAD_TIMEOUT_MS): Promise<Hooks> {
  try {
    if (!statSync(path).isFile()) throw new StartError(`--hooks: ${path} is not a file`)
  } catch (error) {
    throw error instanceof StartError ? error : new StartError(`--hooks: cannot read ${path}: ${reasonOf(error)}`)
  }
  const loaded = await imported(path, timeoutMs)
  const where = `--hooks: ${path}: export `
  const byDefault = loaded.default
  if (typeof byDefault !== 'object' || byDefault === null) return checkedHooks(loaded, where, 'no such hook')
  const hooks = byDefault as Record<string, unknown>
  // Exports of CommonJS are there by their names, too.
  const other = HOOK_NAMES.find((name) => name in loaded && loaded[name] !== hooks[name])
  if (other !== undefined) throw new StartError(`${where}${other}: beside a default export: put it into that`)
  return checkedHooks(hooks, where, 'no such hook')
}

async function imported(path: string, timeoutMs: number): Promise<Record<string, unknown>> {
  let timer: NodeJS.Timeout | undefined
  // Without a timer, Node.js ends in silence when nothing is left that the module could wait for.
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), timeoutMs)
  })
  try {
    const loaded = (await Promise.race([import(pathToFileURL(path).href), late])) as Record<string, unknown> | undefined
    if (loaded !== undefined) return loaded
  } catch (error) {
    throw new StartError(`--hooks: ${path}${whatIsWrong(error, path)}`)
  } finally {
    clearTimeout(timer)
  }
  throw new StartError(`--hooks: ${path}: has not been loaded in ${timeoutMs / 1000} s: an await in it has not ended`)
}

/** Hooks during which the broker waits. */
const AT_ONCE: ReadonlySet<string> = new Set<HookName>(['authorize', 'onDeliver'])

/**
 * Returns the hooks among these values. `where` precedes the name of a wrong one.
 * @throws StartError for a name that is no hook, and for one that is no function
 */
export function checkedHooks(given: Readonly<Record<string, unknown>>, where: string, unknown: string): Hooks {
  for (const [name, value] of Object.entries(given)) {
    if (!HOOK_NAMES.includes(name as HookName)) throw new StartError(`${where}${name}: ${unknown}${didYouMean(name, HOOK_NAMES)}`)
    if (value !== undefined && typeof value !== 'function')
      throw new StartError(`${where}${name}: expected a function, got ${value === null ? 'null' : typeof value}`)
    // It would refuse everything.
    if (AT_ONCE.has(name) && Object.prototype.toString.call(value) === '[object AsyncFunction]')
      throw new StartError(`${where}${name}: has to decide at once, and cannot be async`)
  }
  if (Object.keys(given).length === 0) throw new StartError(`${where.replace(/ ?export $/, '')} exports no hook`)
  return given as Hooks
}

/** `:3: SyntaxError: Unexpected token`: the line, if the error is in the file itself. */
function whatIsWrong(error: unknown, path: string): string {
  if (!(error instanceof Error)) return `: it throws ${String(error)}`
  const message = `${error.name}: ${error.message}`.split('\n', 1)[0]!
  const line = new RegExp(`${escaped(basename(path))}:(\\d+)`).exec(
    error instanceof SyntaxError ? checked(path) : (error.stack ?? ''),
  )?.[1]
  return line === undefined ? `: ${message}` : `:${line}: ${message}`
}

/** What Node.js says of the syntax of a file: the stack of a SyntaxError does not name the line. */
const checked = (path: string): string => spawnSync(process.execPath, ['--check', path], { encoding: 'utf8' }).stderr

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** Options that say who may connect, which is what the hook `authenticate` says. */
const VERIFIERS = {
  passwordFile: 'password_file',
  jwtSecretFile: 'jwt_secret_file',
  jwtPublicKeyFile: 'jwt_public_key_file',
  jwtJwks: 'jwt_jwks',
  httpAuthUrl: 'http_auth_url',
} as const satisfies Partial<Record<keyof ListenerConfig, string>>

/** A configuration, and the hooks that are in effect with it. */
export interface HookedConfig {
  readonly config: Config
  readonly hooks: Hooks | undefined
}

/**
 * Returns the hooks of the program, or of the file that the configuration names, and the configuration with these in effect: with
 * `authenticate`, listeners accept whom it accepts.
 * @throws StartError for an invalid file, if a password file or the like would have no effect, or if there is no `authenticate` for
 * an address that everybody could reach
 */
export async function hookedConfig(config: Config, functions?: Hooks | undefined): Promise<HookedConfig> {
  const { hooks: path } = config
  if (path !== undefined && functions !== undefined)
    throw new StartError(`--hooks: ${path} would be loaded beside the hooks that start was given: remove one of them`)
  const hooks = path === undefined ? functions : await loadHooks(path)
  return { config: hooks === undefined ? config : withHooks(config, hooks), hooks }
}

function withHooks(given: Config, hooks: Hooks): Config {
  const { listeners, snListeners } = given
  // So that whoever reads the configuration knows that there are some.
  const config = { ...given, hooks: given.hooks ?? '(functions)' }
  if (hooks.authenticate === undefined) {
    for (const { unprotected } of [...listeners, ...snListeners]) if (unprotected !== undefined) refuseUnprotected(unprotected)
    return config
  }
  for (const settings of [config, ...listeners]) {
    const [, key] = Object.entries(VERIFIERS).find(([name]) => settings[name as keyof typeof VERIFIERS] !== undefined) ?? []
    if (key === undefined) continue
    const where = 'origin' in settings ? `${settings.origin}: ` : ''
    throw new StartError(`${where}${key}: has no effect beside the hook authenticate, which decides alone: remove one of them`)
  }
  const hooked = listeners.map((listener) => ({ ...listener, allowAnonymous: false, loginHook: true as const }))
  return { ...config, listeners: hooked, loginHook: true }
}
