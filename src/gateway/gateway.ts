import { earliest, type Instant } from '../base/machine.ts'
import { Memory } from '../base/memory.ts'
import { COST } from '../base/memory-costs.ts'
import type { Network } from '../base/networks.ts'
import type { Notice, NoticeSink } from '../base/notice.ts'
import { Pauses } from '../base/pauses.ts'
import type { RowTimers } from '../base/row-timers.ts'
import { Timers } from '../base/timers.ts'
import type { Link, LinkId, SensorUplink } from '../mqtt/link.ts'
import { decodeMessage, isMalformed } from '../mqttsn/decode.ts'
import { encodedMessage } from '../mqttsn/encode.ts'
import { unwrap, wrap } from '../mqttsn/forwarder.ts'
import { EXPECTS_ANSWER, type Message, MsgType, ReturnCode, type SnConnect } from '../mqttsn/messages.ts'
import { Pace, STEPS_PER_TURN } from '../store/pace.ts'
import { type GatewayRecord, type Lsn, type Store, type WallClock, wallTime } from '../store/store.ts'
import { connectRefusal, lastRoute, reportMalformed, reportTakeover, roamRefusal, withClientId } from './admission.ts'
import { GatewayClient } from './client/client.ts'
import type { ClientHost, ClientTimer } from './client/client-host.ts'
import { accessChanged, settled } from './client/leaving.ts'
import { SensorStates } from './client/sensor-states.ts'
import { SensorTraffic } from './client/sensor-traffic.ts'
import { ClientTable } from './client-table.ts'
import type { DatagramTap } from './datagram-tap.ts'
import { Discovery } from './discovery.ts'
import type { GatewayOptions } from './gateway-options.ts'
import { AddressProof, addressProofOptions } from './ports/address-validation.ts'
import { type Datagram, Ports, plainPort } from './ports/ports.ts'
import type { RouteKey } from './ports/route.ts'
import { carrierOf, isSameHost, isWithinAny, nodeIdOf, nodeRoute } from './ports/route.ts'
import { QosM1 } from './qos-m1.ts'
import { Replay } from './replay.ts'
import { Sensors } from './sensors.ts'
import { PredefinedTopics } from './topics/predefined.ts'
import { linkInfo } from './translate.ts'
import { UnknownSenders } from './unknown-senders.ts'
import { Unrecorded } from './unrecorded.ts'

/** A deadline before any instant, for work that continues as soon as other work has had its turn. */
const OVERDUE = 0

/** The MQTT-SN 1.2 gateway: passes each datagram to its client. Clients are identified by client id; their routes may change. */
export class Gateway implements ClientHost {
  readonly options: GatewayOptions
  readonly predefined: PredefinedTopics
  readonly store: Store
  readonly clock: WallClock
  readonly notice: NoticeSink
  readonly timers = new Timers<ClientTimer>()
  readonly silences: RowTimers
  readonly sensorStates = new SensorStates()
  readonly sensors: Sensors
  readonly pauses = new Pauses()
  readonly traffic = new SensorTraffic()
  readonly memory: Memory
  readonly topicIdTotals = { bytes: 0, count: 0 }
  readonly wills = { kept: 0, asked: 0 }
  readonly ports: Ports
  readonly chance: () => number
  /** Sees every datagram; undefined while no trace is on. */
  tap: DatagramTap | undefined = undefined
  readonly uplink: SensorUplink
  readonly #clients: ClientTable
  readonly #proof: AddressProof
  readonly #discovery: Discovery
  readonly #gatewayNetworks: readonly Network[] | undefined
  readonly #unknownSenders: UnknownSenders
  #waiting: GatewayClient[] = []
  readonly #qosM1: QosM1
  readonly #pace: Pace
  /** Clients that have not been checked against the new access rules yet. */
  #unchecked: Iterator<GatewayClient> | undefined
  readonly #unrecorded: Unrecorded
  #replay: Replay | undefined = undefined

  /** Time of the current input, for what is sent because of it. */
  #now: Instant = 0

