import type { GatewayClient } from './client/client.ts'
import type { GatewayOptions } from './options.ts'
import type { RouteKey } from './ports/route.ts'
import { isSameNetwork, isWithinAny } from './ports/route.ts'

/** Where it is, or was before somebody else had its address. */
export const whereabouts = ({ route, formerRoute }: GatewayClient): RouteKey => (route === '' ? formerRoute : route)

/** Why PINGREQ with its client id does not bring this client there (ruling A7); '' if it does. */
export function whyItStays(client: GatewayClient, route: RouteKey, options: GatewayOptions): string {
  const { state, clientId, username } = client
  // An active client is only where it says CONNECT, or anybody could take its messages away.
  if (state !== 'asleep' && state !== 'awake') return `it does not sleep (${state}), and is only where it says CONNECT`
  if (!mayFollow(client, route, options)) return `it sleeps at ${whereabouts(client)}, and is not followed from there (roam)`
  const user = options.users.userOf(clientId, route)
  return user !== undefined && user.username === username ? '' : 'another user, or none, is let in from there (sn_users)'
}

/** PINGREQ with its name is no proof: a sleeper moves within its network, and from anywhere else its messages would be anybody's. */
function mayFollow(client: GatewayClient, route: RouteKey, { roam, users }: GatewayOptions): boolean {
  const from = whereabouts(client)
  if (from === route || roam !== 'asleep') return from === route || roam === 'anywhere'
  const networks = users.networksOf?.(client.clientId, from)
  return networks === undefined ? isSameNetwork(from, route) : isWithinAny(route, networks)
}
