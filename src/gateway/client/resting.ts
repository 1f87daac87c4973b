import { type ByteReader, type ByteWriter, decodeUtf8 } from '../../base/bytes.ts'
import type { Instant } from '../../base/machine.ts'
import { ROW_MAX } from '../../base/slab-rows.ts'
import type { RestingLink, RestingLinks, RestingSession } from '../../mqtt/link.ts'
import { readInteger, readNumber, readText, writeInteger, writeNumber, writeText } from '../../store/record-fields.ts'
import type { WallTime } from '../../store/store.ts'
import { GatewayClient } from './client.ts'
import type { ClientHost } from './client-host.ts'
import { STATES, type State } from './state-table.ts'
import { sinceRecord } from './supervision.ts'

/**
 * A sleeping client as a row of bytes: what a client takes while it is at rest, in place of `GatewayClient`, its parts and its
 * link (about 1,600 bytes in 20 objects), is about a hundred bytes and no object. Unlike recovery from the store this loses nothing:
 * the client that `wake` returns behaves as the one that was packed would have. The row:
 *
 *     route                       text after its length in two bytes, so that an index can compare it in place
 *     flags                       FLAGS
 *     durations, times, link      see `pack`
 *     username, formerRoute, ...  if their flags are set
 *     topic ids                   TopicRegistry.pack
 *
 * Client id and will are those of the broker's session. The timer of `Supervision` is by seat, and not touched by rest and wake.
 */
const FLAGS = {
  atRoute: 1,
  cleanSession: 2,
  recorded: 4,
  windowReported: 8,
  hasWill: 0x10,
  wasBrokenOff: 0x20,
  isIgnored: 0x40,
  resumed: 0x80,
  windowTold: 0x100,
  isRestored: 0x200,
  hasUsername: 0x400,
  hasFormerRoute: 0x800,
  /** The link was opened at another address. */
  hasPeer: 0x1000,
  hasLookups: 0x2000,
  isRestricted: 0x4000,
  hasPoison: 0x8000,
  /** Restored from the store and not resumed yet: any state, and no link. */
  isReplayed: 0x10000,
  /** `since` is not when it fell asleep, but `sinceRecord`, as after a restart, or another time. */
  sinceRecord: 0x20000,
  hasSince: 0x40000,
} as const

/** What stands for a client that was packed during the replay, before it has a session. */
export interface ReplayedClient {
  readonly clientId: string
}

/** Bytes of the length of the route. */
const HEAD_BYTES = 2

/**
 * True if nothing is under way for a sleeping client, so that its state is what `pack` writes: no exchange, no request, no reply
 * or record that waits for the store, no QoS 2 message id. The link may still refuse to rest.
 */
export function canRest(client: GatewayClient): boolean {
  const { state, link, route, host, outbound, inbound, replies, setup, topicIds } = client
  if (state !== 'asleep' || link === undefined || client.awaitsDurable || client.awaitsRecord) return false
  // The row would be too long: checked here, so that nothing is written in vain.
  if (client.registry.packedBytes > ROW_MAX) return false
  const isIdle = outbound.isIdle && inbound.isIdle && replies.isIdle && setup.isIdle
  return isIdle && topicIds.isSettled && outbound.poison.memory !== undefined && host.ports.isQuiet(route)
}

/** True during the replay if the client's state is what `pack` writes: a million clients restored as objects are 2 GB. */
export const canRestReplayed = ({ link, will, inbound, registry }: GatewayClient): boolean =>
  link === undefined && will === undefined && inbound.isIdle && registry.packedBytes <= ROW_MAX

/**
 * Writes a client that can rest. `atRoute`: the client is known by its route. Returns false if it has to stay as it is, because its
 * link cannot rest, or the row is too long.
 */
