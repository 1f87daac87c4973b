import { utf8Length } from '../base/bytes.ts'
import { foreignProtocol } from '../base/foreign-protocol.ts'
import type { Instant } from '../base/machine.ts'
import type { Malformed } from '../base/malformed.ts'
import type { NoticeSink } from '../base/notice.ts'
import type { SnConnect } from '../mqttsn/messages.ts'
import type { GatewayClient } from './client/client.ts'
import type { GatewayOptions } from './gateway-options.ts'
import type { Ports } from './ports/ports.ts'
import type { RouteKey } from './ports/route.ts'
import { isSameNetwork, isWithinAny, nodeIdOf } from './ports/route.ts'
import { isQosM1ClientId } from './qos-m1.ts'

/** Returns the client's route, or its last one if another client now has that address. */
export const lastRoute = ({ route, formerRoute }: GatewayClient): RouteKey => (route === '' ? formerRoute : route)

/** Returns why a PINGREQ with this client id does not move the client to the route (ruling A7), or '' if it does. */
export function roamRefusal(client: GatewayClient, route: RouteKey, options: GatewayOptions): string {
  const { state, clientId, username } = client
  // An active client moves only by CONNECT; otherwise any sender could divert its messages.
  if (state !== 'asleep' && state !== 'awake') return `it does not sleep (${state}), and is only where it says CONNECT`
  if (!mayFollow(client, route, options)) return `it sleeps at ${lastRoute(client)}, and is not followed from there (roam)`
  const user = options.users.userOf(clientId, route)
  return user !== undefined && user.username === username ? '' : 'another user, or none, is let in from there (sn_users)'
}

/**
 * A PINGREQ with a client id proves nothing. A sleeping client moves within its network; from elsewhere any sender could
 * obtain its messages.
 */
function mayFollow(client: GatewayClient, route: RouteKey, { roam, users }: GatewayOptions): boolean {
  const from = lastRoute(client)
  if (from === route || roam !== 'asleep') return from === route || roam === 'anywhere'
  const networks = users.networksOf?.(client.clientId, from)
  return networks === undefined ? isSameNetwork(from, route) : isWithinAny(route, networks)
}

const PROTOCOL_ID = 0x01

/**
 * Returns why a CONNECT is refused before it reaches the client, with the option whose limit it exceeds, or `undefined`
 * if it is not refused.
 */
export function connectRefusal(
  { maxClientIdLength, users }: GatewayOptions,
  route: RouteKey,
  { clientId, protocolId }: SnConnect,
  known: GatewayClient | undefined,
): { readonly reason: string; readonly limit?: string } | undefined {
  if (protocolId !== PROTOCOL_ID) return { reason: `protocol id ${protocolId}` }
  if (clientId === '') return { reason: 'no client id (ruling A22)' }
  if (isQosM1ClientId(clientId)) return { reason: 'the client id is that of QoS -1 messages' }
  if (utf8Length(clientId) > maxClientIdLength)
    return { reason: 'the client id is too long (max_sn_client_id_length)', limit: 'max_sn_client_id_length' }
  if (users.isBanned?.(route, clientId) === true) return { reason: 'banned (ban_file)' }
  const user = users.userOf(clientId, route)
  if (user === undefined) return { reason: 'no rule lets it in, or its user is one who has a password (sn_users)' }
  if (known?.link === undefined) return undefined
  if (!isWithinAny(route, users.networksOf?.(clientId, lastRoute(known))))
    return { reason: `it is connected from the network that its rule binds it to, at ${lastRoute(known)} (sn_users)` }
  return known.username === user.username ? undefined : { reason: 'connected as another user (sn_users)' }
}

/** Gives a CONNECT without a client id the default client id of its port, if there is one (ruling A22). */
export function withClientId(route: RouteKey, connect: SnConnect, ports: Ports): SnConnect {
  if (connect.clientId !== '' || nodeIdOf(route) !== undefined) return connect
  const { defaultClientId } = ports.of(route)
  return defaultClientId === undefined ? connect : { ...connect, clientId: defaultClientId }
}

/**
 * Reports that a clean CONNECT from another address ends a session. The sender may be another client with the same id, or
 * an impostor: MQTT-SN 1.2 cannot tell them apart.
 */
export function reportTakeover(now: Instant, client: GatewayClient, peer: RouteKey): void {
  const ago = Math.round((now - client.lastHeard) / 1000)
  const reason = `CONNECT with CleanSession from another address ends its session: it was heard ${ago} s ago at ${lastRoute(client)}`
  client.host.notice({ code: 'client-takeover', level: 'warn', client: client.key, peer, reason })
}

/** Reports a datagram that is no MQTT-SN message, with the name of its protocol if it is recognised. */
export function reportMalformed(notice: NoticeSink, peer: RouteKey, bytes: Uint8Array, { reason, rule }: Malformed): void {
  const foreign = foreignProtocol(bytes)
  const byRule = rule === undefined ? reason : `${reason} (${rule})`
  const why = foreign === undefined ? byRule : `this is ${foreign}, and MQTT-SN is spoken here`
  notice({ code: 'malformed-datagram', level: 'info', peer, reason: why })
}
