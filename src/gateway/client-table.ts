import { assert } from '../base/assert.ts'
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { COST } from '../base/memory-costs.ts'
import { hashOf, secretOfNames } from '../base/name-map.ts'
import { RowIndex } from '../base/row-index.ts'
import { RowTimers } from '../base/row-timers.ts'
import { SlabRows } from '../base/slab-rows.ts'
import type { LinkId, RestingLinks, RestingSession } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import type { GatewayClient } from './client/client.ts'
import type { ClientHost } from './client/client-host.ts'
import type { ClientRecord } from './client/client-record.ts'
import { packReplayed, ReplayedClient, ReplayedRow, wakeReplayed } from './client/replayed-row.ts'
import { canRest, hasRoute, pack, peek, type RestingState, type RowView, wake, writeRow } from './client/resting.ts'
import type { RouteKey } from './ports/route.ts'
import type { TopicRegistry } from './topics/registry.ts'

/** Maximum number of clients examined for each new client that finds no room. */
const SEARCHED_MAX = 100
/**
 * The first clients that sleep stay objects, 6 MB in all, so that a site of this size never makes a row: without this a wake of
 * the first thousand, whose code is not compiled yet, takes 70 us more, a quarter of what draining ten messages takes. They are
 * not those that slept last: objects that live that long are copied to the old generation, which takes 20 us a wake.
 */
const IDLE_MAX = 2048
/** Bytes by which the row of a client grows when it resumes its session, without a user: then most are extended where they are. */
const RESUMED_BYTES = 23
/** Bytes of a seat: its entries in `#seats` and `#rows`. */
const SEAT_BYTES = 12
const EMPTY = new Uint8Array(0)

/**
 * All clients of the gateway, by client id and by the route at which they were last heard. A client is either an object, or, while
 * it sleeps and nothing is under way for it, a row (`resting.ts`): at rest it takes about 200 bytes here instead of 1,600 and a
 * link. `get` and the like return the object, and make it from the row if necessary; at the end of the input, `rest` packs it into
 * a row again. During a restart a client of the store is a row, too (`replayed-row.ts`). Each client has a seat, a small number, as long as it is in the table: its timer is by seat, and all clients
 * are visited in the order of their seats, so that it makes no difference who rests.
 */
