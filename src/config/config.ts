import { masked } from '../base/masked.ts'
import { StartError } from '../base/start-error.ts'
import type { TypeDefinition } from '../filters/topic-types.ts'
import type { PredefinedTopicTable } from '../gateway/gateway-options.ts'
import type { BridgeConfig } from './options/bridges.ts'
import { HTTP_OPTIONS } from './options/http.ts'
import type { Kind } from './options/kinds.ts'
import type { UpstreamConfig } from './options/upstream.ts'
import {
  flagOf,
  type ListenerSettings,
  nameOf,
  type Option,
  type OptionKey,
  options,
  type Settings,
  type SnListenerSettings,
  snEntryKey,
} from './options.ts'

/**
 * The complete configuration. Paths are absolute, or relative to the working directory. Settings that listeners can
 * override apply here to the gateway; for MQTT clients only those in `listeners` count.
 */
export type Config = Omit<Settings, 'config' | 'testConfig' | 'predefinedTopics' | 'upstream'> & {
  /** In the order of the file. If several tables match a client and define the same id, the last one wins. */
  readonly predefinedTopics: readonly PredefinedTopicTable[]
  /** In the order of the file: of those that match a topic, the first applies. */
  readonly types: readonly TypeDefinition[]
  /** Conditions of subscriptions, the first that fits counts; none if absent. */
  readonly filters?: readonly FilterSetting[]
  /** At least one, except with `upstream`. */
  readonly listeners: readonly ListenerConfig[]
  readonly bridges: readonly BridgeConfig[]
  /** The cluster at which sensors have their sessions; absent: they are here. */
  readonly upstream?: UpstreamConfig | undefined
  /** At least one. */
  readonly snListeners: readonly SnListenerConfig[]
  /** As of an MQTT listener: sensors are asked about, too. */
  readonly loginHook?: true | undefined
}

/** An entry of `filters`: what fits it has this condition. What is not given fits everything. */
export interface FilterSetting {
  /** A client id, in which `*` matches any number of characters. */
  readonly client?: string
  readonly user?: string
  /** Topic filter. */
  readonly topic?: string
  /** The condition, in CEL. */
  readonly filter: string
  /** Where it is configured, for errors: `roost.yaml:3:5: filters[0].filter`. */
  readonly origin: string
}

/**
 * A listener for MQTT clients with its effective settings: its own, otherwise the global ones, otherwise the defaults.
 */
export interface ListenerConfig extends Omit<ListenerSettings, 'allowAnonymous'> {
  /** Unique; `mqtt-1883` if not configured. */
  readonly name: string
  /** Where it is configured, for errors: `--host, --port`, or `roost.yaml:3:5: listeners[0]`. */
  readonly origin: string
  /**
   * Whether clients that do not authenticate are accepted. The value of `allow_anonymous` if it is set; otherwise true
   * only if no authentication is configured, in which case the listener is on a loopback address.
   */
  readonly allowAnonymous: boolean
  /** The hook `authenticate` decides who may connect: `withHooks` (src/process/hook-file.ts) sets it. */
  readonly loginHook?: true | undefined
  /** Its address, if that is not loopback and nothing but that hook could keep strangers out. */
  readonly unprotected?: Given | undefined
}

/** A port for sensors: a serial device if `device` is set, otherwise a UDP socket. */
export interface SnListenerConfig extends SnListenerSettings {
  /** Unique. Part of a sensor's route, and therefore stored. `sn` is the port configured by flags. */
  readonly name: string
  readonly origin: string
  /** As of an MQTT listener. */
  readonly unprotected?: Given | undefined
}

/** The value of an option and its origin: `--port`, or `roost.yaml:3:7: port`. */
export interface Given {
  readonly value: unknown
  readonly origin: string
}

/** Validated options from one source: the flags, or the file. */
export type Layer = ReadonlyMap<OptionKey, Given>

/** An entry of `listeners` or `sn_listeners` with the options that are set in it. */
export interface ListenerLayer {
  readonly origin: string
  readonly name: Given | undefined
  readonly own: Layer
}

