import { type ByteReader, type ByteWriter, decodeUtf8 } from '../../base/bytes.ts'
import type { Instant } from '../../base/machine.ts'
import { ROW_MAX } from '../../base/slab-rows.ts'
import type { RestingLink, RestingLinks, RestingSession } from '../../mqtt/link.ts'
import { readInteger, readNumber, readText, writeInteger, writeNumber, writeText } from '../../store/record-fields.ts'
import type { WallTime } from '../../store/store.ts'
import type { RouteKey } from '../ports/route.ts'
import { GatewayClient } from './client.ts'
import type { ClientHost } from './client-host.ts'
import { type Allowed, allowed } from './inbound.ts'
import { sinceRecord } from './supervision.ts'

/**
 * A sleeping client as a row of bytes: what a client takes while it is at rest, in place of `GatewayClient`, its parts and its
 * link (about 1,600 bytes in 20 objects), is about a hundred bytes and no object. Unlike recovery from the store this loses nothing:
 * the client that `wake` returns behaves as the one that was packed would have. The row:
 *
 *     route                       text after its length in two bytes, so that an index can compare it in place
 *     flags                       FLAGS
 *     durations, times, link      see `writeRow`
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
  /** `since` is not when it fell asleep, but when it was recorded, as after a restart, or another time. */
  sinceRecord: 0x10000,
  hasSince: 0x20000,
} as const

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

/** What the row of a sleeping client says, apart from its session's part. */
export interface RestingState {
  readonly route: RouteKey
  /** The client is known by its route. */
  readonly isAtRoute: boolean
  readonly durationSeconds: number
  readonly sleepSeconds: number
  readonly lastHeard: Instant
  readonly sleepsSince: Instant
  /** Since when it is asleep, as it is reported. */
  readonly since: Instant
  readonly recordedAt: WallTime
  readonly lastRegisterId: number
  readonly cleanSession: boolean
  readonly recorded: boolean
  readonly windowReported: boolean
  readonly hasWill: boolean
  readonly wasBrokenOff: boolean
  readonly isIgnored: boolean
  readonly username: string | undefined
  readonly formerRoute: RouteKey
  readonly restrictions: Allowed | undefined
  readonly poison: { readonly subject: string; readonly count: number }
  readonly topicIds: { pack(w: ByteWriter): void }
  readonly link: RestingLink
}

/**
 * Writes a client that can rest. `isAtRoute`: the client is known by its route. Returns false if it has to stay as it is, because its
 * link cannot rest, or the row is too long.
 */
export function pack(client: GatewayClient, w: ByteWriter, isAtRoute: boolean, links: RestingLinks): boolean {
  const link = client.link === undefined ? undefined : links.stateOf(client.link.id, client.will)
  if (link === undefined) return false
  const { inbound, outbound } = client
  return writeRow(w, client.host.clock.epoch, {
    route: client.route,
    isAtRoute,
    durationSeconds: client.durationSeconds,
    sleepSeconds: client.sleepSeconds,
    lastHeard: client.lastHeard,
    sleepsSince: client.sleepsSince,
    since: client.since,
    recordedAt: client.recordedAt,
    lastRegisterId: outbound.exchanges.lastRegisterId ?? 0,
    cleanSession: client.cleanSession,
    recorded: client.recorded,
    windowReported: client.windowReported,
    hasWill: client.will !== undefined,
    wasBrokenOff: client.setup.wasBrokenOff,
    isIgnored: outbound.retries.isIgnored,
    username: client.username,
    formerRoute: client.formerRoute,
    restrictions: inbound.restrictions,
    poison: outbound.poison.memory!,
    topicIds: client.registry,
    link,
  })
}

