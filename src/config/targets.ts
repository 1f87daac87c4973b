import { StartError } from '../base/start-error.ts'
import { parseTarget, type Target, type TlsClientOptions } from '../upstream/target.ts'
import type { Given } from './config.ts'
import type { BridgeValues } from './options/bridges.ts'

/** What a bridge or `upstream` says about how its far side is dialled. */
export type TargetValues = Pick<
  BridgeValues,
  'addresses' | 'protocol' | 'bindAddress' | 'cafile' | 'capath' | 'certfile' | 'keyfile' | 'alpn' | 'insecure' | 'tlsVersion'
>

/** TLS keys, one of which makes an address that is not a URL use TLS. */
const TLS_KEYS = ['cafile', 'capath', 'certfile', 'keyfile', 'alpn'] as const

/** Returns the addresses of a far side. @throws StartError that begins with `origin` */
export function resolveTargets(values: TargetValues, origin: string): Target[] {
  const tls: TlsClientOptions = Object.fromEntries(
    ([...TLS_KEYS, 'insecure', 'tlsVersion'] as const).flatMap((key) => (values[key] === undefined ? [] : [[key, values[key]]])),
  )
  const isSecure = TLS_KEYS.some((key) => values[key] !== undefined) || values.insecure
  const targets = values.addresses.map((written) => {
    const target = parseTarget(asUrl(written, values.protocol, isSecure), tls)
    if (typeof target === 'string') throw new StartError(`${origin}: ${target}`)
    return values.bindAddress === undefined ? target : { ...target, localAddress: values.bindAddress }
  })
  const plain = targets.find((target) => target.tls === undefined)
  if (isSecure && plain !== undefined)
    throw new StartError(`${origin}: ${plain.url} does not use TLS, but there are keys for TLS: write mqtts:// or wss://`)
  return targets
}

/** `host`, `host:1883`, `[::1]:1883` and `::1` as in mosquitto.conf. */
function asUrl(written: string, protocol: BridgeValues['protocol'], isSecure: boolean): string {
  if (written.includes('://')) return written
  const isBareIpv6 = /^[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*$/i.test(written)
  const host = isBareIpv6 ? `[${written}]` : written
  const hasPort = /[^:\]]:\d+$|\]:\d+$/.test(host)
  const authority = hasPort ? host : `${host}:1883`
  if (protocol === 'websockets') return `${isSecure ? 'wss' : 'ws'}://${authority}/mqtt`
  return `${isSecure ? 'mqtts' : 'mqtt'}://${authority}`
}

/** Refuses keys without one that they need. @throws StartError */
export function refuseWithout<K extends string>(values: ReadonlyMap<K, Given>, needs: readonly (readonly [K, ...K[]])[]): void {
  for (const [key, ...needed] of needs) {
    const found = values.get(key)
    if (found !== undefined && !needed.some((other) => values.has(other)))
      throw new StartError(`${found.origin}: needs ${needed.join(' or ')} too`)
  }
}

/** Base and cap of `restart_timeout`, in seconds. @throws StartError that begins with `origin` */
export function restartTimeout(written: string, origin: string): { readonly base: number; readonly cap: number } {
  const [base = 0, cap = base] = written.split(/ +/).map(Number)
  if (base < 1 || cap < base) throw new StartError(`${origin}: expected at least 1, and a cap that is not below the base`)
  return { base, cap }
}
