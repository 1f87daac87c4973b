import type { Instant } from '../../base/machine.ts'
import { PacketType } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { willBytes } from '../../mqtt/wills.ts'
import { MsgType, type SnDisconnect } from '../../mqttsn/messages.ts'
import type { GatewayClient } from './client.ts'
import type { Recorded } from './client-host.ts'
import { tellIgnored } from './client-notices.ts'

/** How a client leaves, or goes to sleep: by DISCONNECT, by silence, or because the rules no longer let it in. */

/** DISCONNECT, with a duration to sleep [1.2 sections 6.12, 6.14]. */
export function disconnected(client: GatewayClient, now: Instant, { duration = 0 }: SnDisconnect): void {
  const { setup, outbound } = client
  if (client.link === undefined) {
    // A late copy of CONNECT may have come between two copies of DISCONNECT, of which the first is not durable yet.
    client.end(now, 'disconnected')
    answer(client, client.recorded ? client.record(now) : 0)
    return
  }
  const { before: dialogueBefore } = setup
  if (dialogueBefore !== undefined) setup.breakOff(now, true)
  const settingUp =
    setup.isUnderWay || (dialogueBefore !== undefined && dialogueBefore !== 'active' && dialogueBefore !== 'asleep')
  // A client that sends DISCONNECT is not lost, however far its connection was: its will must not fire.
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
    // Neither granted nor answered: the client tries again, and sleeps when its sleep can be recorded.
    client.state = state
    client.sleepSeconds = sleepSeconds
    if (dialogueBefore !== undefined && state === 'active') outbound.resume(now)
    return
  }
  outbound.suspend()
  client.withdraw()
  answer(client, lsn)
  client.supervision.arm(now)
  const { key, route: peer } = client
  client.host.notice({ code: 'client-asleep', level: 'debug', client: key, peer, reason: `for ${duration} s` })
}

/** Answers DISCONNECT. The answer promises that the will never fires: without a record there is none, and the client asks again. */
function answer(client: GatewayClient, recorded: Recorded): void {
  if (recorded === 'full') tellIgnored(client, 'DISCONNECT is not answered, because the store is full')
  else client.send({ type: MsgType.DISCONNECT, duration: undefined }, recorded)
}

/** The client is lost: its will fires, and its session stays as long as its expiry says. */
export function lost(client: GatewayClient, now: Instant, reason: string): void {
  // An answer that still waits for the store would come to a client that has to connect again.
  client.replies.clear()
  keepWill(client)
  client.link?.lost(now, reason)
  client.end(now, 'lost')
  client.record(now)
}

/** Its session, which may last, counts the will that stays here. */
function keepWill(client: GatewayClient): void {
  client.link?.keeps(client.keptBytes + willBytes(client.will))
}

/**
 * The rules have changed: a client that may not stay, or not as its user, has to connect again. A client without a link was shut out when the process
 * began: the broker, which has its session and its will, counts it as lost.
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
