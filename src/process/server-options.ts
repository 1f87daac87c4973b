import { COST } from '../base/memory-costs.ts'
import { type Config, type ListenerConfig, sensorsAreOpen } from '../config/config.ts'
import { FIXED } from '../config/fixed.ts'
import { openSensorUsers } from '../config/io/sensor-users.ts'
import type { SensorUsers } from '../gateway/gateway-options.ts'
import type { Bans, ListenerLimits } from '../mqtt/connection-limits.ts'
import { FILTERS_MAX } from '../mqtt/decode.ts'
import type { QoS } from '../mqtt/publish.ts'
import { MESSAGE_BYTES_MAX } from '../mqttsn/encode.ts'
import type { ServerOptions } from '../server.ts'
import { bridgeOptions } from './bridge-options.ts'
import { corePort } from './sn-ports.ts'
import { upstreamOptions } from './upstream-options.ts'

function listenerLimits(listener: ListenerConfig): ListenerLimits {
  const { maximumQos, clientidPrefixes, autoIdPrefix, allowZeroLengthClientid, maxTopicAlias, mountPoint, certfile, protocol } =
    listener
  return {
    maximumQos: maximumQos as QoS,
    clientIdPrefix: clientidPrefixes ?? '',
    autoIdPrefix,
    allowZeroLengthClientid,
    topicAliasMaximum: maxTopicAlias,
    streamBytes: COST.connection + (certfile === undefined ? 0 : COST.tls) + (protocol === 'websockets' ? COST.webSocket : 0),
    mountPoint: mountPoint ?? '',
  }
}

/** Where presence is published for Home Assistant, unless `presence_topic` says otherwise. */
const PRESENCE_TOPIC = 'roost/sensors/%c'

/** Converts the configuration to the units and the structure of the core. */
export function serverOptions(
  config: Config,
  users: SensorUsers = openSensorUsers(config),
  bans?: Bans,
): Pick<
  ServerOptions,
  'broker' | 'connections' | 'gateway' | 'sysInterval' | 'presence' | 'sensorFigures' | 'bridges' | 'sensors'
> {
  return {
    bridges: config.bridges.map((bridge) => bridgeOptions(config, bridge)),
    ...(config.upstream !== undefined && { sensors: upstreamOptions(config, config.upstream) }),
    sensorFigures: config.http,
    sysInterval: Number.isFinite(config.sysInterval) ? config.sysInterval : 0,
    presence: {
      topic: config.presenceTopic ?? (config.homeAssistantDiscovery === undefined ? undefined : PRESENCE_TOPIC),
      discoveryPrefix: config.homeAssistantDiscovery,
    },
    broker: {
      ...config,
      receiveMaximum: FIXED.receive_maximum.value,
      maxConditionsPerSession: FIXED.max_conditions_per_session.value,
      maxRetainedLookupsPerSecond: FIXED.max_retained_lookups_per_second.value,
    },
    connections: {
      maxPacketSize: config.maxPacketSize,
      maxSubscribePacketSize: FIXED.max_subscribe_packet_size.value,
      maxReceiveBufferBytes: config.maxReceiveBufferBytes,
      maxConnectPacketSize: config.maxConnectPacketSize,
      connectTimeoutMs: config.connectTimeoutSeconds * 1000,
      maxConnections: config.maxConnections,
      maxConnectionsPerAddress: config.maxConnectionsPerAddress,
      maxKeepAlive: config.maxKeepalive,
      maxTopicAliasBytes: FIXED.max_topic_alias_bytes.value,
      maxUserProperties: config.maxUserProperties,
      maxPropertyBytes: config.maxPropertyBytes,
      maxFilters: Math.max(FILTERS_MAX, config.maxSubscriptionsPerSession),
      maxPublishRate: config.maxPublishRate,
      ...(bans !== undefined && { bans }),
      listeners: new Map(config.listeners.map((listener) => [listener.name, listenerLimits(listener)])),
    },
    gateway: {
      gatewayId: config.gatewayId,
      tRetryMs: config.tRetry * 1000,
      nRetry: config.nRetry,
      sessionExpirySeconds: config.persistentClientExpiration,
      maxSessions: Number.isFinite(config.maxSnSessions) ? config.maxSnSessions : config.maxSessions,
      maxSessionsKey: Number.isFinite(config.maxSnSessions) ? 'max_sn_sessions' : 'max_sessions',
      maxIdleMs: Number.isFinite(config.maxSnIdleSeconds) ? config.maxSnIdleSeconds * 1000 : 0,
      topicsPerClient: config.maxSnTopicsPerClient,
      topicIds: config.gatewayTopicIds,
      maxTopicLevels: config.maxTopicLevels,
      tWaitMs: FIXED.t_wait.value * 1000,
      maxClientIdLength: config.maxSnClientIdLength,
      inflightMessages: config.snInflightMessages,
      uplinkMessages: config.snUplinkMessages,
      sleepMargin: config.sleepMargin,
      wakeMessages: config.wakeMessages,
      wakeBytes: config.wakeBytes,
      roam: config.roam,
      register: config.register,
      strictSleep: config.strictSleep,
      unanswered: config.snUnanswered,
      qosM1InlineTopic: config.qosM1InlineTopic,
      forwarders: config.forwarders ?? sensorsAreOpen(config),
      users,
      qos2HoldDownMs: FIXED.qos2_hold_down_seconds.value * 1000,
      unknownSenderPerSecond: FIXED.unknown_sender_replies_per_second.value,
      predefinedTopics: config.predefinedTopics,
      maxDatagram: MESSAGE_BYTES_MAX,
      ports: config.snListeners.map(corePort),
      trustedNetworks: config.trustedNetworks,
      gatewayNetworks: config.gatewayNetworks,
      maxUnprovenAddresses: config.maxSnUnprovenAddresses,
      maxUnprovenSessions: config.maxSnUnprovenSessions,
      unprovenPerSecond: FIXED.unproven_messages_per_second.value,
    },
  }
}