export function pack(client: GatewayClient, w: ByteWriter, atRoute: boolean, links: RestingLinks): boolean {
  w.length = 0
  w.u16(0)
  const routeLength = w.text(client.route)
  w.bytes[0] = routeLength >>> 8
  w.bytes[1] = routeLength & 0xff
  const flagsAt = w.length
  w.u8(0)
  w.u16(0)
  writeInteger(w, client.durationSeconds)
  writeInteger(w, client.sleepSeconds)
  writeNumber(w, client.lastHeard)
  writeNumber(w, client.sleepsSince)
  writeNumber(w, client.recordedAt)
  writeInteger(w, client.outbound.exchanges.lastRegisterId ?? 0)
  const sinceFlag = sinceFlagOf(client)
  if (sinceFlag === FLAGS.hasSince) writeNumber(w, client.since)
  const { username, formerRoute } = client
  if (username !== undefined) writeText(w, username)
  if (formerRoute !== '') writeText(w, formerRoute)
  const restricted = client.inbound.restrictions
  if (restricted !== undefined) {
    w.u8(restricted.retain ? 1 : 0)
    w.u8(restricted.qos)
    w.u16(restricted.receiveMaximum)
  }
  const poison = client.outbound.poison.memory!
  if (poison.count > 0) {
    writeText(w, poison.subject)
    writeInteger(w, poison.count)
  }
  client.registry.pack(w)
  const isReplayed = client.link === undefined
  const link = client.link === undefined ? undefined : links.stateOf(client.link.id, client.will)
  if (link !== undefined) packLink(link, w, client.route)
  else if (isReplayed) w.u8(STATES.indexOf(client.state))
  else return false
  if (w.length > ROW_MAX) return false
  const flags =
    (atRoute ? FLAGS.atRoute : 0) |
    (client.cleanSession ? FLAGS.cleanSession : 0) |
    (client.recorded ? FLAGS.recorded : 0) |
    (client.windowReported ? FLAGS.windowReported : 0) |
    (client.will !== undefined ? FLAGS.hasWill : 0) |
    (client.setup.wasBrokenOff ? FLAGS.wasBrokenOff : 0) |
    (client.outbound.retries.isIgnored ? FLAGS.isIgnored : 0) |
    (isReplayed ? FLAGS.isReplayed : 0) |
    (link?.resumed === true ? FLAGS.resumed : 0) |
    (link?.windowTold === true ? FLAGS.windowTold : 0) |
    (link?.info.isRestored === true ? FLAGS.isRestored : 0) |
    (username !== undefined ? FLAGS.hasUsername : 0) |
    (formerRoute !== '' ? FLAGS.hasFormerRoute : 0) |
    (link !== undefined && link.info.peer !== client.route ? FLAGS.hasPeer : 0) |
    (link?.lookups !== undefined ? FLAGS.hasLookups : 0) |
    (restricted !== undefined ? FLAGS.isRestricted : 0) |
    (poison.count > 0 ? FLAGS.hasPoison : 0) |
    sinceFlag
  w.bytes[flagsAt] = flags >>> 16
  w.bytes[flagsAt + 1] = (flags >>> 8) & 0xff
  w.bytes[flagsAt + 2] = flags & 0xff
  return true
}

/** How `since` is written: only for a few clients as a number of its own. */
function sinceFlagOf(client: GatewayClient): number {
  if (client.since === client.sleepsSince) return 0
  return client.since === sinceRecord(client) ? FLAGS.sinceRecord : FLAGS.hasSince
}

function packLink({ id, info, window, patienceMs, lookups }: RestingLink, w: ByteWriter, route: string): void {
  writeInteger(w, id)
  writeInteger(w, window)
  writeInteger(w, patienceMs)
  if (info.peer !== route) writeText(w, info.peer)
  if (lookups === undefined) return
  writeNumber(w, lookups.tokens)
  writeNumber(w, lookups.filledAt)
}

/** Makes the client again whose row the reader is at. `isAtRoute`: the client is known by its route. */
export function wake(
  r: ByteReader,
  session: RestingSession | ReplayedClient,
  host: ClientHost,
  links: RestingLinks,
): { readonly client: GatewayClient; readonly isAtRoute: boolean } {
  const length = r.u16('length')
  const start = r.skip(length, 'route')
  const client = new GatewayClient(session.clientId, decodeUtf8(r.bytes, start, start + length), host)
  const flags = r.u8('flags') * 0x10000 + r.u16('flags')
  const has = (flag: number): boolean => (flags & flag) !== 0
  client.state = 'asleep'
  client.reported = 'asleep'
  client.cleanSession = has(FLAGS.cleanSession)
  client.recorded = has(FLAGS.recorded)
  client.windowReported = has(FLAGS.windowReported)
  client.setup.wasBrokenOff = has(FLAGS.wasBrokenOff)
  client.outbound.retries.isIgnored = has(FLAGS.isIgnored)
  client.durationSeconds = readInteger(r, 'duration')
  client.sleepSeconds = readInteger(r, 'duration')
  client.lastHeard = readNumber(r, 'time')
  client.sleepsSince = readNumber(r, 'time')
  client.recordedAt = readNumber(r, 'time')
  const registerId = readInteger(r, 'message id')
  if (registerId !== 0) client.outbound.exchanges.lastRegisterId = registerId
  client.since = has(FLAGS.sinceRecord) ? sinceRecord(client) : has(FLAGS.hasSince) ? readNumber(r, 'time') : client.sleepsSince
  if (has(FLAGS.hasUsername)) client.username = readText(r, 'user')
  if (has(FLAGS.hasFormerRoute)) client.formerRoute = readText(r, 'route')
  if (has(FLAGS.isRestricted)) client.inbound.allow(r.u8('retain') === 1, r.u8('qos'), r.u16('receive maximum'))
  if (has(FLAGS.hasPoison)) client.outbound.poison.restore(readText(r, 'subject'), readInteger(r, 'count'))
  client.registry.unpack(r)
  if (has(FLAGS.isReplayed)) unpackState(client, STATES[r.u8('state')]!)
  else resume(client, r, flags, session as RestingSession, links)
  return { client, isAtRoute: has(FLAGS.atRoute) }
}

