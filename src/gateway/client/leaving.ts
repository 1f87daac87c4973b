import type { Instant } from '../../base/machine.ts'
import { PacketType } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { willBytes } from '../../mqtt/wills.ts'
import { MsgType, type SnDisconnect } from '../../mqttsn/messages.ts'
import type { GatewayClient } from './client.ts'
import type { Recorded } from './client-host.ts'
import { reportIgnored } from './client-notices.ts'
import type { Awaiting } from './exchange.ts'

/** How a client disconnects or goes to sleep: by DISCONNECT, by silence, or because the access rules no longer admit it. */

/** Handles DISCONNECT, with a duration for sleep [1.2 sections 6.12, 6.14]. */
export function disconnected(client: GatewayClient, now: Instant, { duration = 0 }: SnDisconnect): void {
  const { setup, outbound } = client
  if (client.link === undefined) {
    // A delayed copy of CONNECT may have arrived between two copies of DISCONNECT of which the first is not durable yet.
    client.end(now, 'disconnected')
    answer(client, client.recorded ? client.record(now) : 0)
    return
  }
  const { before: dialogueBefore } = setup
  if (dialogueBefore !== undefined) setup.breakOff(now, true)
  const settingUp =
    setup.isUnderWay || (dialogueBefore !== undefined && dialogueBefore !== 'active' && dialogueBefore !== 'asleep')
  // A client that sends DISCONNECT is not lost, at whatever point of its connection setup: its will must not fire.
  if (duration === 0 || settingUp) {
    keepWill(client)
    client.toBroker(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.SUCCESS, properties: NO_PROPERTIES })
    client.end(now, 'disconnected')
    answer(client, client.record(now))
    return
  }
  const { state, sleepSeconds } = client
  client.state = 'asleep'
  client.sleepSeconds = duration
  const lsn = client.record(now)
  if (lsn === 'full') {
    // Neither granted nor answered: the client retries, and sleeps once its sleep can be recorded.
    client.state = state
    client.sleepSeconds = sleepSeconds
    if (dialogueBefore !== undefined && state === 'active') outbound.resume(now)
    return
  }
  // Supervision counts from `lastHeard`, which is no earlier. At rest this is also `since`, which then takes no bytes of its own.
  client.sleepsSince = now
  client.host.sensorStates.enter(now, client, 'asleep')
  outbound.suspend()
  client.withdraw()
  answer(client, lsn)
  client.supervision.arm(now)
  const { key, route: peer } = client
  client.host.notice({ code: 'client-asleep', level: 'debug', client: key, peer, reason: `for ${duration} s` })
}

/**
 * Answers DISCONNECT. The answer promises that the will never fires, so there is none without a record; the client retransmits. An
 * answer to an earlier copy that still waits for the store is replaced: a sleeping client would take the second one for the end of
 * its session.
 */
function answer(client: GatewayClient, recorded: Recorded): void {
  if (recorded === 'full') {
    reportIgnored(client, 'DISCONNECT is not answered, because the store is full')
    return
  }
  client.replies.cancel(MsgType.DISCONNECT)
  client.send({ type: MsgType.DISCONNECT, duration: undefined }, recorded)
}

/** The client is lost: its will fires, and its session remains until it expires. */
export function lost(client: GatewayClient, now: Instant, reason: string): void {
  // Replies that still wait for the store must not reach a client that has to reconnect.
  client.replies.clear()
  keepWill(client)
  client.link?.lost(now, reason)
  client.end(now, 'lost')
  recordEnd(client, now)
}

/**
 * Records that the client is disconnected or lost. While its will is not yet published, the store keeps the earlier record instead: after
 * a restart the client counts as lost again, and the will is published.
 */
export function recordEnd(client: GatewayClient, now: Instant): void {
  if (client.host.uplink.owesWill?.(client.clientId) !== true) client.record(now)
}

/** The will of a disconnected or lost client has been published: its state can be recorded. */
export function settled(client: GatewayClient | undefined, now: Instant): void {
  if (client?.link === undefined && client?.recorded === true) client.record(now)
}

/** N_retry is exhausted. An active client is lost; an awake one goes back to sleep and its message waits (ruling A28). */
export function retriesExhausted(client: GatewayClient, now: Instant, awaiting: Awaiting): void {
  const reason = `no ${awaiting} after ${client.retryProfile.nRetry} retries`
  client.host.notice({ code: 'retries-exhausted', level: 'info', client: client.key, peer: client.route, reason })
  if (client.state === 'awake') client.awakePeriod.close()
  else lost(client, now, reason)
}

/** Counts the will, which the gateway keeps, in the memory of the session, which may outlive the link. */
function keepWill(client: GatewayClient): void {
  client.link?.keeps(client.keptBytes + willBytes(client.will))
}

/**
 * The access rules have changed: a client that is no longer admitted, or only as another user, has to reconnect. A client that
 * has no link although it is active or asleep was shut out when the process started: the broker, which has its session and its
 * will, treats it as lost.
 */
export function accessChanged(client: GatewayClient, now: Instant): void {
  const { host, key, link, route: peer, clientId, state } = client
  const isShutOut = link === undefined && (state === 'active' || state === 'asleep')
  if (link === undefined && !isShutOut) return
  const user = host.options.users.userOf(clientId, peer)
  if (!isShutOut && user !== undefined && user.username === client.username) return
  const reason = isShutOut ? 'no rule of sn_users lets it in any more' : 'the rules have changed (sn_users)'
  host.notice({ code: 'client-revoked', level: 'warn', client: key, peer, reason })
  const wasReachable = client.isReachable
  lost(client, now, reason)
  if (wasReachable) client.send({ type: MsgType.DISCONNECT, duration: undefined })
}
