import { ByteReader, ByteWriter } from '../base/bytes.ts'
import type { Instant } from '../base/machine.ts'
import type { Link, LinkId, SensorUplink } from '../mqtt/link.ts'
import { type Connack, PacketType, type Will } from '../mqtt/packets.ts'
import type { GatewayRecord, WallTime } from '../store/store.ts'
import { GatewayClient } from './client/client.ts'
import type { ClientHost } from './client/client-host.ts'
import { type ClientRecord, restore } from './client/client-record.ts'
import { allowedBy } from './client/inbound.ts'
import type { ReplayedClient, ReplayedRow } from './client/replayed-row.ts'
import { resumedSleep, sinceRecord } from './client/supervision.ts'
import type { ClientTable } from './client-table.ts'
import { TopicRegistry } from './topics/registry.ts'
import { connectPacket, linkInfo, restoredSensorWill } from './translate.ts'

/** What the restart needs of the gateway. */
export interface ReplayHost extends ClientHost {
  linkReady(now: Instant, link: LinkId): void
}

/**
 * The restart: makes the clients again from the records of the store, and resumes their sessions. The records of one client follow
 * one another, so that nearly every client becomes a row as soon as the next one begins, and its row that of a client at rest when it
 * resumes its session. Made into an object and packed twice instead, each took 15 us.
 */
export class Replay {
  readonly #clients: ClientTable
  readonly #host: ReplayHost
  readonly #uplink: SensorUplink
  /** The client whose records are being replayed, as long as a row can hold them. */
  #client: ClientRecord | undefined = undefined
  /** The highest client id so far. */
  #highest = ''
  /** Its topic ids. */
  readonly #topicIds: TopicRegistry

  constructor(clients: ClientTable, host: ReplayHost, uplink: SensorUplink) {
    this.#clients = clients
    this.#host = host
    this.#uplink = uplink
    this.#topicIds = new TopicRegistry(host.options.topicIds)
  }

