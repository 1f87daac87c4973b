import { loadAcl } from '../access/io/access-files.ts'
import {
  authenticates,
  type Config,
  isLoopback,
  type ListenerConfig,
  type SnListenerConfig,
  sensorsAreOpen,
} from '../config/config.ts'
import { readSensorRules } from '../config/io/sensor-users.ts'
import type { BridgeConfig } from '../config/options/bridges.ts'
import { resolveTargets } from '../config/targets.ts'
import { upstreamTargets } from '../config/upstream.ts'
import { type Bound, memoryLimits, processBound } from './memory-limit.ts'

/**
 * Returns the risks in the threat model of docs/security.md that this configuration leaves open, one line each, which
 * begins with the listener and ends with the option that addresses the risk. These are decisions of the site, not
 * errors: a test setup on a desk needs none of the options. The files named by the configuration must have been read
 * without an error.
 */
export function openPoints(config: Config, bound: Bound = processBound()): readonly string[] {
  const { warning } = memoryLimits(config, bound)
  return [
    ...config.listeners.flatMap((listener) => ofListener(config, listener).map((what) => `${listener.name}: ${what}`)),
    ...config.snListeners.flatMap((listener) => ofSensors(config, listener).map((what) => `${listener.name}: ${what}`)),
    ...config.bridges.flatMap((bridge) => ofBridge(bridge).map((what) => `bridge ${bridge.name}: ${what}`)),
    ...ofUpstream(config).map((what) => `upstream: ${what}`),
    ...ofAll(config),
    ...ofHttp(config).map((what) => `http: ${what}`),
    ...(warning === undefined ? [] : [warning]),
  ]
}

function ofListener(config: Config, listener: ListenerConfig): string[] {
  const { allowAnonymous, aclFile, certfile, host, protocol, proxyProtocol, requireCertificate, socketMode, socketPath } =
    listener
  const { websocketsOrigin } = listener
  const isPublic = socketPath === undefined && !isLoopback(host)
  const points: string[] = []
  if (allowAnonymous && isPublic) points.push('any client that can reach it may connect without a password (allow_anonymous)')
  else if (allowAnonymous && socketPath === undefined)
    points.push('every user of this machine may connect without a password (password_file, or socket_path with socket_mode)')
  else if (allowAnonymous && (socketMode & WRITABLE_BY_OTHERS) !== 0)
    points.push('every user of this machine may connect without a password (socket_mode: "0660", or password_file)')
  if (isPublic && certfile === undefined && !proxyProtocol) {
    const secrets = authenticates(listener) ? 'passwords and messages' : 'messages'
    points.push(`${secrets} can be read and changed on the way, because it does not use TLS (certfile, keyfile)`)
  }
  if (isPublic && certfile !== undefined && requireCertificate === 'no' && !authenticates(listener) && !allowAnonymous)
    points.push('no client needs a certificate (require_certificate)')
  if (isPublic && aclFile === undefined) points.push('every client may read and publish everything (acl_file)')
  if (isPublic && aclFile !== undefined) points.push(...ofAcl(aclFile, allowAnonymous))
  if (isPublic && authenticates(listener) && (config.clientidFile ?? listener.clientidPrefixes) === undefined)
    points.push('a client id belongs to the first user who connects with it (clientid_file, clientid_prefixes)')
  if (isPublic && proxyProtocol)
    points.push('anyone who can reach it can claim any address in a PROXY header (host: a loopback address, or a firewall)')
  if (protocol === 'websockets' && allowAnonymous && websocketsOrigin.some(({ host: page }) => page === '*'))
    points.push('every web page that a user of this network opens may connect (websockets_origin)')
  if (isPublic && config.maxConnectionsPerAddress >= listener.maxConnections)
    points.push('one address can take all connections (max_connections_per_address)')
  return points
}

function ofAcl(aclFile: string, allowAnonymous: boolean): string[] {
  const acl = loadAcl(aclFile)
  if (acl.permitsAll('everyone')) return ['every client may read and publish everything (acl_file: pattern readwrite #)']
  if (allowAnonymous && acl.permitsAll('anonymous'))
    return ['clients without a user name may read and publish everything (acl_file: topic readwrite #)']
  return []
}

