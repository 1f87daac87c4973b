import { statSync } from 'node:fs'
import { ClientPattern } from '../../base/client-pattern.ts'
import { readRegularFile } from '../../base/io/regular-file.ts'
import type { Instant } from '../../base/machine.ts'
import type { NoticeSink } from '../../base/notice.ts'
import { StartError } from '../../base/start-error.ts'
import { authenticates, type Config, certificateRole, type ListenerConfig, sensorsAreOpen } from '../../config/config.ts'
import { reasonOf } from '../../config/io/text-file.ts'
import { YamlFile, type YamlValue } from '../../config/io/yaml-file.ts'
import type { Bans } from '../../mqtt/connection-limits.ts'
import { type Acl, type AclError, parseAcl } from '../acl.ts'
import { BanList, parseBans } from '../ban-list.ts'
import { ClientIdRules } from '../client-ids.ts'
import { type LoginOptions, Logins } from '../logins.ts'
import { isRefused, type PasswordEntry, parsePasswordLines } from '../password-file.ts'
import { AccessPolicy, type ListenerPolicy } from '../policy.ts'
import { Authenticator, type LoginHook, type Verifiers } from './authenticator.ts'
import { HttpCallout } from './http-callout.ts'
import { defaultAdmissionOptions } from './login-admission.ts'
import { PasswordChecker } from './password-hash.ts'
import { lastingSecret, SCRAM_SHA_256 } from './scram.ts'
import { TokenVerifier } from './token-verifier.ts'

type AccessConfig = Pick<
  ListenerConfig,
  | 'allowAnonymous'
  | 'passwordFile'
  | 'aclFile'
  | 'mountPoint'
  | 'subscriptionAccess'
  | 'jwtSecretFile'
  | 'jwtPublicKeyFile'
  | 'jwtJwks'
  | 'jwtIssuer'
  | 'jwtAudience'
  | 'jwtUsernameClaim'
  | 'httpAuthUrl'
  | 'httpAuthTimeoutSeconds'
>

interface Loaded {
  readonly policy: ListenerPolicy
  readonly verifiers: Verifiers
}

/** The access rules as read from files: the policy that decides, and the authenticator that verifies identities. */
export class AccessFiles implements Bans {
  readonly policy: AccessPolicy
  readonly authenticator: Authenticator
  readonly #logins: Logins
  /** Warnings to be logged; they are not errors. */
  warnings: readonly string[] = []
  readonly #config: Config
  readonly #checker = new PasswordChecker()
  #clientIds: ClientIdRules | undefined
  #contents: Contents
  #loaded: ReadonlyMap<string, Loaded>
  #global: Loaded

