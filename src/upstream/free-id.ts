import type { UpstreamLink } from './upstream-link.ts'

/**
 * A packet id for what a link sends on its own: from the end, because owners count theirs from 1, and another one each time, because a
 * late answer must not be taken for that of the next request.
 */
export function freeId(link: UpstreamLink): number {
  const { outbound, subscriptions } = link
  do link.ownId = link.ownId <= 1 ? 0xffff : link.ownId - 1
  while (outbound.has(link.ownId) || subscriptions.has(link.ownId))
  return link.ownId
}