function ofSensors(config: Config, { device, host, standby }: SnListenerConfig): string[] {
  if (device !== undefined || isLoopback(host)) return []
  const points: string[] = []
  if (sensorsAreOpen(config)) points.push('anyone who can reach it may connect as any sensor (password_file, then sn_users)')
  else if (config.snUsers === undefined && config.snUsername !== undefined)
    points.push(
      'anyone who knows the client id of a sensor can connect as that sensor, from any address (sn_users with networks)',
    )
  else if (readSensorRules(config).some(({ networks, user }) => user !== 'deny' && networks === undefined))
    points.push(
      'anyone who knows the client id of a sensor can connect as that sensor, from any address (networks in each rule of sn_users)',
    )
  if (config.roam === 'anywhere')
    points.push('anyone who knows the client id of a sleeping sensor can get its messages, at any address (roam: asleep)')
  points.push('datagrams can be read and changed on the way, because MQTT-SN 1.2 has no encryption (a separate network)')
  if (config.trustedNetworks.length > 0)
    points.push('forged addresses in trusted networks are answered without validation (trusted_networks, as small as possible)')
  if (standby && config.gatewayNetworks.length === 0)
    points.push('any address of trusted_networks can silence a gateway on standby (gateway_networks)')
  return points
}

function ofBridge(bridge: BridgeConfig): string[] {
  const points: string[] = []
  const targets = resolveTargets(bridge, bridge.origin)
  const plain = targets.find(({ tls, host }) => tls === undefined && !isLoopback(host))
  if (plain !== undefined) {
    const secrets = bridge.remoteUsername === undefined ? 'messages' : 'password and messages'
    points.push(`${secrets} can be read and changed on the way to ${plain.url}, which does not use TLS (mqtts://, cafile)`)
  }
  if (bridge.insecure && targets.some(({ tls }) => tls !== undefined))
    points.push('any broker with a certificate of a known CA can pass for the remote one (insecure: false)')
  if (bridge.remotePassword !== undefined) points.push('its password is in the configuration file (password_file)')
  return points
}

function ofUpstream({ upstream }: Config): string[] {
  if (upstream === undefined) return []
  const points: string[] = []
  const targets = upstreamTargets(upstream)
  const plain = targets.find(({ tls, host }) => tls === undefined && !isLoopback(host))
  if (plain !== undefined) {
    const secrets = upstream.username === undefined ? 'messages' : 'passwords and messages'
    points.push(`${secrets} can be read and changed on the way to ${plain.url}, which does not use TLS (mqtts://, cafile)`)
  }
  if (upstream.insecure && targets.some(({ tls }) => tls !== undefined))
    points.push('any broker with a certificate of a known CA can pass for a node of the cluster (insecure: false)')
  return points
}

function ofAll(config: Config): string[] {
  const { banAfter, httpAuthUrl, jwtJwks, listeners, sessionOwnership } = config
  const points: string[] = []
  const verifying = listeners.filter(authenticates)
  if (!(banAfter > 0 && Number.isFinite(banAfter)) && verifying.length > 0)
    points.push('passwords can be guessed without limit (ban_after)')
  if (!sessionOwnership && verifying.length > 0)
    points.push('anyone who knows a client id can take over its session, as any user (session_ownership)')
  const services = new Set([httpAuthUrl, jwtJwks, ...listeners.flatMap((each) => [each.httpAuthUrl, each.jwtJwks])])
  for (const url of services) {
    if (url === undefined || !isPlainHttpElsewhere(url)) continue
    points.push(`requests to ${new URL(url).host} can be read and changed on the way (https: in http_auth_url and jwt_jwks)`)
  }
  return points
}

function ofHttp({ http, httpHost, httpPasswordFile, httpTokenFile, httpCertfile }: Config): string[] {
  if (!http) return []
  if ((httpPasswordFile ?? httpTokenFile) === undefined)
    return ['every user of this machine may see clients and figures (http_password_file, or http: false)']
  if (isLoopback(httpHost) || httpCertfile !== undefined) return []
  return ['passwords and tokens can be read on the way, because it does not use TLS (http_certfile, http_keyfile)']
}

/** Mode bit for others. Connecting to a Unix socket requires write permission for its file. */
const WRITABLE_BY_OTHERS = 0o002

function isPlainHttpElsewhere(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url?.protocol === 'http:' && !isLoopback(url.hostname.replace(/^\[|\]$/g, ''))
}