/** Validates a value as written in the file or on the command line. @throws StartError */
export function given(option: Kind<unknown>, raw: unknown, origin: string): Given {
  const parsed = option.schema.safeParse(raw)
  if (!parsed.success || raw === undefined) throw new StartError(`${origin}: expected ${option.expected}, got ${inWords(raw)}`)
  return { value: parsed.data, origin }
}

/** Describes an invalid value in a single line of an error, shortened if it is long. */
export function inWords(raw: unknown): string {
  if (raw === undefined || raw === null) return 'nothing'
  if (Array.isArray(raw)) return 'a list'
  if (typeof raw === 'object') return 'a map'
  const text = typeof raw === 'string' ? JSON.stringify(masked(raw)) : String(raw)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

/**
 * Merges the layers: flags override the file, and the file overrides the defaults. `memory` and `data_dir` exclude each
 * other, so a flag for one also overrides the other in the file. The same applies to host and port on the one hand and
 * `socket_path` on the other.
 *
 * What only the file can say about (`types`) is empty here.
 *
 * @throws StartError for options that contradict each other.
 */
export function resolveConfig(
  flags: Layer,
  file: Layer,
  entries: readonly ListenerLayer[] = [],
  snEntries: readonly ListenerLayer[] = [],
  hasHooks = flags.has('hooks') || file.has('hooks'),
): Omit<Config, 'predefinedTopics'> {
  for (const layer of [flags, file]) {
    if (layer.get('memory')?.value === true) refuseBoth(layer.get('memory'), layer.get('data_dir'))
    refuseBoth(layer.get('socket_path'), layer.get('port') ?? layer.get('host'))
    refuseBoth(layer.get('sn_device'), layer.get('sn_port') ?? layer.get('sn_host'))
  }
  const merged = new Map<OptionKey, Given>([...file, ...flags])
  if (flags.has('data_dir')) merged.delete('memory')
  if (flags.has('host') || flags.has('port')) for (const key of SOCKET_KEYS) if (!flags.has(key)) merged.delete(key)
  if (flags.has('socket_path')) for (const key of ADDRESS_KEYS) merged.delete(key)
  if (flags.has('sn_device')) for (const key of SN_ADDRESS_KEYS) merged.delete(key)
  else if (flags.has('sn_host') || flags.has('sn_port')) merged.delete('sn_device')
  const {
    config: _,
    testConfig: __,
    predefinedTopics: ___,
    upstream: ____,
    ...settings
  } = valuesOf(options, merged) as unknown as Settings
  const listeners = resolveListeners(merged, entries, hasHooks)
  refuseIdle(merged, entries, listeners)
  refuseIdleHttp(merged)
  refuseOpenHttp(merged)
  const snListeners = resolveSnListeners(merged, snEntries, settings, hasHooks)
  return { ...settings, listeners, snListeners, types: [], bridges: [] }
}

const ADDRESS_KEYS = ['host', 'port'] as const
const SN_ADDRESS_KEYS = ['sn_host', 'sn_port'] as const
const SOCKET_KEYS = ['socket_path', 'socket_mode'] as const
const listenerOptions = options.filter(({ listener }) => listener !== undefined)

const valuesOf = (some: readonly Option[], layer: Layer): Record<string, unknown> =>
  Object.fromEntries(
    some.map(({ key, name, schema, default: byDefault }) => [
      name,
      layer.has(key) ? layer.get(key)?.value : schema.parse(byDefault),
    ]),
  )

/**
 * Returns the MQTT listeners. Those in `listeners` replace the default listener, unless its address, port or socket
 * path is set.
 */
function resolveListeners(merged: Layer, entries: readonly ListenerLayer[], hasHooks: boolean): ListenerConfig[] {
  const byDefault: ListenerLayer = {
    origin: merged.has('socket_path') ? '--socket-path' : '--host, --port',
    name: undefined,
    own: new Map(listenerOptions.flatMap(({ key }) => (merged.has(key) ? [[key, merged.get(key)!]] : []))),
  }
  // A gateway in front of a cluster has none by default.
  const byItself = entries.length === 0 && !merged.has('upstream')
  const wanted = byItself || merged.has('host') || merged.has('port') || merged.has('socket_path')
  const orphan = listenerOptions.find(({ key, listener }) => listener === 'own' && merged.has(key))
  if (!wanted && orphan !== undefined) {
    const { origin } = merged.get(orphan.key)!
    const why =
      entries.length === 0
        ? 'which there is none of with upstream: set port too'
        : 'which listeners replaces: move it there, or set port too'
    throw new StartError(`${origin}: applies to the default listener, ${why}`)
  }
  const names = new Map<string, string>()
  const places = new Map<string, string>()
  return (wanted ? [byDefault, ...entries] : entries).map((entry) => {
    refuseContradictions(entry.own)
    const listener = resolveListener(entry, merged, names, hasHooks)
    const { host, port, socketPath, name } = listener
    const place = socketPath ?? (port === 0 ? name : `${host.toLowerCase()} port ${port}`)
    if (places.has(place)) throw new StartError(`${entry.origin}: listens on ${place}, as ${places.get(place)} does`)
    places.set(place, entry.origin)
    return listener
  })
}

function resolveListener(
  { origin, name, own }: ListenerLayer,
  merged: Layer,
  names: Map<string, string>,
  hasHooks: boolean,
): ListenerConfig {
  const inherited = listenerOptions.flatMap(({ key, listener }) =>
    listener === 'inherits' && merged.has(key) ? [[key, merged.get(key)!] as const] : [],
  )
  const settings = valuesOf(listenerOptions, new Map([...inherited, ...own])) as unknown as ListenerSettings
  const verifies = authenticates(settings) || certificateRole(settings) === 'needed'
  const host = own.get('host')
  const isOpen = host !== undefined && !isLoopback(String(host.value)) && !verifies && !settings.allowAnonymous
  if (isOpen && !hasHooks) refuseUnprotected(host)
  const isConfigured = authenticates(settings) || certificateRole(settings) !== 'none'
  // An explicit false is kept, even if no client can connect then.
  const listener = { ...settings, origin, allowAnonymous: settings.allowAnonymous ?? !isConfigured }
  return { ...listener, name: uniqueName(name, settings, names), ...(isOpen && { unprotected: host }) }
}

function uniqueName(name: Given | undefined, { port, socketPath }: ListenerSettings, names: Map<string, string>): string {
  const wanted = name === undefined ? `mqtt-${socketPath ?? port}` : String(name.value)
  if (name !== undefined && names.has(wanted))
    throw new StartError(`${name.origin}: ${wanted} is already the name of another listener`)
  let unique = wanted
  for (let count = 2; names.has(unique); count++) unique = `${wanted}-${count}`
  names.set(unique, wanted)
  return unique
}

/** Options that require another option of the same listener. If several are listed, one of them is enough. */
export const NEEDS: readonly (readonly [OptionKey, ...OptionKey[]])[] = [
  ['certfile', 'keyfile'],
  ['keyfile', 'certfile'],
  ['cafile', 'certfile'],
  ['capath', 'certfile'],
  ['crlfile', 'cafile', 'capath'],
  ['require_certificate', 'cafile', 'capath'],
  ['use_identity_as_username', 'cafile', 'capath', 'proxy_protocol'],
  ['use_subject_as_username', 'cafile', 'capath'],
  ['tls_version', 'certfile'],
  ['ciphers', 'certfile'],
  ['socket_mode', 'socket_path'],
]

function refuseContradictions(own: Layer): void {
  refuseBoth(own.get('socket_path'), own.get('port') ?? own.get('host'))
  if (isOn(own.get('use_identity_as_username')) && isOn(own.get('use_subject_as_username')))
    refuseBoth(own.get('use_subject_as_username'), own.get('use_identity_as_username'))
  for (const [key, ...needed] of NEEDS) {
    const found = own.get(key)
    if (isOn(found) && !needed.some((other) => isOn(own.get(other)))) refuseWithout(found, ...needed)
  }
  const path = own.get('websockets_path')
  if (path !== undefined && own.get('protocol')?.value !== 'websockets')
    throw new StartError(`${path.origin}: needs ${nameLike(path.origin, 'protocol')} websockets too`)
}

const isOn = (given: Given | undefined): given is Given => given !== undefined && given.value !== false && given.value !== 'no'

function refuseBoth(one: Given | undefined, other: Given | undefined): void {
  if (one !== undefined && other !== undefined)
    throw new StartError(`${one.origin}: excludes ${other.origin}; leave one of them out`)
}

function refuseWithout({ origin }: Given, ...keys: OptionKey[]): never {
  throw new StartError(`${origin}: needs ${keys.map((key) => nameLike(origin, key)).join(' or ')} too`)
}

/**
 * Returns the name of `key` in the notation of `origin`: a flag, a key of the file, or one of a program, in an entry of its
 * `listeners` or `snListeners`.
 */
function nameLike(origin: string, key: OptionKey): string {
  if (origin.startsWith('--')) return flagOf(key)
  const inEntry = /(sn_l|snL)isteners\[/.test(origin) ? snEntryKey(key) : key
  return origin.includes(': ') ? inEntry : nameOf(inEntry)
}

/**
 * Returns the role of client certificates on a listener that takes user names from them (`use_identity_as_username`,
 * `use_subject_as_username`); 'none' for other listeners. 'needed': a client without a certificate is refused, as in
 * Mosquitto. 'enough': a client without one may authenticate by other means. This is the case with
 * `require_certificate: optional`, and behind a proxy that terminates TLS.
 */
export function certificateRole(listener: CertificateSettings): 'none' | 'enough' | 'needed' {
  if (!listener.useIdentityAsUsername && !listener.useSubjectAsUsername) return 'none'
  const endsTls = listener.certfile !== undefined
  return endsTls && listener.requireCertificate !== 'optional' ? 'needed' : 'enough'
}

export type CertificateSettings = Pick<
  ListenerSettings,
  'useIdentityAsUsername' | 'useSubjectAsUsername' | 'certfile' | 'requireCertificate'
>

/** Returns whether a way to authenticate clients is configured. An `acl_file` alone is none. */
export const authenticates = (
  access: Pick<Settings, 'passwordFile' | 'jwtSecretFile' | 'jwtPublicKeyFile' | 'jwtJwks' | 'httpAuthUrl'> &
    Pick<ListenerConfig, 'loginHook'>,
): boolean =>
  access.passwordFile !== undefined || access.httpAuthUrl !== undefined || access.loginHook === true || verifiesTokens(access)

const verifiesTokens = (access: Pick<Settings, 'jwtSecretFile' | 'jwtPublicKeyFile' | 'jwtJwks'>): boolean =>
  (access.jwtSecretFile ?? access.jwtPublicKeyFile ?? access.jwtJwks) !== undefined

/**
 * Refuses rules for tokens without a key to verify tokens, and a timeout for an HTTP service that is not configured:
 * both would look like protection without being any.
 */
function refuseIdle(merged: Layer, entries: readonly ListenerLayer[], listeners: readonly ListenerConfig[]): void {
  for (const layer of [merged, ...entries.map(({ own }) => own)]) {
    const rule = layer.get('jwt_issuer') ?? layer.get('jwt_audience') ?? layer.get('jwt_username_claim')
    if (rule !== undefined && !listeners.some(verifiesTokens))
      refuseWithout(rule, 'jwt_secret_file', 'jwt_public_key_file', 'jwt_jwks')
    const timeout = layer.get('http_auth_timeout_seconds')
    if (timeout !== undefined && !listeners.some(({ httpAuthUrl }) => httpAuthUrl !== undefined))
      refuseWithout(timeout, 'http_auth_url')
  }
}

/** Options of the HTTP service, but the one that switches it off. */
const HTTP_KEYS = (Object.keys(HTTP_OPTIONS) as (keyof typeof HTTP_OPTIONS)[]).filter((key) => key !== 'http')

/** Refuses options of an HTTP service that is switched off. A flag switches off what the file configures, too. */
function refuseIdleHttp(merged: Layer): void {
  const http = merged.get('http')
  if (http?.value !== false) return
  for (const key of HTTP_KEYS) {
    const found = merged.get(key)
    if (found === undefined || (isFlag(http) && !isFlag(found))) continue
    throw new StartError(`${found.origin}: has no effect, because ${http.origin} is false; leave one of them out`)
  }
}

const isFlag = ({ origin }: Given): boolean => origin.startsWith('--')

/** Options of the HTTP service that require another one. */
const HTTP_NEEDS = [
  ['http_certfile', 'http_keyfile'],
  ['http_keyfile', 'http_certfile'],
  ['http_managers', 'http_password_file'],
] as const

/** Refuses an HTTP service that anyone on a network could use without a login. */
function refuseOpenHttp(merged: Layer): void {
  if (merged.get('http')?.value === false) return
  for (const [key, needed] of HTTP_NEEDS) {
    const found = merged.get(key)
    if (found !== undefined && !merged.has(needed)) refuseWithout(found, needed)
  }
  const host = merged.get('http_host')
  if (host === undefined || isLoopback(String(host.value))) return
  if (merged.has('http_password_file') || merged.has('http_token_file')) return
  const file = nameLike(host.origin, 'http_password_file')
  throw new StartError(
    `${host.origin}: ${host.value} is not loopback, so anyone who can reach it could see clients and their messages: add ${file}`,
  )
}

const snOptions = options.filter(({ snListener }) => snListener !== undefined)
/** Options that only serial devices have, and options that only UDP ports have. */
const ONLY_SERIAL = ['sn_baud_rate', 'sn_framing'] as const
const ONLY_UDP = ['sn_host', 'sn_port', 'multicast_group', 'multicast_port', 'multicast_interface'] as const

/**
 * Returns the MQTT-SN ports. Those in `sn_listeners` replace the port configured by flags, unless its address, port or
 * device is set.
 */
function resolveSnListeners(
  merged: Layer,
  entries: readonly ListenerLayer[],
  settings: Pick<Settings, 'allowAnonymous'> & Parameters<typeof authenticates>[0],
  hasHooks: boolean,
): SnListenerConfig[] {
  const own = snOptions.flatMap(({ key }) => (merged.has(key) ? [[key, merged.get(key)!] as const] : []))
  const byDefault = {
    origin: merged.has('sn_device') ? '--sn-device' : '--sn-host, --sn-port',
    name: undefined,
    own: new Map(own),
  }
  const wanted = entries.length === 0 || merged.has('sn_host') || merged.has('sn_port') || merged.has('sn_device')
  const orphan = snOptions.find(({ key, snListener }) => snListener === 'own' && merged.has(key))
  if (!wanted && orphan !== undefined) {
    const { origin } = merged.get(orphan.key)!
    throw new StartError(`${origin}: applies to the default port, which sn_listeners replaces: move it there, or set sn_port too`)
  }
  const names = new Set<string>(wanted ? ['sn'] : [])
  const listeners = entries.map((entry) => resolveSnListener(entry, merged, names))
  if (wanted) listeners.unshift({ ...snSettings(byDefault.own), name: 'sn', origin: byDefault.origin })
  for (const [i, listener] of listeners.entries()) {
    const layer = [...(wanted ? [byDefault] : []), ...entries][i]!.own
    refuseWrongKind(layer, listener)
    refuseTooLittleAirtime(layer.get('sn_duty_cycle') ?? merged.get('sn_duty_cycle'), listener)
    const host = layer.get('sn_host')
    if (host === undefined || isLoopback(String(host.value)) || settings.allowAnonymous || authenticates(settings)) continue
    if (!hasHooks) refuseUnprotected(host)
    listeners[i] = { ...listener, unprotected: host }
  }
  refuseSamePlace(listeners)
  return listeners
}

function resolveSnListener({ origin, name, own }: ListenerLayer, merged: Layer, names: Set<string>): SnListenerConfig {
  const inherited = snOptions.flatMap(({ key, snListener }) =>
    snListener === 'inherits' && merged.has(key) ? [[key, merged.get(key)!] as const] : [],
  )
  const settings = snSettings(new Map([...inherited, ...own]))
  if (name !== undefined && names.has(String(name.value)))
    throw new StartError(`${name.origin}: ${String(name.value)} is already the name of another port`)
  const device = settings.device?.replace(/^.*\//, '').replaceAll(/[^\w.-]/g, '-')
  const wanted = name === undefined ? `sn-${device ?? settings.port}` : String(name.value)
  let unique = wanted
  for (let count = 2; names.has(unique); count++) unique = `${wanted}-${count}`
  names.add(unique)
  return { ...settings, name: unique, origin }
}

const snSettings = (layer: Layer): SnListenerSettings =>
  Object.fromEntries(
    Object.entries(valuesOf(snOptions, layer)).map(([name, value]) => [
      name.replace(/^sn([A-Z])/, (_, letter: string) => letter.toLowerCase()),
      value,
    ]),
  ) as unknown as SnListenerSettings

/** Refuses options of the other kind of port, which would be ignored silently. */
function refuseWrongKind(own: Layer, { device }: SnListenerSettings): void {
  const wrong = (device === undefined ? ONLY_SERIAL : ONLY_UDP).map((key) => own.get(key)).find((found) => found !== undefined)
  if (wrong !== undefined)
    throw new StartError(
      `${wrong.origin}: ${device === undefined ? 'applies to serial devices only' : 'applies to UDP ports only'}`,
    )
}

function refuseTooLittleAirtime(duty: Given | undefined, { dutyCycle, bytesPerSecond, maxFrame }: SnListenerSettings): void {
  if (duty === undefined || dutyCycle === 100) return
  if (!Number.isFinite(bytesPerSecond)) refuseWithout(duty, 'sn_bytes_per_second')
  // A tenth of an hour's airtime is reserved for acknowledgements.
  if (maxFrame > bytesPerSecond * 36 * dutyCycle * 0.9)
    throw new StartError(`${duty.origin}: the airtime of an hour is too short for a frame of ${maxFrame} bytes: lower max_frame`)
}

function refuseSamePlace(listeners: readonly SnListenerConfig[]): void {
  const places = new Map<string, string>()
  for (const { device, host, port, name, origin } of listeners) {
    const place = device ?? (port === 0 ? name : `${host.toLowerCase()} port ${port}`)
    if (places.has(place)) throw new StartError(`${origin}: listens on ${place}, as ${places.get(place)} does`)
    places.set(place, origin)
  }
}

/**
 * Refuses an address that is not loopback if clients need not authenticate, so that a broker without passwords is not
 * exposed to a network by accident.
 */
export function refuseUnprotected({ value, origin }: Given): never {
  const file = nameLike(origin, 'password_file')
  const anonymous = `${nameLike(origin, 'allow_anonymous')}${origin.startsWith('--') ? '' : ': true'}`
  throw new StartError(
    `${origin}: ${value} is not loopback, so anyone who can reach it could connect without a password: to allow that, add ${anonymous}; to prevent it, add ${file}`,
  )
}

/**
 * Returns whether sensors, which have no passwords, may connect without a user (ruling A31): true if clients need not
 * authenticate.
 */
export const sensorsAreOpen = (config: Config): boolean => config.allowAnonymous ?? !authenticates(config)

/** Returns whether an address can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return /^(localhost|::1|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.test(host)
}

/** The configuration that results if no flag is given and no file is read. */
export const DEFAULT_CONFIG: Config = { ...resolveConfig(new Map(), new Map()), predefinedTopics: [], filters: [] }
