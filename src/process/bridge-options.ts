import { hostname } from 'node:os'
import type { Config } from '../config/config.ts'
import type { BridgeConfig } from '../config/options/bridges.ts'
import { resolveTargets, restartTimeout } from '../config/targets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { ProtocolVersion } from '../mqtt/publish.ts'
import type { BridgeOptions } from '../upstream/bridge-options.ts'
import { firstLineOf } from './password-line.ts'

const VERSIONS: Readonly<Record<BridgeConfig['protocolVersion'], ProtocolVersion | 'auto'>> = {
  auto: 'auto',
  mqttv50: 5,
  mqttv311: 4,
  mqttv31: 3,
}

/** From the dial to CONNACK. */
const CONNECT_TIMEOUT_MS = 30_000

/** The Session Expiry Interval of a session that ends with its connection needs no property. */
const expiry = ({ cleansession, sessionExpiryInterval }: BridgeConfig) =>
  cleansession || sessionExpiryInterval === 0 ? NO_PROPERTIES : { sessionExpiryInterval }

/** Converts a bridge to the units and the structure of the core. Reads its password file. @throws StartError */
export function bridgeOptions(config: Pick<Config, 'maxPacketSize'>, bridge: BridgeConfig): BridgeOptions {
  const { name, cleansession, remoteClientid = `${hostname()}.${name}`, localClientid = `bridge:${name}` } = bridge
  const password =
    bridge.passwordFile === undefined ? bridge.remotePassword : firstLineOf(bridge.passwordFile, `${bridge.origin}.password_file`)
  const { base, cap } = restartTimeout(bridge.restartTimeout, bridge.origin)
  return {
    name,
    topics: bridge.topics,
    targets: {
      addresses: resolveTargets(bridge, `${bridge.origin}.addresses`),
      roundRobin: bridge.roundRobin,
      version: VERSIONS[bridge.protocolVersion],
      backoff: { baseMs: base * 1000, maxMs: cap * 1000 },
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
    },
    startType: bridge.startType,
    idleTimeoutMs: bridge.idleTimeout * 1000,
    threshold: bridge.threshold,
    localClientId: localClientid,
    localCleanSession: bridge.localCleansession ?? cleansession,
    connect: {
      bridge: bridge.tryPrivate,
      clientId: remoteClientid,
      cleanStart: cleansession,
      keepAlive: bridge.keepaliveInterval,
      username: bridge.remoteUsername,
      password: password === undefined ? undefined : new TextEncoder().encode(password),
      properties: expiry(bridge),
    },
    notificationTopic: bridge.notifications
      ? (bridge.notificationTopic ?? `$SYS/broker/connection/${remoteClientid}/state`)
      : undefined,
    notifiesRemotely: bridge.notifications && !bridge.notificationsLocalOnly,
    outgoingRetain: bridge.outgoingRetain,
    attemptUnsubscribe: bridge.attemptUnsubscribe,
    window: bridge.receiveMaximum,
    maxPacketSize: bridge.maxPacketSize ?? config.maxPacketSize,
  }
}