export class ClientTable {
  readonly silences = new RowTimers()
  /** The clients with an open link. */
  readonly byLink = new Map<LinkId, GatewayClient>()
  /** Number of sleeping clients that stay objects. Tests set 0 to have all of them rest, or Infinity for none. */
  mostIdle = IDLE_MAX
  readonly #host: ClientHost
  readonly #links: RestingLinks
  /** Clients that do not rest. */
  readonly #byId = new Map<string, GatewayClient>()
  readonly #byRoute = new Map<RouteKey, GatewayClient>()
  /** By seat: the client, or, while it rests, its session at the broker; during a restart what it has instead of one. */
  readonly #seats: (GatewayClient | RestingSession | ReplayedClient | undefined)[] = []
  /** By seat: the row of a client that rests, otherwise 0. */
  #rows = new Uint32Array(16)
  #vacant: number[] = []
  readonly #slab = new SlabRows()
  readonly #idsAtRest = new RowIndex((seat, id) => this.#seats[seat]!.clientId === id)
  readonly #routesAtRest = new RowIndex((seat, route) => {
    const row = this.#rows[seat]!
    return hasRoute(this.#slab.page(row), this.#slab.start(row), route)
  })
  readonly #secret = secretOfNames()
  readonly #writer = new ByteWriter(512)
  readonly #reader = new ByteReader(EMPTY)
  /** Clients that may rest at the end of the current input. */
  readonly #settling: GatewayClient[] = []
  /** Number of clients that stay objects. */
  #staying = 0
  /** Seat at which the search for unused clients continues. */
  #searched = 0

  constructor(host: ClientHost, links: RestingLinks) {
    this.#host = host
    this.#links = links
  }

  get size(): number {
    return this.#byId.size + this.#idsAtRest.size
  }

  /** The number of clients that rest. */
  get atRest(): number {
    return this.#idsAtRest.size
  }

  /** Bytes of memory, without the topic ids of clients that do not rest. */
  get bytes(): number {
    const rows = this.#slab.bytes + this.#idsAtRest.bytes + this.#routesAtRest.bytes
    return this.#byId.size * COST.sensor + rows + this.silences.bytes + this.#seats.length * SEAT_BYTES
  }

  get(clientId: string): GatewayClient | undefined {
    const live = this.#byId.get(clientId)
    if (live !== undefined || this.#idsAtRest.size === 0) return live
    const seat = this.#idsAtRest.find(hashOf(clientId, this.#secret), clientId)
    return seat < 0 ? undefined : this.#wake(seat)
  }

  /** Returns the client that was last heard at this route. */
  at(route: RouteKey): GatewayClient | undefined {
    const live = this.#byRoute.get(route)
    if (live !== undefined || this.#routesAtRest.size === 0) return live
    const seat = this.#routesAtRest.find(hashOf(route, this.#secret), route)
    return seat < 0 ? undefined : this.#wake(seat)
  }

  /** As `at`, but only if the client does not rest. */
  liveAt(route: RouteKey): GatewayClient | undefined {
    return this.#byRoute.get(route)
  }

  /** True if a client was last heard at this route. */
  isTaken(route: RouteKey): boolean {
    return this.#byRoute.has(route) || this.#routesAtRest.find(hashOf(route, this.#secret), route) >= 0
  }

  has(clientId: string): boolean {
    return this.#byId.has(clientId) || this.isAtRest(clientId)
  }

  /** True for a client that rests. */
  isAtRest(clientId: string): boolean {
    return this.#idsAtRest.find(hashOf(clientId, this.#secret), clientId) >= 0
  }

  seated(seat: number): GatewayClient {
    return this.#isAtRest(seat) ? this.#wake(seat) : (this.#seats[seat] as GatewayClient)
  }

  /** Number of seats, of which some may be vacant. */
  get seatCount(): number {
    return this.#seats.length
  }

  /** The seat of a client, or -1. */
  seatOf(clientId: string): number {
    const live = this.#byId.get(clientId)
    return live === undefined ? this.#idsAtRest.find(hashOf(clientId, this.#secret), clientId) : live.seat
  }

  /** Returns the client of a seat, or, if it rests, what its row says; the client is not made from it. */
  look(seat: number): { readonly session: RestingSession; readonly row: RowView } | GatewayClient | undefined {
    const client = this.#seats[seat]
    if (client === undefined || !this.#isAtRest(seat)) return client as GatewayClient | undefined
    if (client instanceof ReplayedClient) return this.seated(seat)
    const row = this.#rows[seat]!
    const page = this.#slab.page(row)
    this.#reader.reset(page, this.#slab.start(row), page.length)
    const view = peek(this.#reader, this.#host.clock.epoch)
    this.#reader.reset(EMPTY, 0, 0)
    return { session: client as RestingSession, row: view }
  }

  *values(): Generator<GatewayClient, void> {
    for (const seat of this.seats()) yield this.seated(seat)
  }

  *seats(): Generator<number, void> {
    for (let seat = 0; seat < this.#seats.length; seat++) if (this.#seats[seat] !== undefined) yield seat
  }

  add(client: GatewayClient): void {
    const seat = this.#vacant.pop() ?? this.#seats.length
    this.#seats[seat] = client
    client.seat = seat
    this.#byId.set(client.clientId, client)
    this.#host.sensorStates.figures?.clear(seat)
  }

  delete(client: GatewayClient): void {
    assert(client.seat >= 0, 'a client is removed once')
    this.#byId.delete(client.clientId)
    this.leave(client)
    if (client.staysObject) this.#staying--
    this.#seats[client.seat] = undefined
    this.#vacant.push(client.seat)
    client.seat = -1
    if (this.size > 0) return
    this.#host.sensorStates.figures?.free()
    this.#seats.length = 0
    this.#vacant = []
    this.#searched = 0
  }

  /** Removes the client from its route. */
  leave(client: GatewayClient): void {
    if (this.#byRoute.get(client.route) === client) this.#byRoute.delete(client.route)
  }

  move(client: GatewayClient, route: RouteKey): void {
    client.route = route
    this.#byRoute.set(route, client)
  }

  /**
   * A route that passes to another client leaves no record for the client that had it before. After a replay, the most
   * recently recorded client has the route.
   */
  restoreRoute(client: GatewayClient): void {
    const other = this.at(client.route)
    if (client.route === '' || other === client) return
    if (other !== undefined && other.recordedAt > client.recordedAt) client.route = ''
    else {
      if (other !== undefined) other.route = ''
      this.#byRoute.set(client.route, client)
    }
  }

  /** Yields the unused clients among the next hundred. A client that rests is in use. */
  *unused(): Iterable<GatewayClient> {
    for (let left = Math.min(SEARCHED_MAX, this.#seats.length); left > 0; left--) {
      if (this.#searched >= this.#seats.length) this.#searched = 0
      const seat = this.#searched++
      const client = this.#isAtRest(seat) ? undefined : (this.#seats[seat] as GatewayClient | undefined)
      if (client?.isUnused === true) yield client
    }
  }

  /**
   * Adds a client of the store as a row. Returns false if it has to become an object: its row would be too long, or all clients
   * are to stay objects. Neither its client id nor its route may be in the table.
   */
  addReplayed(record: ClientRecord, will: Will | undefined, topicIds: TopicRegistry): boolean {
    if (this.mostIdle === Number.POSITIVE_INFINITY || !packReplayed(this.#writer, record, topicIds)) return false
    const { clientId, route } = record
    this.#host.topicIdTotals.count += topicIds.size
    const seat = this.#vacant.pop() ?? this.#seats.length
    this.#setRow(seat, new ReplayedClient(clientId, will), RESUMED_BYTES)
    this.#idsAtRest.add(hashOf(clientId, this.#secret), seat)
    if (route !== '') this.#routesAtRest.add(hashOf(route, this.#secret), seat)
    this.#host.sensorStates.restoredRow(record.state)
    return true
  }

  /** The client at a seat, if it is still as the replay left it, and may get the row of a sleeping client without becoming an object. */
  replayedAt(seat: number): { readonly client: ReplayedClient; readonly row: ReplayedRow } | undefined {
    const client = this.#seats[seat]
    if (!(client instanceof ReplayedClient) || this.#staying < this.mostIdle) return undefined
    const row = new ReplayedRow(this.#readerAt(seat))
    return row.state === 'asleep' ? { client, row } : undefined
  }

  /** A client that `replayedAt` returned has resumed its session. Returns false if its row would be too long. */
  resumed(seat: number, state: RestingState): boolean {
    if (!writeRow(this.#writer, this.#host.clock.epoch, state)) return false
    this.#rows[seat] = this.#slab.replace(this.#rows[seat]!, this.#writer.bytes, this.#writer.length)
    this.#seats[seat] = this.#links.rest(state.link.id)
    return true
  }

  /** The client may rest at the end of the current input. */
  settle(client: GatewayClient): void {
    if (client.maySettle || client.staysObject) return
    client.maySettle = true
    this.#settling.push(client)
  }

  /** Packs the clients that can rest into rows. Called at the end of an input, when no other code holds a reference to a client. */
  rest(): void {
    if (this.#settling.length === 0) return
    for (const client of this.#settling) {
      client.maySettle = false
      if (client.seat < 0 || !canRest(client)) continue
      if (this.#staying >= this.mostIdle) this.#rest(client)
      else {
        client.staysObject = true
        this.#staying++
      }
    }
    this.#settling.length = 0
  }

  #rest(client: GatewayClient): void {
    const { seat, clientId, route, link } = client
    const isAtRoute = this.#byRoute.get(route) === client
    if (link === undefined || !pack(client, this.#writer, isAtRoute, this.#links)) return
    this.#setRow(seat, this.#links.rest(link.id))
    this.byLink.delete(link.id)
    this.#byId.delete(clientId)
    this.#idsAtRest.add(hashOf(clientId, this.#secret), seat)
    client.registry.uncount()
    if (!isAtRoute) return
    this.#byRoute.delete(route)
    this.#routesAtRest.add(hashOf(route, this.#secret), seat)
  }

  /** Stores what is in the writer as the row of a seat. */
  #setRow(seat: number, session: RestingSession | ReplayedClient, growth = 0): void {
    const row = this.#slab.add(this.#writer.bytes, this.#writer.length, this.#writer.length + growth)
    if (seat >= this.#rows.length) this.#growRows(seat)
    this.#rows[seat] = row
    this.#seats[seat] = session
  }

  #isAtRest(seat: number): boolean {
    return (this.#rows[seat] ?? 0) > 0
  }

  #growRows(seat: number): void {
    let length = this.#rows.length
    while (length <= seat) length *= 2
    const rows = new Uint32Array(length)
    rows.set(this.#rows)
    this.#rows = rows
  }

  #wake(seat: number): GatewayClient {
    const reader = this.#readerAt(seat)
    const session = this.#seats[seat] as RestingSession | ReplayedClient
    const { client, isAtRoute } =
      session instanceof ReplayedClient
        ? { client: wakeReplayed(reader, session, this.#host), isAtRoute: true }
        : wake(reader, session, this.#host, this.#links)
    this.#slab.delete(this.#rows[seat]!)
    const { clientId, route, link } = client
    reader.reset(EMPTY, 0, 0)
    this.#rows[seat] = 0
    client.seat = seat
    this.#seats[seat] = client
    if (link !== undefined) this.byLink.set(link.id, client)
    this.#idsAtRest.delete(hashOf(clientId, this.#secret), seat)
    this.#byId.set(clientId, client)
    if (isAtRoute && route !== '') {
      this.#routesAtRest.delete(hashOf(route, this.#secret), seat)
      this.#byRoute.set(route, client)
    }
    this.settle(client)
    return client
  }
  #readerAt(seat: number): ByteReader {
    const row = this.#rows[seat]!
    const page = this.#slab.page(row)
    this.#reader.reset(page, this.#slab.start(row), page.length)
    return this.#reader
  }
}