  constructor(
    options: GatewayOptions,
    uplink: SensorUplink,
    store: Store,
    clock: WallClock,
    notice: NoticeSink,
    chance: () => number = () => 0,
    memory = new Memory(),
  ) {
    this.options = options
    this.memory = memory
    memory.count('sessions', () => this.#clients.bytes)
    memory.count('topic_ids', () => this.topicIdTotals.bytes)
    memory.count('wills', () => this.wills.kept + this.wills.asked)
    this.predefined = new PredefinedTopics(options.predefinedTopics)
    this.uplink = uplink
    this.#clients = new ClientTable(this, uplink.resting)
    uplink.resting.needed = ({ clientId }) => this.#clients.get(clientId)
    uplink.settled = (now, clientId) => settled(this.#clients.get(clientId), now)
    this.silences = this.#clients.silences
    this.sensors = new Sensors(this.#clients, this, uplink.resting)
    this.store = store
    this.clock = clock
    this.notice = notice
    this.chance = chance
    this.#unknownSenders = new UnknownSenders(options.unknownSenderPerSecond, notice)
    const { gatewayNetworks = [] } = options
    this.#gatewayNetworks = gatewayNetworks.length === 0 ? undefined : gatewayNetworks
    this.#proof = new AddressProof(addressProofOptions(options), notice, chance)
    const [first = plainPort(options), ...others] = options.ports ?? []
    this.ports = new Ports([first, ...others], this.#proof, this.traffic, notice)
    this.#discovery = new Discovery(this.ports, this, notice)
    this.#qosM1 = new QosM1(this, uplink)
    this.#pace = new Pace(store)
    this.#unrecorded = new Unrecorded(store)
  }

  get gatewayId(): number {
    return this.options.gatewayId
  }

  get clientCount(): number {
    return this.#clients.size
  }

  /** Number of clients that take a row of bytes instead of objects, because they sleep and nothing is under way for them. */
  get clientsAtRest(): number {
    return this.#clients.atRest
  }

  /** For tests: see `ClientTable.mostIdle`. */
  set mostIdle(most: number) {
    this.#clients.mostIdle = most
  }

  /** Number of remembered addresses outside the trusted networks. */
  get rememberedAddresses(): number {
    return this.#proof.size
  }

  client(clientId: string): GatewayClient | undefined {
    return this.#clients.get(clientId)
  }

  clientAt(route: RouteKey): GatewayClient | undefined {
    return this.#clients.at(route)
  }

  // --- Inputs

  handleDatagram(now: Instant, route: RouteKey, bytes: Uint8Array): void {
    this.#now = now
    if (this.tap !== undefined) this.tap.datagramReceived(route, bytes)
    this.traffic.bytesReceived += bytes.length
    this.#proof.received(route, bytes.length)
    const wrapped = unwrap(bytes)
    if (wrapped === undefined) this.#handle(now, route, bytes, 0, bytes.length)
    else if ('kind' in wrapped) reportMalformed(this.notice, route, bytes, wrapped)
    else if (!this.options.forwarders)
      this.notice({ code: 'forwarder-refused', level: 'info', peer: route, reason: 'no forwarders here (forwarders)' })
    else {
      this.#discovery.forwarded(route, wrapped.nodeId.length)
      this.#handle(now, nodeRoute(route, wrapped.nodeId), bytes, wrapped.start, wrapped.end)
    }
  }

  #handle(now: Instant, route: RouteKey, bytes: Uint8Array, start: number, end: number): void {
    const message = decodeMessage(bytes, start, end)
    if (isMalformed(message)) {
      reportMalformed(this.notice, route, bytes, message)
      return
    }
    this.traffic.received[message.type]!++
    this.#take(now, route, message)
    // Must come last: a queued copy must not leave because of the answer to an earlier copy.
    this.ports.heard(now, route)
    this.#clients.rest()
  }

  #take(now: Instant, route: RouteKey, message: Message): void {
    switch (message.type) {
      case MsgType.CONNECT:
        this.#connect(now, route, withClientId(route, message, this.ports))
        return
      case MsgType.SEARCHGW:
        this.#discovery.searched(now, route, this.ports.of(route), message.radius)
        return
      case MsgType.ADVERTISE:
        this.#discovery.advertised(now, route, this.ports.of(route), message)
        return
      case MsgType.PUBLISH:
        this.traffic.publishBytesReceived += message.data.length
        if (message.qos === -1) {
          const sender = this.#clients.at(route)
          if (sender !== undefined) sender.lastHeard = now
          this.#qosM1.publish(now, route, message, sender?.link === undefined ? '' : sender.clientId)
          return
        }
        break
      case MsgType.PINGREQ:
        if (message.clientId !== undefined && !this.#roam(now, route, message.clientId)) {
          this.answerUnknownSender(now, route, 'told to connect')
          return
        }
        break
      default:
    }
    const client = this.#clients.at(route)
    if (client?.state === 'asleep' && message.type === MsgType.PINGREQ) this.#proof.woke(route)
    if (client !== undefined) client.handle(now, message)
    else if (EXPECTS_ANSWER.has(message.type)) this.answerUnknownSender(now, route, 'told to connect')
  }

  /** CONNECT determines which client is at this route from now on, whichever was there before. */
  #connect(now: Instant, route: RouteKey, message: SnConnect): void {
    const { clientId } = message
    let client = this.#clients.get(clientId)
    const refusal = connectRefusal(this.options, route, message, client)
    if (refusal !== undefined) {
      this.notice({ code: 'client-refused', level: 'info', client: `sn:${clientId}`, peer: route, ...refusal })
      this.transmit(route, { type: MsgType.CONNACK, returnCode: ReturnCode.NOT_SUPPORTED })
      return
    }
    if (client === undefined) {
      const noRoom = this.#noRoom(now, route, clientId)
      if (noRoom !== undefined) {
        this.notice({ ...noRoom, client: `sn:${clientId}`, peer: route })
        this.transmit(route, { type: MsgType.CONNACK, returnCode: ReturnCode.CONGESTION })
        return
      }
      client = new GatewayClient(clientId, route, this)
      this.#clients.add(client)
    }
    if (client.link !== undefined && message.cleanSession && !isSameHost(route, lastRoute(client)))
      reportTakeover(now, client, route)
    this.#bind(now, client, route)
    if (client.state === 'asleep') this.#proof.woke(route)
    client.handle(now, message)
  }

  /** Returns why there is no room for a new client from this route. Forged senders cannot take the places of all others. */
  #noRoom(now: Instant, route: RouteKey, clientId: string): Notice | undefined {
    const { maxSessions, maxSessionsKey = 'max_sessions', maxUnprovenSessions = maxSessions } = this.options
    const refused = { code: 'limit-reached', level: 'warn', reason: 'connection refused' } as const
    if (this.#clients.size >= maxSessions && !this.#makeRoom(now, maxSessionsKey)) return { ...refused, limit: maxSessionsKey }
    const over = this.memory.hasRoom(COST.sensor) ? undefined : this.memory.refusal(undefined, COST.sensor)
    if (over !== undefined) return { ...refused, ...over }
    if (this.#clients.size >= maxUnprovenSessions && !this.#proof.isProven(route))
      return { ...refused, limit: 'max_sn_unproven_sessions' }
    return this.#unrecorded.mayBegin(clientId) ? undefined : { code: 'store-full', level: 'error', reason: 'CONNECT refused' }
  }

  /** Forgets a client that was never used, if the next search step finds one. */
  #makeRoom(now: Instant, limit: string): boolean {
    for (const client of this.#clients.unused()) {
      if (!this.uplink.endUnused(now, client.key)) continue
      this.forget(client)
      const reason = 'its session, which was never used, makes room for another'
      this.notice({ code: 'session-expired', level: 'warn', client: client.key, reason, limit })
      return true
    }
    return false
  }

  /** PINGREQ with a client id: a sleeping client may have moved (ruling A7). Returns true if the route is the client's. */
  #roam(now: Instant, route: RouteKey, clientId: string): boolean {
    const client = this.#clients.get(clientId)
    if (client === undefined) return false
    if (client.route === route && this.#clients.at(route) === client) return true
    const reason = roamRefusal(client, route, this.options)
    if (reason !== '') {
      this.notice({ code: 'client-refused', level: 'info', client: client.key, peer: route, reason })
      return false
    }
    this.#bind(now, client, route)
    // If the store is full, the client is at its previous address after a restart, and moves again.
    client.record(now)
    return true
  }

  #bind(now: Instant, client: GatewayClient, route: RouteKey): void {
    this.#clients.leave(client)
    if (client.route !== route) {
      this.ports.withdraw(client.route)
      if (client.link !== undefined && client.route !== '') {
        const reason = `it was at ${client.route}`
        this.notice({
          code: 'client-moved',
          level: client.state === 'active' ? 'info' : 'debug',
          client: client.key,
          peer: route,
          reason,
        })
      }
    }
    const before = this.#clients.at(route)
    if (before !== undefined && before !== client) {
      // Messages still queued for this route would reach the wrong client, for which their topic ids mean other topics.
      this.ports.withdraw(route)
      before.routeTaken(now)
      // A client that has sent DISCONNECT loses nothing: no notice for it.
      if (before.link !== undefined) {
        const reason = `its address is ${client.key}'s`
        this.notice({ code: 'client-takeover', level: 'info', client: before.key, peer: route, reason })
      }
    }
    this.#clients.move(client, route)
  }

