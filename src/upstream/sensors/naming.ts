import { type Connect, PacketType, type Will } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import type { ProtocolVersion } from '../../mqtt/publish.ts'
import type { SensorUpstreamOptions } from './options.ts'

/** What the letters of a pattern stand for. */
export interface PatternValues {
  /** `%c`: the sensor's client id. */
  readonly c: string
  /** `%g`: the gateway id. */
  readonly g: number
  /** `%u`: the user as whom the sensor connects; nothing if it is anonymous. */
  readonly u: string | undefined
}

const PLACEHOLDER = /%(.?)/gsu

/** Returns what is wrong with a pattern, as a text that follows the name of an option. */
export function patternError(pattern: string): string | undefined {
  for (const [placeholder, letter = ''] of pattern.matchAll(PLACEHOLDER)) {
    if (letter === '') return 'ends with %: write %% for a percent sign'
    if (!'cgu%'.includes(letter))
      return `${placeholder} has no meaning: there are %c (client id), %g (gateway id), %u (user) and %%`
  }
  return undefined
}

/** Fills in a pattern, in a single pass: a `%` within a value stays as it is. */
export const filledIn = (pattern: string, values: PatternValues): string =>
  pattern.includes('%')
    ? pattern.replaceAll(PLACEHOLDER, (_, letter: string) =>
        letter === '%' ? '%' : String(values[letter as keyof PatternValues] ?? ''),
      )
    : pattern

/** The CONNECT with which a sensor begins a session at the cluster that ends with its stream, and has no will. */
export function clusterConnect(options: SensorUpstreamOptions, clientId: string, user: string | undefined): Connect {
  const { gatewayId, username, password, keepAliveSeconds } = options
  const values = { c: clientId, g: gatewayId, u: user }
  return {
    type: PacketType.CONNECT,
    protocolVersion: 5,
    bridge: false,
    clientId: filledIn(options.clientId, values),
    cleanStart: true,
    keepAlive: keepAliveSeconds,
    will: undefined,
    username: username === undefined ? undefined : filledIn(username, values),
    password: password === undefined ? undefined : new TextEncoder().encode(filledIn(password, values)),
    properties: NO_PROPERTIES,
  }
}

/** The will that the cluster gets in CONNECT; undefined if the gateway publishes it. */
export function willAtCluster(
  { wills, willDelaySeconds, sleepers }: SensorUpstreamOptions,
  will: Will | undefined,
  version: ProtocolVersion,
): Will | undefined {
  // Parking sends DISCONNECT, which deletes the will at the cluster.
  const isTheirs = wills === 'upstream' || (wills === 'auto' && version === 5 && sleepers === 'keep')
  return will === undefined || !isTheirs ? undefined : { ...will, properties: { willDelayInterval: willDelaySeconds } }
}
