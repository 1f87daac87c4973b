import { earliest, type Instant } from '../base/machine.ts'
import { fingerprint } from '../mqtt/fingerprint.ts'
import { BRIDGE_LISTENER, type Delivery, type Link, type Outgoing, OutgoingType } from '../mqtt/link.ts'
import { type Connack, PacketType, type PublishResponse, type Subscribe, type Unsubscribe } from '../mqtt/packets.ts'
import { NO_PROPERTIES } from '../mqtt/properties.ts'
import type { QoS } from '../mqtt/publish.ts'
import { isLastingRefusal, ReasonCode } from '../mqtt/reason-codes.ts'
import { exceedsBytes, exceedsLevels } from '../mqtt/topics.ts'
import type { SessionKey } from '../store/store.ts'
import type { BridgeHost, BridgeState } from './bridge-host.ts'
import { BridgeNotifications, stateMessage } from './bridge-notifications.ts'
import type { BridgeOptions } from './bridge-options.ts'
import { answer, renamed } from './bridge-packets.ts'
import { Beginning, markedBy, markOf, PendingRequests } from './bridge-subscriptions.ts'
import { NEVER } from './connect-packet.ts'
import { Deliveries } from './deliveries.ts'
import type { UpstreamLinkOwner } from './link-owner.ts'
import { Targets } from './targets.ts'
import { remoteFilter, TopicMap } from './topic-map.ts'
import type { Upstream } from './upstream.ts'
import type { UpstreamLink } from './upstream-link.ts'

/** Milliseconds after which a local session that was closed is opened again, and a message that it had no room for sent again. */
const AGAIN_MS = 1_000

/**
 * Joins a session of this broker with a session at a remote one. Every message keeps its QoS and packet id, and an answer from one
 * side is passed to the other, so that nothing is acknowledged that the other side has not acknowledged. The bridge itself stores
 * nothing: what waits is in the queue of the local session, or at the remote broker.
 */
export class Bridge implements UpstreamLinkOwner {
  readonly options: BridgeOptions
  readonly remote: UpstreamLink
  /** When it was connected, lost its connection, or began to rest. */
  since: Instant = 0
  /** Messages so far. `refused`: by either side, for good. */
  readonly counts = { out: 0, in: 0, refused: 0 }
  readonly #host: BridgeHost
  readonly #topics: TopicMap
  readonly #deliveries: Deliveries
  readonly #news: BridgeNotifications
  readonly #localRequests = new PendingRequests()
  readonly #remoteRequests = new PendingRequests()
  #local: Link | undefined = undefined
  /** CONNACK of the local session has come: before that, nothing may overtake what is sent to it again. */
  #isOpen = false
  /** The local session is subscribed to everything that goes out. */
  #isReady = false
  readonly #beginning = new Beginning()
  /** The subscriptions at the remote broker have still to be asked for. */
  #hasToSubscribe = false
  /** The local session has queued what was retained here, and the remote broker has not begun a session for it. */
  #isNew = false
  #isWanted = false
  #hasEnded = false
  #isStopping = false
  #wasUp = false
  /** Sessions that the remote broker had lost when what is retained here was last sent. */
  #sessionsLost = 0
  #retainsHere = true
  #reopenAt: Instant | undefined = undefined
  #retryAt: Instant | undefined = undefined
  /** When something was last sent in either direction. */
  #movedAt: Instant = 0
  #stateTold: boolean | undefined = undefined
  /** Attempts to connect that had failed, or led to a connection. */
  #attempts = 0
  #connects = 0