  owns(link: LinkId): boolean {
    return this.#clients.byLink.has(link) || this.#qosM1.owns(link)
  }

  linkReady(now: Instant, link: LinkId): void {
    this.#now = now
    const client = this.#clients.byLink.get(link)
    if (client === undefined) this.#qosM1.linkReady(now, link)
    else client.linkReady(now)
    this.#clients.rest()
  }

  /** `store.durable` has advanced. */
  durable(now: Instant): void {
    this.#now = now
    const waiting = this.#waiting
    this.#waiting = []
    for (const client of waiting) {
      client.awaitsDurable = false
      client.durable(now)
    }
    this.#clients.rest()
  }

  handleTimeout(now: Instant): void {
    this.#now = now
    for (let left = STEPS_PER_TURN; left > 0; left--) {
      const timer = this.timers.expired(now)
      if (timer === undefined) break
      const { client, about } = timer.owner
      client.timedOut(now, about)
    }
    this.#pace.run(now, () => {
      const seat = this.silences.expired(now)
      if (seat >= 0) this.#clients.seated(seat).supervision.timedOut(now)
      return seat >= 0
    })
    this.#checkAccess(now)
    this.#unrecorded.handleTimeout(now)
    this.#discovery.handleTimeout(now)
    this.#clients.rest()
  }

  /** The process was suspended for `ms` milliseconds. */
  paused(now: Instant, ms: number): void {
    this.pauses.ended(now, ms)
  }

  /** The access rules have changed. Large numbers of clients are checked over several turns. */
  accessChanged(now: Instant): void {
    this.#unchecked = this.#clients.values()
    this.#checkAccess(now)
    this.#qosM1.accessChanged(now)
    this.#clients.rest()
  }

  #checkAccess(now: Instant): void {
    const clients = this.#unchecked
    if (clients === undefined) return
    const done = this.#pace.run(now, () => {
      const client = clients.next().value
      if (client !== undefined) accessChanged(client, now)
      return client !== undefined
    })
    if (done) this.#unchecked = undefined
  }

  nextTimeout(): Instant | undefined {
    const clients = earliest(this.timers.next(), this.#pace.after(this.#unchecked === undefined ? this.silences.next() : OVERDUE))
    const records = this.#unrecorded.nextTimeout()
    return earliest(earliest(clients, records), earliest(this.ports.nextTimeout(), this.#discovery.nextTimeout()))
  }

  poll(now: Instant): Datagram | undefined {
    this.#now = now
    for (;;) {
      const datagram = this.ports.poll(now)
      if (datagram !== undefined && this.tap !== undefined) this.tap.datagramSent(datagram.route, datagram.bytes)
      const first = this.ports.nextChanged()
      for (let route = first; route !== undefined; route = this.ports.nextChanged()) this.#clients.liveAt(route)?.portChanged(now)
      this.#clients.rest()
      // A client whose last message has left may have more to send now: poll again.
      if (datagram !== undefined || first === undefined) return datagram
    }
  }

  // --- Restart

  /** Applies one record of the replay; call before `recover`. */
  apply(record: GatewayRecord): void {
    this.#replay ??= new Replay(this.#clients, this, this.uplink)
    this.#replay.apply(record)
  }

  /** Called after the replay: clients continue in the state that they had, without noticing the restart. */
  recover(now: Instant): void {
    this.sensors.recoveredAt = now
    const wall = wallTime(this.clock, now)
    const shutOut = this.#replay?.resumeAll(now, wall) ?? []
    this.#replay = undefined
    // The access rules changed while the process was not running.
    this.#unchecked = shutOut.values()
    this.#checkAccess(now)
    this.#discovery.start(now)
  }

  /** The process ends: discards queued frames. Clients get no DISCONNECT, and none is lost. */
  stop(_now: Instant): void {
    this.ports.clear()
  }

  // --- ClientHost

  transmit(route: RouteKey, message: Message, radius = 0): boolean {
    // The client's address is unknown until the client sends something.
    if (route === '') return false
    const bytes = encodedMessage(message)
    const nodeId = nodeIdOf(route)
    const frame = nodeId === undefined ? bytes : wrap(nodeId, bytes, radius)
    this.traffic.sent[message.type]!++
    this.traffic.bytesSent += frame.length
    if (message.type === MsgType.PUBLISH) this.traffic.publishBytesSent += message.data.length
    return this.ports.send(this.#now, carrierOf(route), route, frame, message)
  }

  isProven(route: RouteKey): boolean {
    return this.#proof.isProven(route)
  }

  mayBeGateway(route: RouteKey): boolean {
    return this.#gatewayNetworks === undefined ? this.#proof.isTrusted(route) : isWithinAny(route, this.#gatewayNetworks)
  }

  challenge(route: RouteKey, octets: number, before: number, isTaken: (msgId: number) => boolean): number | undefined {
    return this.#proof.challenge(this.#now, route, octets, before, isTaken)
  }

  acknowledged(route: RouteKey, msgId: number): boolean {
    if (!this.#proof.answered(route, msgId)) return false
    this.ports.heard(this.#now, route)
    return true
  }

  guessed(route: RouteKey): void {
    this.#proof.guessed(this.#now, route)
  }

  awaitDurable(client: GatewayClient): void {
    if (client.awaitsDurable) return
    client.awaitsDurable = true
    this.#waiting.push(client)
  }

  settle(client: GatewayClient): void {
    this.#clients.settle(client)
  }

  openLink(now: Instant, client: GatewayClient, isRestored = false): Link {
    this.closeLink(client)
    const link = this.uplink.open(now, linkInfo(client.route, client.username, isRestored))
    this.#clients.byLink.set(link.id, client)
    return link
  }

  closeLink(client: GatewayClient): void {
    if (client.link !== undefined) this.#clients.byLink.delete(client.link.id)
  }

  forget(client: GatewayClient): Lsn | 'full' {
    // What is forgotten already has nothing to say, and its seat may be another's.
    if (client.seat < 0) return 0
    client.setup.abandon(this.#now)
    client.supervision.stop()
    this.#clients.delete(client)
    this.sensorStates.removed(client)
    client.clear()
    this.uplink.forgotten?.(client.clientId)
    return this.#unrecorded.end(this.#now, client)
  }

  recordLater(client: GatewayClient): void {
    this.#unrecorded.add(this.#now, client)
  }

  answerUnknownSender(now: Instant, route: RouteKey, why: string): void {
    if (!this.#unknownSenders.mayAnswer(now, route)) return
    this.notice({ code: 'unknown-sender', level: 'debug', peer: route, reason: why })
    this.transmit(route, { type: MsgType.DISCONNECT, duration: undefined })
  }
}
