import { StartError } from '../base/start-error.ts'
import type { Config } from '../config/config.ts'
import type { UpstreamConfig } from '../config/options/upstream.ts'
import { restartTimeout } from '../config/targets.ts'
import { upstreamTargets } from '../config/upstream.ts'
import type { QoS } from '../mqtt/publish.ts'
import { patternError } from '../upstream/sensors/naming.ts'
import type { SensorUpstreamOptions } from '../upstream/sensors/options.ts'
import { firstLineOf } from './password-line.ts'

const VERSIONS = { auto: 'auto', mqttv50: 5, mqttv311: 4 } as const

type Global = Pick<Config, 'gatewayId' | 'maxPacketSize' | 'persistentClientExpiration'>

/** Converts `upstream` to the units and the structure of the core. Reads its password file. @throws StartError */
export function upstreamOptions(config: Global, upstream: UpstreamConfig): SensorUpstreamOptions {
  const { base, cap } = restartTimeout(upstream.restartTimeout, upstream.origin)
  return {
    targets: {
      addresses: upstreamTargets(upstream),
      roundRobin: upstream.roundRobin,
      version: VERSIONS[upstream.protocolVersion],
      backoff: { baseMs: base * 1000, maxMs: cap * 1000 },
      connectTimeoutMs: upstream.connectTimeoutSeconds * 1000,
      maximumQos: upstream.maximumQos as QoS,
    },
    gatewayId: config.gatewayId,
    clientId: upstream.clientId,
    username: upstream.username,
    password: upstream.passwordFile === undefined ? undefined : passwordPattern(upstream, upstream.passwordFile),
    keepAliveSeconds: upstream.keepaliveInterval,
    sleepers: upstream.sleepers,
    quietMs: upstream.quietTimeMs,
    window: upstream.receiveMaximum,
    maxPacketSize: upstream.maxPacketSize ?? config.maxPacketSize,
    wills: upstream.wills,
    willDelaySeconds: upstream.willDelayInterval,
    heldMessages: upstream.maxHeldMessages,
    heldBytes: upstream.maxHeldBytes,
    sessionExpirySeconds: config.persistentClientExpiration,
    dialsPerSecond: upstream.dialsPerSecond,
  }
}

/** What is wrong with it is said without a word of it. */
function passwordPattern({ origin }: UpstreamConfig, path: string): string {
  const pattern = firstLineOf(path, `${origin}.password_file`)
  if (patternError(pattern) !== undefined)
    throw new StartError(
      `${origin}.password_file: the first line of ${path} has a % that is not part of %c, %g or %u: write %% for a percent sign`,
    )
  return pattern
}
