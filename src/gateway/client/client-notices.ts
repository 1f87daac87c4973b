import { describeMessage } from '../../mqttsn/describe.ts'
import type { Message } from '../../mqttsn/messages.ts'
import type { GatewayClient } from './client.ts'

/** Reports a message that will never be delivered to this client, and counts it in `$SYS/broker/publish/messages/dropped`. */
export function reportDropped(client: GatewayClient, reason: string, limit?: string, level: 'warn' | 'debug' = 'warn'): void {
  const { host, key, route } = client
  host.traffic.publishDropped++
  const about = { client: key, peer: route, ...(limit !== undefined && { limit }) }
  host.notice({ code: 'message-dropped', level, ...about, reason })
}

/** Reports a message from the client that does not fit its state. Debug level, because it is often a delayed copy. */
export function reportIgnored({ host, key, route: peer }: GatewayClient, reason: string): void {
  host.notice({ code: 'protocol-error', level: 'debug', client: key, peer, reason })
}

/** Reports a request that is refused with `message`. `why`: undefined if the broker has reported the reason already. */
export function reportRefusal({ host, key, route: peer }: GatewayClient, message: Message, why: string | undefined): void {
  const level = why === undefined ? 'debug' : 'info'
  const reason = `${describeMessage(message)}${why === undefined ? '' : `: ${why}`}`
  host.notice({ code: 'request-refused', level, client: key, peer, reason })
}

/** Why a request is refused or ignored while `client.isPaused`. */
export const whilePaused = ({ host }: GatewayClient): string => `while ${host.uplink.place} takes no more`

export function reportWindowFull({ host, key, route: peer }: GatewayClient): void {
  const reason = 'the rest waits for acknowledgements'
  host.notice({ code: 'limit-reached', level: 'debug', client: key, peer, reason, limit: 'sn_inflight_messages' })
}

/** Reports a topic name that has more levels than the broker allows. */
export function reportTooDeep({ host, key, route: peer }: GatewayClient, topicName: string): void {
  const reason = `no topic id for ${topicName}: it has too many levels`
  host.notice({ code: 'limit-reached', level: 'warn', client: key, peer, reason, limit: 'max_topic_levels' })
}

/** Reports an awake period that ends although messages for the client remain in the queue. */
export function reportWakeFull({ host, key, route: peer, link, awakePeriod }: GatewayClient): void {
  if (link === undefined || link.backlog === 0) return
  const reason = `${link.backlog} messages wait for its next awake period`
  host.notice({ code: 'limit-reached', level: 'debug', client: key, peer, reason, limit: awakePeriod.limit ?? 'wake_messages' })
}