  /**
   * @param login asks the program about each client, in place of what the files say about users
   * @throws StartError for the first invalid file
   */
  constructor(config: Config, notice: NoticeSink = () => {}, login?: LoginHook | undefined) {
    this.#config = config
    const { listeners, global, bans, contents, warnings } = load(config, 'start')
    const clientIds = readClientIds(config)
    this.#clientIds = clientIds
    this.#contents = contents
    this.#loaded = listeners
    this.#global = global
    this.warnings = warnings
    this.policy = new AccessPolicy(policiesOf(listeners), global.policy, clientIds, bans)
    this.#logins = new Logins(loginOptions(config), notice)
    const verifiersOf = (listener: string): Verifiers => (this.#loaded.get(listener) ?? this.#global).verifiers
    const admission = {
      ...defaultAdmissionOptions(),
      logins: this.#logins,
      pending: config.maxPendingLogins,
      pendingPerAddress: config.maxPendingLoginsPerAddress,
      notice,
    }
    this.authenticator = new Authenticator(this.#checker, verifiersOf, admission, login)
  }

  /** Returns why an address is refused before authentication; undefined if it is not. */
  banOf(now: Instant, peer: string): string | undefined {
    if (this.policy.bans.hasPeer(peer)) return 'ban_file'
    return this.#logins.isBanned(now, peer) ? 'ban_after' : undefined
  }

  /**
   * Reads the secret for the SCRAM challenges of unknown users from the data directory, or creates it there, so that
   * these challenges are the same after a restart. Returns a warning if that fails.
   */
  keepSecretIn(dataDir: string): string | undefined {
    const tables = [...this.#loaded.values(), this.#global].map(({ policy: { passwords } }) => [...(passwords?.values() ?? [])])
    // If no user has a SCRAM credential, all challenges are fake, and there are no real ones to tell them from.
    if (tables.every((table) => table.every(({ scram }) => scram === undefined))) return undefined
    try {
      this.authenticator.keepSecret(lastingSecret(dataDir))
      return undefined
    } catch (error) {
      return `${(error as Error).message}: by their SCRAM challenges after a restart strangers can tell which users there are`
    }
  }

  /**
   * Reads all files again. The function it returns applies them. An invalid line of a password file, which does not
   * prevent a start, is an error here: the current users are better than fewer. So is a file that would exclude all
   * clients, such as one that is empty for a moment.
   * @param clientIds as `rereadClientIds` has read them
   * @throws StartError for the first error; then nothing has changed
   */
  prepareReload(clientIds = readClientIds(this.#config)): () => void {
    const { listeners, global, bans, contents, warnings } = load(this.#config, 'reload')
    refuseExcludingAll(this.#contents, contents)
    return () => {
      this.#clientIds = clientIds
      this.#contents = contents
      this.#loaded = listeners
      this.#global = global
      this.warnings = warnings
      this.#checker.forget()
      this.policy.replace(policiesOf(listeners), global.policy, clientIds, bans)
    }
  }

  /** Paths of the password files, with their users. */
  get passwordFiles(): Contents['passwords'] {
    return this.#contents.passwords
  }

  /** Puts new users of one password file into force, as a reload does with all files. */
  replacePasswords(path: string, users: ReadonlyMap<string, PasswordEntry>): void {
    const before = this.#contents.passwords.get(path)
    if (before === undefined) return
    const renewed = (loaded: Loaded): Loaded => {
      const { policy, verifiers } = loaded
      if (policy.passwords !== before) return loaded
      return { policy: { ...policy, passwords: users }, verifiers: { ...verifiers, passwords: users } }
    }
    this.#contents = { ...this.#contents, passwords: new Map(this.#contents.passwords).set(path, users) }
    this.#loaded = new Map(Array.from(this.#loaded, ([name, loaded]) => [name, renewed(loaded)]))
    this.#global = renewed(this.#global)
    this.#checker.forget()
    this.policy.replace(policiesOf(this.#loaded), this.#global.policy, this.#clientIds, this.policy.bans)
  }
}

const policiesOf = (loaded: ReadonlyMap<string, Loaded>): ReadonlyMap<string, ListenerPolicy> =>
  new Map(Array.from(loaded, ([name, { policy }]) => [name, policy]))

export const loginOptions = ({ banAfter, banSeconds, trustedNetworks, maxLoginAddresses }: Config): LoginOptions => ({
  banAfter,
  banMs: banSeconds * 1000,
  trusted: trustedNetworks,
  maxAddresses: maxLoginAddresses,
})

/** The contents of the files, by path. */
interface Contents {
  readonly passwords: ReadonlyMap<string, ReadonlyMap<string, PasswordEntry>>
  readonly acls: ReadonlyMap<string, Acl>
  readonly emptySets: ReadonlySet<string>
}

interface Everything {
  readonly contents: Contents
  readonly listeners: ReadonlyMap<string, Loaded>
  readonly global: Loaded
  readonly bans: BanList
  readonly warnings: readonly string[]
}

function load(config: Config, when: 'start' | 'reload'): Everything {
  const warnings = new Set<string>()
  // Listeners that name the same file share its contents.
  const passwords = new Map<string, ReadonlyMap<string, PasswordEntry>>()
  const acls = new Map<string, Acl>()
  const emptySets = new Set<string>()
  const one = (access: AccessConfig & { loginHook?: true | undefined }, certificate: ListenerPolicy['certificate']): Loaded => {
    const { allowAnonymous, passwordFile, aclFile, httpAuthUrl } = access
    if (passwordFile !== undefined && !passwords.has(passwordFile))
      passwords.set(passwordFile, loadPasswords('password_file', passwordFile, when, warnings))
    if (aclFile !== undefined && !acls.has(aclFile)) acls.set(aclFile, loadAcl(aclFile))
    const table = passwordFile === undefined ? undefined : passwords.get(passwordFile)
    const acl = aclFile === undefined ? undefined : acls.get(aclFile)
    const tokens = TokenVerifier.load(access)
    if (access.jwtSecretFile !== undefined) warnIfOpen('jwt_secret_file', access.jwtSecretFile, warnings)
    for (const path of tokens?.emptySets ?? []) emptySets.add(path)
    const callout = httpAuthUrl === undefined ? undefined : new HttpCallout(httpAuthUrl, access.httpAuthTimeoutSeconds)
    const methods = table === undefined ? [] : [SCRAM_SHA_256]
    return {
      policy: {
        allowAnonymous,
        certificate,
        verifies: authenticates(access),
        asksAll: access.loginHook === true,
        methods,
        passwords: table,
        tokenKeys: new Set(tokens?.keys),
        acl,
        aclFile,
        mountPoint: access.mountPoint,
        subscriptionAccess: access.subscriptionAccess,
      },
      verifiers: { passwords: table, tokens, callout },
    }
  }
  const listeners = new Map(config.listeners.map((listener) => [listener.name, one(listener, certificateRole(listener))]))
  const global = one({ ...config, allowAnonymous: sensorsAreOpen(config), mountPoint: undefined }, 'none')
  // An empty ban file is allowed: it lifts all bans, and excludes no client.
  const bans = config.banFile === undefined ? new BanList() : loadBans(config.banFile)
  const contents = { passwords, acls, emptySets }
  for (const warning of emptyFiles(contents)) warnings.add(warning)
  return { listeners, global, bans, contents, warnings: [...warnings] }
}

/** Returns warnings for empty files. They are no error in Mosquitto either, but hardly intended. */
function emptyFiles({ passwords, acls, emptySets }: Contents): string[] {
  return [
    ...Array.from(
      passwords,
      ([path, users]) => users.size === 0 && `password_file ${path} contains no user: nobody can log in with a password`,
    ),
    ...Array.from(acls, ([path, acl]) => acl.isEmpty && `acl_file ${path} contains no rule: clients may do nothing`),
    ...Array.from(emptySets, (path) => `jwt_jwks ${path} contains no key: no token is valid`),
  ].filter((warning) => warning !== false)
}

/**
 * Refuses files that would exclude all current clients: more likely such a file is being written than intended.
 * @throws StartError for the first one
 */
function refuseExcludingAll(before: Contents, after: Contents): void {
  for (const [path, users] of after.passwords) refuseExcludingUsers(path, before.passwords.get(path), users)
  for (const [path, acl] of after.acls)
    if (acl.isEmpty && before.acls.get(path)?.isEmpty === false)
      throw new StartError(`${path}: contains no rule any more: clients could do nothing (acl_file)`)
  for (const path of after.emptySets)
    if (!before.emptySets.has(path)) throw new StartError(`${path}: contains no key any more: no token would be valid (jwt_jwks)`)
}

/** The same for one password file. @throws StartError */
export function refuseExcludingUsers(
  path: string,
  before: ReadonlyMap<string, PasswordEntry> | undefined,
  users: ReadonlyMap<string, PasswordEntry>,
): void {
  let known = 0
  for (const [user, entry] of before ?? []) {
    if (isRefused(entry)) continue
    if (users.has(user)) return
    known++
  }
  if (known === 0) return
  if (users.size === 0) throw new StartError(`${path}: contains no user any more: all clients would be excluded (password_file)`)
  const what = `contains none of the ${known} users from before, who would all be excluded`
  throw new StartError(`${path}: ${what}: add the new ones first, and remove the old ones by another reload (password_file)`)
}

/** Maximum number of invalid lines of one file that are listed in warnings. */
const BROKEN_LINES_MAX = 10

/** Reads a password file; `option` names it. An invalid line is an error at a reload, and a warning at the start. @throws StartError */
export function loadPasswords(
  option: string,
  path: string,
  when: 'start' | 'reload',
  warnings: Set<string>,
): ReadonlyMap<string, PasswordEntry> {
  const { users, broken } = parsePasswordLines(readText(path, option))
  if (broken[0] !== undefined && when === 'reload') throw wrong(option, path, broken[0])
  for (const each of broken.slice(0, BROKEN_LINES_MAX)) warnings.add(`${wrong(option, path, each).message}: this user is refused`)
  if (broken.length > BROKEN_LINES_MAX)
    warnings.add(`${path}: ${broken.length - BROKEN_LINES_MAX} more broken lines, whose users are refused (${option})`)
  warnIfOpen(option, path, warnings)
  return users
}

export function warnIfOpen(option: string, path: string, warnings: Set<string>): void {
  if ((statSync(path).mode & 0o077) !== 0) warnings.add(`${option} ${path} is open to other users of this machine: chmod 600`)
}

/** Reads an `acl_file`. @throws StartError */
export function loadAcl(path: string): Acl {
  const parsed = parseAcl(readText(path, 'acl_file'))
  if ('reason' in parsed) throw wrong('acl_file', path, parsed)
  return parsed
}

function loadBans(path: string): BanList {
  const parsed = parseBans(readText(path, 'ban_file'))
  if ('reason' in parsed) throw wrong('ban_file', path, parsed)
  return parsed
}

const wrong = (option: string, path: string, { line, reason }: AclError): StartError =>
  new StartError(`${path}:${line}: ${reason} (${option})`)

/** @throws StartError */
export function readText(path: string, option: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readRegularFile(path))
  } catch (error) {
    throw new StartError(`${option} ${path}: ${error instanceof TypeError ? 'not UTF-8 text' : reasonOf(error)}`)
  }
}

/** Reads `clientid_file`. @throws StartError */
const readClientIds = ({ clientidFile: path }: Config): ClientIdRules | undefined =>
  path === undefined ? undefined : parseClientIds(YamlFile.readRegular(path, 'clientid_file'))

/** The same, in several turns of the event loop. @throws StartError */
export const rereadClientIds = async ({ clientidFile: path }: Config): Promise<ClientIdRules | undefined> =>
  path === undefined ? undefined : parseClientIds(await YamlFile.readInTurns(path, 'clientid_file'))

/**
 * Parses users with their client ids, in which `*` matches any number of characters:
 *
 *     alice: [alice-*, house]
 *     bob: pump-7
 *
 * @throws StartError for the first invalid entry, and for an empty file, by which all ids would be free
 */
export function parseClientIds(file: YamlFile): ClientIdRules {
  const pairs = file.pairs(file.root, 'users with their client ids, one `user: [ids]` a line')
  if (pairs.length === 0) throw new StartError(`${file.path}: expected at least one user with client ids, got none`)
  return new ClientIdRules(new Map(pairs.map(({ key, value }) => [key, patternsOf(file, value)])))
}

function patternsOf(file: YamlFile, value: YamlValue): ClientPattern[] {
  return file.texts(value, 'a client id or a list of them').map((pattern) => new ClientPattern(pattern))
}