  /** Applies one record of the replay. */
  apply(record: GatewayRecord): void {
    // What the client is subscribed to at a cluster concerns the uplink alone.
    if (record.type === 'sn-subscription' || record.type === 'sn-subscription-end') return
    if (record.type === 'sn-topic' && record.clientId === this.#client?.clientId) {
      restoreTopic(this.#topicIds, record)
      return
    }
    this.#settle()
    const isNew = this.#isNew(record.clientId)
    if (isNew && record.type === 'sn-client' && !this.#clients.isTaken(record.route)) this.#client = record
    else applyRecord(this.#clients, this.#host, record)
  }

  /** The rows of clients come in the order of their ids, so that nearly all are known to be new without a look-up. */
  #isNew(clientId: string): boolean {
    if (clientId <= this.#highest) return !this.#clients.has(clientId)
    this.#highest = clientId
    return true
  }

  /** All records of the client have been seen, or one that a row does not hold. */
  #settle(): void {
    const record = this.#client
    if (record === undefined) return
    const will = record.will === null ? undefined : restoredSensorWill(record.will)
    if (!this.#clients.addReplayed(record, will, this.#topicIds)) this.#addObject(record)
    this.#client = undefined
    this.#topicIds.clear()
  }

  #addObject(record: ClientRecord): void {
    applyRecord(this.#clients, this.#host, record)
    const packed = new ByteWriter()
    this.#topicIds.pack(packed)
    this.#clients.get(record.clientId)!.registry.unpack(new ByteReader(packed.toBytes()))
  }

  /**
   * After the replay: the clients resume their sessions, and those that the access rules no longer admit are returned. A sleeping
   * client rests before the next one resumes. The others follow: once they have their answer they listen, and no message may be
   * sent before all clients have resumed their sessions.
   */
  resumeAll(now: Instant, wall: WallTime): GatewayClient[] {
    const shutOut: GatewayClient[] = []
    const others: GatewayClient[] = []
    const resume = (client: GatewayClient): void => {
      if (!client.setup.resume(now, Math.max(0, wall - client.recordedAt))) shutOut.push(client)
    }
    this.#settle()
    for (const seat of this.#clients.seats()) {
      const replayed = this.#clients.replayedAt(seat)
      if (replayed !== undefined && this.#resumeRow(now, wall, seat, replayed.client, replayed.row)) continue
      const client = this.#clients.seated(seat)
      if (client.state !== 'asleep') others.push(client)
      else {
        resume(client)
        this.#answered(now)
      }
    }
    for (const client of others) resume(client)
    return shutOut
  }

  /** Takes the broker's answer to a sleeping client. */
  #answered(now: Instant): void {
    const link = this.#uplink.nextReadyLink()
    if (link !== undefined) this.#host.linkReady(now, link)
  }

  /**
   * What `ConnectionSetup.resume` does, for a sleeping client that stays a row. Returns false if it is shut out, before anything has
   * happened. If the broker's answer is more than that the session is there, the client becomes an object, and takes it.
   */
  #resumeRow(now: Instant, wall: WallTime, seat: number, { clientId, will }: ReplayedClient, row: ReplayedRow): boolean {
    const { options } = this.#host
    const user = options.users.userOf(clientId, row.route)
    if (user === undefined) return false
    const { retry } = this.#host.ports.of(row.route)
    const { heardAt, deadline } = resumedSleep(row, now, Math.max(0, wall - row.recordedAt), retry, this.#host)
    const expirySeconds = row.cleanSession ? 0 : options.sessionExpirySeconds
    const link = this.#uplink.open(now, linkInfo(row.route, user.username, true))
    link.listen(now, false)
    link.send(now, connectPacket(clientId, false, expirySeconds, will, options.inflightMessages))
    this.#host.silences.arm(seat, deadline)
    const ready = this.#uplink.nextReadyLink()
    const answer = ready === link.id ? link.poll(now) : undefined
    if (answer?.type === PacketType.CONNACK && this.#restOn(now, seat, heardAt, link, answer, user.username, will, row))
      return true
    const client = this.#clients.seated(seat)
    client.lastHeard = heardAt
    client.sleepsSince = heardAt
    client.since = Math.min(now, sinceRecord(row.recordedAt, this.#host.clock.epoch))
    client.setup.resumeOn(link, user.username)
    this.#clients.byLink.set(link.id, client)
    if (answer !== undefined) client.fromBroker(now, answer)
    if (ready !== undefined) this.#host.linkReady(now, ready)
    return true
  }

  /** Returns false if there is more to do than to write the row of a client at rest. */
  #restOn(
    now: Instant,
    seat: number,
    heardAt: Instant,
    link: Link,
    { reasonCode, sessionPresent, properties }: Connack,
    username: string | undefined,
    will: Will | undefined,
    row: ReplayedRow,
  ): boolean {
    if (reasonCode >= 0x80 || !sessionPresent) return false
    link.keeps(row.idBytes)
    const state = this.#uplink.resting.stateOf(link.id, will)
    if (state === undefined) return false
    return this.#clients.resumed(seat, {
      route: row.route,
      isAtRoute: row.route !== '',
      durationSeconds: row.durationSeconds,
      sleepSeconds: row.sleepSeconds,
      lastHeard: heardAt,
      sleepsSince: heardAt,
      since: Math.min(now, sinceRecord(row.recordedAt, this.#host.clock.epoch)),
      recordedAt: row.recordedAt,
      lastRegisterId: 0,
      cleanSession: row.cleanSession,
      recorded: true,
      windowReported: false,
      hasWill: will !== undefined,
      wasBrokenOff: false,
      isIgnored: false,
      username,
      formerRoute: '',
      restrictions: allowedBy(properties),
      poison: NO_POISON,
      topicIds: row,
      link: state,
    })
  }
}

type OfClient = Exclude<GatewayRecord, { type: 'sn-subscription' | 'sn-subscription-end' }>

/** Applies one record to a client that is an object, or becomes one. */
function applyRecord(clients: ClientTable, host: ClientHost, record: OfClient): void {
  if (record.type === 'sn-end') {
    const ended = clients.get(record.clientId)
    if (ended === undefined) return
    clients.delete(ended)
    host.sensorStates.removed(ended)
    ended.clear()
    return
  }
  let client = clients.get(record.clientId)
  if (client === undefined) {
    client = new GatewayClient(record.clientId, '', host)
    clients.add(client)
  }
  if (record.type === 'sn-topic') restoreTopic(client.registry, record)
  else if (record.type === 'sn-qos2') client.inbound.qos2.restore(record)
  else if (record.type === 'sn-qos2-end') client.inbound.qos2.remove(record.slot)
  else if (record.type === 'sn-topic-end') client.registry.remove(record.topicId)
  else {
    clients.leave(client)
    restore(client, record)
    clients.restoreRoute(client)
  }
}

const restoreTopic = (
  topicIds: TopicRegistry,
  { topicId, topicName, offered }: Extract<GatewayRecord, { type: 'sn-topic' }>,
): void => topicIds.restore(topicId, topicName, offered)

const NO_POISON = { subject: '', count: 0 }