  constructor(options: BridgeOptions, upstream: Upstream, host: BridgeHost) {
    this.options = options
    this.#host = host
    const { name, window, maxPacketSize, targets, connect } = options
    this.remote = upstream.open(0, { name, window, maxPacketSize }, new Targets(targets, connect.bridge), this)
    this.#topics = new TopicMap(options.topics)
    this.#news = new BridgeNotifications(options, host.notice)
    this.#deliveries = new Deliveries((now, packet) => {
      if (this.#local?.send(now, packet) === 'pause') this.remote.listen(now, false)
    }, upstream.held)
  }

  get state(): BridgeState {
    if (this.remote.isUp) return 'connected'
    return this.#hasEnded ? 'ended' : this.#isWanted || this.options.startType !== 'lazy' ? 'connecting' : 'idle'
  }

  /** Session key of its local session; `undefined` while that is closed. */
  get session(): SessionKey | undefined {
    return this.#local?.session
  }

  get localLink(): number | undefined {
    return this.#local?.id
  }

  /** Opens the local session. The remote one follows once that is ready. */
  start(now: Instant): void {
    this.#open(now)
    this.#tell(now, false)
  }

  /** The process stops: says goodbye to the remote broker, which keeps the session. */
  stop(now: Instant): void {
    if (this.#isStopping) return
    this.#isStopping = true
    this.#reopenAt = undefined
    this.#goodbye(now)
  }

  upstreamReady(now: Instant): void {
    this.linkReady(now)
  }

  /** One of its two links is ready. */
  linkReady(now: Instant): void {
    this.#pollLocal(now)
    this.#pollRemote(now)
    this.#reconsider(now)
  }

  handleTimeout(now: Instant): void {
    if (isDue(this.#reopenAt, now)) this.#open(now)
    if (isDue(this.#retryAt, now)) {
      this.#retryAt = undefined
      this.#deliveries.retry(now)
    }
    this.#localRequests.handleTimeout(now)
    this.#reconsider(now)
  }

  nextTimeout(): Instant | undefined {
    return earliest(earliest(this.#reopenAt, this.#retryAt), earliest(this.#idleAt, this.#localRequests.againAt))
  }

  /** When a lazy bridge disconnects, unless something is sent until then. */
  get #idleAt(): Instant | undefined {
    const isLazy = this.options.startType === 'lazy' && this.#isWanted
    const isQuiet = this.remote.inFlight === 0 && this.#deliveries.isOver && (this.#local?.backlog ?? 0) === 0
    return isLazy && isQuiet ? this.#movedAt + this.options.idleTimeoutMs : undefined
  }

  // --- The local session

  #open(now: Instant): void {
    this.#reopenAt = undefined
    const { name, localClientId, localCleanSession, window } = this.options
    this.#local = this.#host.uplink.open(now, { kind: 'mqtt', peer: `bridge ${name}`, listener: BRIDGE_LISTENER })
    // Nothing is delivered before the remote broker is there.
    this.#local.listen(now, false)
    const sessionExpiryInterval = localCleanSession ? 0 : NEVER
    this.#local.send(now, {
      ...{ type: PacketType.CONNECT, protocolVersion: 5, bridge: true, clientId: localClientId, cleanStart: localCleanSession },
      ...{ keepAlive: 0, will: undefined, username: undefined, password: undefined },
      properties: { sessionExpiryInterval, receiveMaximum: window },
    })
    this.#localRequests.clear()
    this.#subscribeHere()
    this.#localRequests.send(now, this.#local)
  }

  #pollLocal(now: Instant): void {
    for (let out = this.#local?.poll(now); out !== undefined; out = this.#local?.poll(now)) this.#fromLocal(now, out)
  }

  #fromLocal(now: Instant, out: Outgoing): void {
    switch (out.type) {
      case OutgoingType.DELIVERY:
        this.#publish(now, out)
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#answeredHere(now, out)
        return
      case PacketType.PUBREL:
        this.remote.send(now, out)
        return
      case PacketType.CONNACK:
        if (out.reasonCode === 0) this.#opened(now, out)
        return
      case PacketType.SUBACK:
        for (const [filter, code] of this.#localRequests.subscribed(now, out))
          this.#news.problem(now, `cannot subscribe to ${filter} here: ${hex(code)}`)
        this.#isReady ||= this.#localRequests.isOver
        return
      case PacketType.UNSUBACK:
        this.#beginning.answered(this.#localRequests.answered(out))
        this.#isReady ||= this.#localRequests.isOver
        return
      case OutgoingType.CLOSE:
        this.#closed(now, out.reasonCode, out.reason)
    }
  }

  #opened(now: Instant, { sessionPresent, properties }: Connack): void {
    this.#isOpen = true
    this.#retainsHere = properties.retainAvailable !== false
    this.#isNew = this.#beginning.isNew(sessionPresent)
    if (this.remote.isUp && !this.#isNew) this.#localRequests.unsubscribe(this.#beginning.begun())
    // Packet ids that are in use at the remote broker belong to a session that is no more.
    if (this.#isNew && this.#isReady) this.#beginAnew(now)
    this.#deliveries.again(now)
    this.remote.outbound.answerAgain()
  }

  /** Right behind CONNECT, so that nothing is published in between. */
  #subscribeHere(): void {
    const { local, remote } = this.#topics
    const marks = remote.map(({ filter }) => ({ filter: markOf(filter), qos: 0 as QoS }))
    const wanted = new Set(local.map(({ filter }) => filter))
    // Marks of topics that are no longer configured stay until the remote broker has answered UNSUBSCRIBE.
    const known = this.#beginning.opened(this.#filters())
    const gone = known.filter((filter) => markedBy(filter) === undefined && !wanted.has(filter))
    this.#localRequests.unsubscribe(gone)
    const mark = this.options.localCleanSession ? [] : this.#beginning.mark()
    this.#localRequests.subscribe([...local, ...marks, ...mark], { ...AS_BRIDGE, retainHandling: 1 })
  }

  /** The local session was closed: by an operator, or because the store is full. */
  #closed(now: Instant, reasonCode: number, reason: string | undefined): void {
    this.#local = undefined
    this.#isOpen = false
    if (this.#isStopping) return
    this.#reopenAt = now + AGAIN_MS
    this.#news.problem(now, `the session at this broker was closed (${reason ?? hex(reasonCode)}); it is opened again`)
  }

  #beginAnew(now: Instant): void {
    this.#deliveries.forget()
    const wasWanted = this.#isWanted
    if (wasWanted) this.#goodbye(now)
    this.remote.forget()
    this.remote.subscriptions.clear()
    this.#remoteRequests.clear()
    this.#hasToSubscribe = true
    if (wasWanted) this.#connect(now, true)
  }

  #filters(): readonly string[] {
    const { session } = this
    return session === undefined ? [] : this.#host.filtersOf(session)
  }

  // --- From here to the remote broker

  #publish(now: Instant, delivery: Delivery): void {
    const { message, qos, packetId, dup } = delivery
    const topic = this.#topics.toRemote(message.topic)
    if (topic === undefined || exceedsBytes(topic)) {
      if (topic !== undefined) this.#refused(`${message.topic} is too long with its prefix`)
      this.#discard(now, qos, packetId)
      return
    }
    this.counts.out++
    this.#movedAt = now
    const retain = delivery.retain && this.options.outgoingRetain
    const sent = topic === message.topic ? message : renamed(message, topic)
    if (this.remote.deliver(now, { message: sent, qos, packetId, retain, dup }) === 'pause') this.#local?.listen(now, false)
  }

  /** The local session sent a message that does not go anywhere. */
  #discard(now: Instant, qos: QoS, packetId: number): void {
    if (qos === 1) this.#local?.send(now, answer(PacketType.PUBACK, packetId))
    // A PUBREC with an error ends the exchange without PUBREL [5.0 section 4.3.3].
    else if (qos === 2) this.#local?.send(now, answer(PacketType.PUBREC, packetId, ReasonCode.UNSPECIFIED_ERROR))
  }

  /** An answer of the remote broker to a message from here. */
  #answeredThere(now: Instant, packet: PublishResponse): void {
    this.#movedAt = now
    // `UpstreamLink` has said which message it has given up, and why.
    if (packet.reasonCode > 0) this.counts.refused++
    this.#local?.send(now, packet)
  }

  // --- From the remote broker

  /** While the local session is closed everything stays where it is. */
  #pollRemote(now: Instant): void {
    while (this.#isOpen) {
      const out = this.remote.poll(now)
      if (out === undefined) return
      this.#fromRemote(now, out)
    }
  }

  #fromRemote(now: Instant, out: Outgoing): void {
    switch (out.type) {
      case OutgoingType.DELIVERY:
        this.#deliver(now, out)
        return
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#answeredThere(now, out)
        return
      case PacketType.PUBREL:
        this.#deliveries.released(now, out)
        return
      case PacketType.SUBACK:
      case PacketType.UNSUBACK:
        this.#answeredRequest(this.#remoteRequests.answered(out))
    }
  }

  #deliver(now: Instant, { message, qos, packetId, retain, dup }: Delivery): void {
    this.#movedAt = now
    const topic = this.#topics.toLocal(message.topic)
    const isTooLong = topic !== undefined && (exceedsBytes(topic) || exceedsLevels(topic, this.#host.maxTopicLevels))
    if (topic === undefined || isTooLong) {
      if (isTooLong) this.#refused(`${message.topic} of the remote broker has too many levels here (max_topic_levels)`)
      if (qos > 0) this.remote.send(now, answer(qos === 2 ? PacketType.PUBREC : PacketType.PUBACK, packetId))
      return
    }
    if (topic !== message.topic) {
      message.topic = topic
      // The received packet has another topic.
      message.frameStart = -1
    }
    message.qos = qos
    message.packetId = packetId
    message.dup = dup
    message.retain = retain && this.#retainsHere
    this.counts.in++
    this.#deliveries.deliver(now, message)
  }

  /** An answer of the local session to a message of the remote broker, or to its PUBREL. */
  #answeredHere(now: Instant, packet: PublishResponse): void {
    const { reasonCode, properties } = packet
    const isRefusal = reasonCode >= 0x80 && packet.type !== PacketType.PUBCOMP
    if (isRefusal && !isLastingRefusal(reasonCode, properties.reasonString)) {
      // The store or the memory is full: the remote broker keeps the message until there is room.
      this.#deliveries.postpone(packet.packetId)
      this.#retryAt ??= now + AGAIN_MS
      this.remote.listen(now, false)
      return
    }
    if (isRefusal) this.counts.refused++
    this.remote.send(now, packet)
    this.#deliveries.answered(now, packet)
  }

  // --- The connection

  /** Works out from the state of both sides who listens, and whether the remote session is wanted. */
  #reconsider(now: Instant): void {
    const { remote, options } = this
    if (remote.isUp !== this.#wasUp) this.#changed(now, remote.isUp)
    const { dials, state } = remote.status
    if (state === 'waiting' && dials > this.#attempts) {
      if (remote.status.connects === this.#connects && this.#news.failed(remote.status)) remote.setWill(now, this.#news.will)
      this.#attempts = dials
    }
    this.#connects = remote.status.connects
    if (options.startType === 'once' && remote.status.lastError !== '' && !remote.isUp && !this.#hasEnded) this.#end(now)
    const local = this.#local
    if (local !== undefined) this.#localRequests.send(now, local)
    const mayPass = !this.#beginning.isPending
    if (this.#isWanted && this.#hasToSubscribe && mayPass) this.#subscribeThere(now)
    remote.listen(now, this.#isOpen && local?.state === 'open' && this.#retryAt === undefined && mayPass)
    local?.listen(now, remote.isUp && remote.state === 'open' && this.#isReady && mayPass)
    if (this.#isStopping || this.#hasEnded || !this.#isReady) return
    const isDemanded = options.startType !== 'lazy' || (local?.backlog ?? 0) >= options.threshold
    if (!this.#isWanted && isDemanded) this.#connect(now, this.#isNew)
    else if (this.#isWanted && isDue(this.#idleAt, now)) this.#goodbye(now)
  }

  /** `isNew`: the local session does not know which packet ids are in use at the remote broker. */
  #connect(now: Instant, isNew: boolean): void {
    const { options, remote, session } = this
    this.#isWanted = true
    this.#movedAt = now
    const isFirst = remote.status.dials === 0
    if (isFirst && !isNew && session !== undefined) this.#restoreReceipts(this.#host.receiptsOf(session))
    const [{ connect }, { will }] = [options, this.#news]
    // The remote broker would take new messages with QoS 2 for copies of earlier ones with their packet ids.
    const mayCollide = isNew && this.#topics.local.some(({ qos }) => qos === 2)
    remote.send(now, {
      type: PacketType.CONNECT,
      protocolVersion: 5,
      ...connect,
      will,
      cleanStart: connect.cleanStart || mayCollide,
    })
    this.#hasToSubscribe ||= isFirst
  }

  #restoreReceipts(receipts: ReadonlyMap<number, number | undefined>): void {
    this.remote.restoreReceipts(receipts.keys(), ({ packetId, topic, payload }) => {
      const known = receipts.get(packetId)
      return known === undefined || known === fingerprint(this.#topics.toLocal(topic) ?? '', payload)
    })
  }

  /** What is published there from now on is not lost by a restart, which would begin the session once more while `Beginning` is pending. */
  #subscribeThere(now: Instant): void {
    this.#hasToSubscribe = false
    const { remote } = this.#topics
    const wanted = new Set(remote.map(({ filter }) => filter))
    const gone = new Set(this.#filters().flatMap((filter) => markedBy(filter) ?? []))
    const onlyOut = this.options.topics.filter(({ direction }) => direction === 'out')
    if (this.options.attemptUnsubscribe) for (const topic of onlyOut) gone.add(remoteFilter(topic))
    this.#remoteRequests.unsubscribe([...gone].filter((filter) => !wanted.has(filter)))
    this.#remoteRequests.subscribe(remote, { ...AS_BRIDGE, retainHandling: 1 })
    this.#remoteRequests.send(now, this.remote, false)
  }

  #answeredRequest(request: Subscribe | Unsubscribe | undefined): void {
    if (request?.type !== PacketType.UNSUBSCRIBE) return
    const known = new Set(this.#filters())
    const marks = request.filters.map(markOf).filter((mark) => known.has(mark))
    this.#localRequests.unsubscribe(marks)
  }

  #changed(now: Instant, isUp: boolean): void {
    const { remote, options } = this
    this.#wasUp = isUp
    this.#movedAt = now
    this.#tell(now, isUp)
    if (isUp) {
      this.#news.connected(now)
      const { sessionsLost } = remote.status
      // What the remote broker had retained may be gone with its session.
      if (sessionsLost > this.#sessionsLost && !this.#isNew)
        this.#localRequests.subscribe(this.#topics.local, { ...AS_BRIDGE, retainHandling: 0 })
      this.#sessionsLost = sessionsLost
      this.#isNew = false
      // Only CONNACK of the local session tells whether the bridge must start a new remote session instead.
      if (this.#isOpen) this.#localRequests.unsubscribe(this.#beginning.begun())
      if (this.#mayEcho) this.#news.echoes(now)
      this.#notify(now, true)
      return
    }
    if (this.#news.lost(now)) remote.setWill(now, undefined)
    if (options.localCleanSession) {
      this.#local?.lost(now, 'the remote broker is not connected (local_cleansession)')
      this.#local = undefined
      this.#open(now)
    }
  }

  /** The remote broker knows neither No Local nor that this is a bridge. */
  get #mayEcho(): boolean {
    const dialect = this.remote.stream?.dialect
    const isPlain = dialect !== undefined && dialect.version < 5 && !dialect.bridge
    return isPlain && this.options.topics.some(({ direction }) => direction === 'both')
  }

  #goodbye(now: Instant): void {
    this.#isWanted = false
    // DISCONNECT deletes the will, which says the same.
    if (this.remote.isUp) this.#notify(now, false)
    this.#rest(now)
  }

  #end(now: Instant): void {
    this.#hasEnded = true
    this.#isWanted = false
    this.#rest(now)
    this.#news.problem(now, `it was to connect once (start_type): ${this.remote.status.lastError}`)
  }

  #rest(now: Instant): void {
    this.remote.send(now, { type: PacketType.DISCONNECT, reasonCode: ReasonCode.SUCCESS, properties: NO_PROPERTIES })
    this.#wasUp = false
    this.#tell(now, false)
  }

  // --- Notifications

  /** Tells the remote broker whether the bridge is connected. */
  #notify(now: Instant, isUp: boolean): void {
    const message = this.#news.message(isUp)
    if (message !== undefined) this.remote.send(now, message)
  }

  /** The same here. */
  #tell(now: Instant, isUp: boolean): void {
    this.since = now
    const { notificationTopic: topic } = this.options
    if (topic === undefined || this.#stateTold === isUp) return
    if (topic.startsWith('$SYS/')) this.#host.publishSys(now, topic, isUp ? '1' : '0')
    else if (this.session === undefined) return
    else this.#local?.send(now, stateMessage(topic, isUp, this.#retainsHere))
    this.#stateTold = isUp
  }

  #refused(reason: string): void {
    this.counts.refused++
    this.#news.refused(reason)
  }
}

/** What a bridge publishes does not come back to it, and what is retained stays so. */
const AS_BRIDGE = { noLocal: true, retainAsPublished: true } as const

const isDue = (at: Instant | undefined, now: Instant): boolean => at !== undefined && at <= now

const hex = (reasonCode: number): string => `reason code 0x${reasonCode.toString(16)}`