/** Writes a row. Returns false if it is too long. `epoch`: the store's time at instant 0. */
export function writeRow(w: ByteWriter, epoch: WallTime, state: RestingState): boolean {
  const { route, username, formerRoute, restrictions, poison, link } = state
  writeRoute(w, route)
  const sinceFlag = sinceFlagOf(state, epoch)
  const flags =
    (state.isAtRoute ? FLAGS.atRoute : 0) |
    (state.cleanSession ? FLAGS.cleanSession : 0) |
    (state.recorded ? FLAGS.recorded : 0) |
    (state.windowReported ? FLAGS.windowReported : 0) |
    (state.hasWill ? FLAGS.hasWill : 0) |
    (state.wasBrokenOff ? FLAGS.wasBrokenOff : 0) |
    (state.isIgnored ? FLAGS.isIgnored : 0) |
    (link.resumed ? FLAGS.resumed : 0) |
    (link.windowTold ? FLAGS.windowTold : 0) |
    (link.info.isRestored === true ? FLAGS.isRestored : 0) |
    (username !== undefined ? FLAGS.hasUsername : 0) |
    (formerRoute !== '' ? FLAGS.hasFormerRoute : 0) |
    (link.info.peer !== route ? FLAGS.hasPeer : 0) |
    (link.lookups !== undefined ? FLAGS.hasLookups : 0) |
    (restrictions !== undefined ? FLAGS.isRestricted : 0) |
    (poison.count > 0 ? FLAGS.hasPoison : 0) |
    sinceFlag
  w.u8(flags >>> 16)
  w.u16(flags & 0xffff)
  writeInteger(w, state.durationSeconds)
  writeInteger(w, state.sleepSeconds)
  writeNumber(w, state.lastHeard)
  writeNumber(w, state.sleepsSince)
  writeNumber(w, state.recordedAt)
  writeInteger(w, state.lastRegisterId)
  if (sinceFlag === FLAGS.hasSince) writeNumber(w, state.since)
  if (username !== undefined) writeText(w, username)
  if (formerRoute !== '') writeText(w, formerRoute)
  if (restrictions !== undefined) {
    w.u8(restrictions.retain ? 1 : 0)
    w.u8(restrictions.qos)
    w.u16(restrictions.receiveMaximum)
  }
  if (poison.count > 0) {
    writeText(w, poison.subject)
    writeInteger(w, poison.count)
  }
  state.topicIds.pack(w)
  packLink(link, w, route)
  return w.length <= ROW_MAX
}

/** Begins a row with the client's route, at which `hasRoute` looks. */
export function writeRoute(w: ByteWriter, route: RouteKey): void {
  w.length = 0
  w.u16(0)
  const length = w.text(route)
  w.bytes[0] = length >>> 8
  w.bytes[1] = length & 0xff
}

/** Reads the beginning of a row. */
export function readRoute(r: ByteReader): RouteKey {
  const length = r.u16('length')
  const start = r.skip(length, 'route')
  return decodeUtf8(r.bytes, start, start + length)
}

/** How `since` is written: only for a few clients as a number of its own. */
function sinceFlagOf({ since, sleepsSince, recordedAt }: RestingState, epoch: WallTime): number {
  if (since === sleepsSince) return 0
  return since === sinceRecord(recordedAt, epoch) ? FLAGS.sinceRecord : FLAGS.hasSince
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

function readAllowed(r: ByteReader): Allowed {
  const retain = r.u8('retain') === 1
  const qos = r.u8('qos')
  return allowed(retain, qos, r.u16('receive maximum'))
}

/** Makes the client again whose row the reader is at. `isAtRoute`: the client is known by its route. */
export function wake(
  r: ByteReader,
  session: RestingSession,
  host: ClientHost,
  links: RestingLinks,
): { readonly client: GatewayClient; readonly isAtRoute: boolean } {
  const client = new GatewayClient(session.clientId, readRoute(r), host)
  const flags = readFlags(r)
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
  client.since = has(FLAGS.sinceRecord)
    ? sinceRecord(client.recordedAt, host.clock.epoch)
    : has(FLAGS.hasSince)
      ? readNumber(r, 'time')
      : client.sleepsSince
  if (has(FLAGS.hasUsername)) client.username = readText(r, 'user')
  if (has(FLAGS.hasFormerRoute)) client.formerRoute = readText(r, 'route')
  if (has(FLAGS.isRestricted)) client.inbound.allow(readAllowed(r))
  if (has(FLAGS.hasPoison)) client.outbound.poison.restore(readText(r, 'subject'), readInteger(r, 'count'))
  client.registry.unpack(r)
  client.link = links.resume(session, unpackLink(r, client, flags))
  // Behind the link, with which the broker counts the will.
  if (has(FLAGS.hasWill)) client.will = session.will
  return { client, isAtRoute: has(FLAGS.atRoute) }
}

const readFlags = (r: ByteReader): number => r.u8('flags') * 0x10000 + r.u16('flags')

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
  let route = readRoute(r)
  const flags = readFlags(r)
  const has = (flag: number): boolean => (flags & flag) !== 0
  const durationSeconds = readInteger(r, 'duration')
  const sleepSeconds = readInteger(r, 'duration')
  const lastHeard = readNumber(r, 'time')
  const sleepsSince = readNumber(r, 'time')
  const recordedAt = readNumber(r, 'time')
  readInteger(r, 'message id')
  const since = has(FLAGS.sinceRecord)
    ? sinceRecord(recordedAt, epoch)
    : has(FLAGS.hasSince)
      ? readNumber(r, 'time')
      : sleepsSince
  const username = has(FLAGS.hasUsername) ? readText(r, 'user') : undefined
  if (has(FLAGS.hasFormerRoute)) route = readText(r, 'route')
  return { route, username, since, lastHeard, recordedAt, durationSeconds, sleepSeconds }
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