function unpackState(client: GatewayClient, state: State): void {
  client.state = state
  if (client.recorded && state !== 'willTopic' && state !== 'willMsg') client.reported = state
}

/** What a row says of its client, without making the client. */
export interface RowView {
  readonly route: string
  readonly username: string | undefined
  readonly since: Instant
  readonly lastHeard: Instant
  readonly recordedAt: WallTime
  readonly durationSeconds: number
  readonly sleepSeconds: number
}

/** Reads from the row that the reader is at what others may know of its client. */
export function peek(r: ByteReader, epoch: WallTime): RowView {
  const length = r.u16('length')
  const start = r.skip(length, 'route')
  let route = decodeUtf8(r.bytes, start, start + length)
  const flags = r.u8('flags') * 0x10000 + r.u16('flags')
  const has = (flag: number): boolean => (flags & flag) !== 0
  const durationSeconds = readInteger(r, 'duration')
  const sleepSeconds = readInteger(r, 'duration')
  const lastHeard = readNumber(r, 'time')
  const sleepsSince = readNumber(r, 'time')
  const recordedAt = readNumber(r, 'time')
  readInteger(r, 'message id')
  const since = has(FLAGS.sinceRecord) ? recordedAt - epoch : has(FLAGS.hasSince) ? readNumber(r, 'time') : sleepsSince
  const username = has(FLAGS.hasUsername) ? readText(r, 'user') : undefined
  if (has(FLAGS.hasFormerRoute)) route = readText(r, 'route')
  return { route, username, since, lastHeard, recordedAt, durationSeconds, sleepSeconds }
}

function resume(client: GatewayClient, r: ByteReader, flags: number, session: RestingSession, links: RestingLinks): void {
  client.link = links.resume(session, unpackLink(r, client, flags))
  // Behind the link, with which the broker counts the will.
  if ((flags & FLAGS.hasWill) !== 0) client.will = session.will
}

function unpackLink(r: ByteReader, { route, username }: GatewayClient, flags: number): RestingLink {
  const has = (flag: number): boolean => (flags & flag) !== 0
  const id = readInteger(r, 'link')
  const window = readInteger(r, 'window')
  const patienceMs = readInteger(r, 'patience')
  const peer = has(FLAGS.hasPeer) ? readText(r, 'peer') : route
  const lookups = has(FLAGS.hasLookups) ? { tokens: readNumber(r, 'lookups'), filledAt: readNumber(r, 'lookups') } : undefined
  const info = {
    kind: 'sn' as const,
    peer,
    listener: 'sn',
    ...(username !== undefined && { identity: username }),
    ...(has(FLAGS.isRestored) && { isRestored: true as const }),
  }
  return { id, info, window, resumed: has(FLAGS.resumed), windowTold: has(FLAGS.windowTold), patienceMs, lookups }
}

/** Whether the row at `start` has this route. */
export function hasRoute(bytes: Uint8Array, start: number, route: string): boolean {
  const length = (bytes[start]! << 8) | bytes[start + 1]!
  const at = start + HEAD_BYTES
  // UTF-8 that is not ASCII is longer than its text.
  if (length !== route.length) return length > route.length && decodeUtf8(bytes, at, at + length) === route
  for (let i = 0; i < length; i++) if (bytes[at + i] !== route.charCodeAt(i)) return false
  return true
}
