import { didYouMean } from '../base/nearest.ts'
import { StartError } from '../base/start-error.ts'
import { patternError } from '../upstream/sensors/naming.ts'
import type { Target } from '../upstream/target.ts'
import { placed, snake, type WrittenPair } from './bridges.ts'
import { type Given, given, inWords, isLoopback, type ListenerConfig } from './config.ts'
import { UPSTREAM_OPTIONS, type UpstreamConfig, type UpstreamKey, type UpstreamValues, upstreamKeys } from './options/upstream.ts'
import { nameOf } from './options.ts'
import { refuseWithout, resolveTargets, restartTimeout } from './targets.ts'

/** `upstream` as written in a file or given by a program. Its targets may come from flags. */
export interface UpstreamSection {
  readonly origin: string
  readonly values: ReadonlyMap<UpstreamKey, Given>
}

/** Checks the keys of `upstream`, one by one. @throws StartError */
export function upstreamSection(at: string, pairs: readonly WrittenPair[]): UpstreamSection {
  const values = new Map<UpstreamKey, Given>()
  for (const pair of pairs) {
    const key = snake(pair.key)
    if (!isUpstreamKey(key)) throw new StartError(`${placed(pair.keyAt, `upstream.${pair.key}`)}: ${whyUnknown(key)}`)
    if (values.has(key)) throw new StartError(`${placed(pair.keyAt, `upstream.${pair.key}`)}: is there twice`)
    values.set(key, upstreamValue(key, pair))
  }
  refuseWithout(values, NEEDS)
  const restart = values.get('restart_timeout')
  if (restart !== undefined) restartTimeout(String(restart.value), restart.origin)
  for (const key of ['client_id', 'username'] as const) refuseBadPattern(values.get(key))
  const clientId = values.get('client_id')
  if (clientId !== undefined && !String(clientId.value).replaceAll('%%', '').includes('%c'))
    throw new StartError(`${clientId.origin}: expected %c in it, because each sensor needs a client id of its own`)
  return { origin: placed(at, 'upstream'), values }
}

const isUpstreamKey = (key: string): key is UpstreamKey => Object.hasOwn(UPSTREAM_OPTIONS, key)

/** Keys that exist elsewhere for what somebody may look for here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  password: 'passwords do not belong in a configuration: use password_file',
  address: 'is called targets here',
  addresses: 'is called targets here',
  session_expiry_interval: 'is persistent_client_expiration, which applies to sensors here and at the cluster',
}

const whyUnknown = (key: string): string =>
  (Object.hasOwn(ELSEWHERE, key) ? ELSEWHERE[key] : undefined) ?? `unknown key${didYouMean(key, upstreamKeys)}`

function upstreamValue(key: UpstreamKey, { key: name, plain, at, items }: WrittenPair): Given {
  const value = key === 'targets' && items !== undefined ? items.map((item) => item.plain) : plain
  const origin = placed(at, `upstream.${name}`)
  // User names may look like numbers.
  const isText = typeof value === 'number' && (key === 'username' || key === 'restart_timeout')
  return given(UPSTREAM_OPTIONS[key], isText ? String(value) : value, origin)
}

const NEEDS: readonly (readonly [UpstreamKey, ...UpstreamKey[]])[] = [
  ['certfile', 'keyfile'],
  ['keyfile', 'certfile'],
  ['password_file', 'username'],
]

function refuseBadPattern(pattern: Given | undefined): void {
  const wrong = pattern && patternError(String(pattern.value))
  if (wrong !== undefined) throw new StartError(`${pattern!.origin}: ${wrong}`)
}

/**
 * Completes `upstream`: `targets` are those of flags, or of the section. `listeners`: one of them as a target would be a circle.
 * @throws StartError
 */
export function resolveUpstream(
  section: UpstreamSection | undefined,
  targets: Given | undefined,
  listeners: readonly ListenerConfig[],
): UpstreamConfig | undefined {
  if (section === undefined && targets === undefined) return undefined
  const values = section?.values ?? new Map<UpstreamKey, Given>()
  const found = targets ?? values.get('targets')
  if (found === undefined) throw new StartError(`${section!.origin}: expected targets, got none`)
  const settings = Object.fromEntries(
    upstreamKeys.map((key) => [nameOf(key), values.has(key) ? values.get(key)!.value : UPSTREAM_OPTIONS[key].default]),
  ) as unknown as UpstreamValues
  const upstream = {
    ...settings,
    targets: found.value as UpstreamValues['targets'],
    origin: section?.origin ?? found.origin,
    targetsOrigin: found.origin,
  }
  for (const { url, host, port } of upstreamTargets(upstream)) {
    const own = listeners.find((each) => each.socketPath === undefined && each.port === port && isSame(each.host, host))
    if (own !== undefined)
      throw new StartError(`${found.origin}: ${url} is a listener of this Roost itself (${own.origin}): change one of them`)
  }
  return upstream
}

const isSame = (listening: string, host: string): boolean =>
  listening === host || (isLoopback(host) && (isLoopback(listening) || ANY_ADDRESS.includes(listening)))

const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::']

/** Returns the nodes of the cluster. @throws StartError */
export const upstreamTargets = ({ targets, ...values }: UpstreamValues & { readonly targetsOrigin: string }): Target[] =>
  resolveTargets({ ...values, addresses: targets, protocol: 'mqtt' }, values.targetsOrigin)

/** Returns `upstream` of a program, whose keys may be written either way. @throws StartError */
export function upstreamOfObject(plain: unknown): UpstreamSection {
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain))
    throw new StartError(`upstream: expected an object, got ${inWords(plain)}`)
  const pairs = Object.entries(plain).filter(([, value]) => value !== undefined)
  const itemsOf = (value: unknown): WrittenPair['items'] =>
    Array.isArray(value) ? value.map((item: unknown) => ({ plain: item, at: '', pairs: undefined })) : undefined
  return upstreamSection(
    '',
    pairs.map(([key, value]) => ({ key, keyAt: '', plain: value as unknown, at: '', items: itemsOf(value) })),
  )
}
