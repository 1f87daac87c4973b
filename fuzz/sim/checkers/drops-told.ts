import type { Notice } from '../../../src/base/notice.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { MsgType } from '../../../src/mqttsn/messages.ts'
import { type Published, type Receiver, wants } from '../claims.ts'
import { dropsTold } from '../drops-told.ts'
import { movedTo, refuses } from '../hook.ts'
import { PacketStreams } from '../packet-streams.ts'
import type { TcpClient } from '../tcp-client.ts'
import { isUnfit, textOf } from '../texts.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** A message that arrived at the server, and somebody who was granted its topic. */
interface Owed {
  readonly one: Published
  readonly receiver: Receiver
  readonly forfeits: number
  readonly at: number
  /** Its publisher had been told that it is taken: a late copy, which may have reached nobody when it is refused. */
  readonly isCopy: boolean
}

/** What ends a conversation, and with it what is only for those who listen. */
const ENDS: ReadonlySet<string> = new Set([
  'client-lost',
  'client-disconnected',
  'client-takeover',
  'client-connected',
  'session-expired',
  'protocol-error',
  'store-full',
])
/** What tells that a message of this client is not taken. */
const REFUSES: ReadonlySet<string> = new Set([
  'publish-refused',
  'request-refused',
  'store-full',
  'protocol-error',
  'malformed-packet',
])

/** Reasons of `store-full` with which an MQTT connection ends. */
const CLOSES = /^(PUBREC|PUBREL|SUBSCRIBE|UNSUBSCRIBE) refused$/

/** For which what has arrived may wait to be read, while its publisher is held up. */
const UNREAD_MS = 5000

/** As whom the gateway publishes what comes with QoS -1. */
const QOS_M1 = 'roost-gateway-1-qos-1'

/**
 * Every drop has its Notice: what arrived at the server goes out to everybody who was granted its topic, or waits for them, or a Notice says that it
 * was dropped for them, or its publisher was told that it is not taken. No drops are: QoS 0 for somebody whose conversation is over; what a session
 * takes along that ends; and what a crash takes along that was not acknowledged.
 */
export class DropsTold extends SiteChecker {
  readonly name = 'every drop is told'
  readonly #up = new PacketStreams('client')
  #owed: Owed[] = []
  readonly #known = new Set<Published>()
  /** When drops were told, by the client that they are about. */
  readonly #told = new Map<string, number[]>()
  #toldCount = 0
  /** MQTT clients whose connection the server has ended: what they still send is not read. */
  readonly #ended = new Set<string>()
  /** `$SYS` counts of servers before this one. */
  #droppedBefore = 0
  /** Arrivals with QoS 0: those for somebody who is away are counted, and not told. */
  #unheard = 0
  /** QoS 1 messages of sensors that the broker has still to answer: `s1 7`. A copy of one says nothing new. */
  readonly #unanswered = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array, route: string): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    // Answers that wait for airtime are forgotten then, refusals among them; what is not acknowledged may be lost.
    if (message?.type === MsgType.CONNECT) this.#forgetUnanswered(`${id} `)
    if (message?.type === MsgType.CONNECT)
      this.#owed = this.#owed.filter(({ one, isCopy }) => one.publisher !== id || one.qos <= 0 || (one.acknowledged && !isCopy))
    if (message?.type === MsgType.SUBSCRIBE) this.#subscribed()
    if (message?.type !== MsgType.PUBLISH) return
    const { server } = this.site.world
    const client = server.gateway.client(id)
    // A PUBLISH that crosses a will dialogue ends it, and counts.
    const states = this.site.setup.strictSleep ? [] : ['asleep', 'awake']
    const open = ['active', 'willTopic', 'willMsg', ...states].includes(client?.state ?? '')
    const connected = open && client?.link !== undefined && client.route === route
    const text = textOf(message.data)
    // A copy from before its sensor began anew comes under an id that means another topic by now, and nothing in it says so.
    const name = message.topicIdType === 'normal' ? client?.registry.nameOf(message.topicId) : undefined
    const means = name === undefined ? undefined : movedTo(this.site.setup.hook, name)
    const isMistaken = message.topicIdType === 'normal' && means !== this.site.claims.published.get(text)?.topic
    if (message.qos !== -1 && (!connected || isMistaken)) return
    const exchange = `${id} ${message.msgId}`
    if (message.qos === 1 && message.dup && this.#unanswered.has(exchange)) return
    if (message.qos === 1) this.#unanswered.add(exchange)
    this.#arrived(text)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type === MsgType.PUBACK) this.#unanswered.delete(`${this.nodeOf(sensor).id} ${message.msgId}`)
  }

  #forgetUnanswered(begins: string): void {
    for (const exchange of this.#unanswered) if (exchange.startsWith(begins)) this.#unanswered.delete(exchange)
  }

  chunkIn(tcp: TcpClient, bytes: Uint8Array): void {
    for (const packet of this.#up.read(tcp, bytes)) {
      if (packet.type === PacketType.CONNECT) this.#ended.delete(packet.clientId)
      if (this.#ended.has(tcp.client.clientId)) continue
      if (packet.type === PacketType.SUBSCRIBE) this.#subscribed()
      if (packet.type === PacketType.PUBLISH) this.#arrived(textOf(packet.payload))
    }
  }

  requested(text: string): void {
    this.#arrived(text)
  }

  /** What is retained with QoS 0 may be queued for the subscriber, who may go away before it leaves. */
  #subscribed(): void {
    for (const { qos, retain } of this.site.claims.published.values()) if (retain && qos <= 0) this.#unheard++
  }

  #arrived(text: string): void {
    const { claims, world, setup } = this.site
    const one = claims.published.get(text)
    if (one === undefined) return
    if (one.qos <= 0) this.#unheard += claims.receivers.size
    // A full store takes it from nobody, and its publisher is told, if what it is told is not forgotten with the conversation.
    else if (world.store.refuse) return
    // The same message again, for which everything has been decided.
    if (one.qos === 2 && this.#known.has(one)) return
    this.#known.add(one)
    for (const receiver of claims.receivers.values()) {
      const { id, forfeits, lasting, bridge } = receiver
      if (bridge && id === one.publisher) continue
      if (!wants(receiver, one.topic, one.text)) continue
      // A copy of it may be recognised as one.
      if (this.#owed.some((other) => other.one === one && other.receiver === receiver) || one.handed.has(id)) continue
      const { sessions } = world.server.broker
      const session = sessions.get('sn', id) ?? sessions.get('mqtt', id)
      if (session === undefined && !lasting) continue
      if (one.qos <= 0 && session?.link === undefined && !setup.queueQos0Messages) continue
      this.#owed.push({ one, receiver, forfeits, at: world.schedule.now, isCopy: one.acknowledged })
    }
  }

  notice(notice: Notice): void {
    const { now } = this.site.world.schedule
    const id = this.site.clientOf(notice)
    const count = dropsTold(notice)
    this.#toldCount += count
    // Nobody but the collector subscribes to wills.
    if (notice.code === 'will-published' && this.site.nodes.some((node) => node.id === id && node.will?.qos === 0))
      this.#unheard++
    if (id === undefined) return
    if (count > 0) this.#told.set(id, [...(this.#told.get(id) ?? []), ...Array(count).fill(now)])
    // At debug level it is about what is ignored.
    const ends = ENDS.has(notice.code) && !(notice.code === 'protocol-error' && notice.level === 'debug')
    if (ends) this.#over(id, notice.code === 'session-expired')
    // A store that is full refuses PUBLISH with a reason code where there is one, and ends the connection for anything else.
    const isClosed = notice.code === 'protocol-error' || CLOSES.test(notice.reason ?? '')
    if (ends && isClosed && notice.client?.startsWith('mqtt:') === true) this.#ended.add(id)
    // What it has said may be heard only when it is read again.
    // Of QoS 1 and 2 it is the one that has just arrived: its refusal may still wait for airtime, and be forgotten with what was said before CONNECT.
    // A hook may have taken its time before it, or before the message was held against its type.
    const { hook } = this.site.setup
    const isRefusedLater = (text: string): boolean => refuses(hook, text) || (hook !== 'none' && isUnfit(text))
    // The store may have filled up while the hook took its time, and limits are looked at again behind it, with the content type that the message
    // has got from its type; what was acknowledged has found room.
    const isFull = notice.code === 'store-full' || notice.limit !== undefined
    const foundNoRoom = (acknowledged: boolean): boolean => hook !== 'none' && isFull && !acknowledged
    const refused = ({ one: { publisher, qos, text, acknowledged }, at }: Owed): boolean =>
      id === QOS_M1
        ? qos === -1
        : publisher === id && (qos <= 0 || at === now || isRefusedLater(text) || foundNoRoom(acknowledged))
    if (REFUSES.has(notice.code)) this.#owed = this.#owed.filter((owed) => !refused(owed))
  }

  /** A conversation is over. */
  #over(id: string, forGood: boolean): void {
    this.#owed = this.#owed.filter(
      ({ one, receiver }) => receiver.id !== id || (one.qos > 0 && receiver.lasting && !forGood) || this.#keeps(receiver, one),
    )
  }

  #keeps({ lasting }: Receiver, { qos }: Published): boolean {
    return lasting && qos <= 0 && this.site.setup.queueQos0Messages
  }

  crashed(): void {
    this.#unanswered.clear()
    this.#droppedBefore += this.#dropped()
    this.#owed = this.#owed.filter(({ one, receiver }) => receiver.lasting && one.qos > 0 && one.acknowledged)
  }

  /** As `$SYS/broker/publish/messages/dropped` has it, of this process. */
  #dropped(): number {
    const { broker, gateway, connections } = this.site.world.server
    return broker.stats.publishDropped + gateway.traffic.publishDropped + connections.traffic.publishDropped
  }

  look(): void {
    this.#judgeSensors()
    const counted = this.#droppedBefore + this.#dropped()
    if (counted < this.#toldCount) this.tell(`${this.#toldCount} drops were told, and ${counted} counted`)
    if (counted > this.#toldCount + this.#unheard)
      this.tell(
        `${counted} drops were counted, and ${this.#toldCount} told; at most ${this.#unheard} were QoS 0 for somebody who was away`,
      )
  }

  settled(): void {
    for (const receiver of this.site.claims.receivers.values())
      this.#judge(receiver, this.#waiting(receiver.id), Number.POSITIVE_INFINITY)
  }

  /** What neither waits for a sensor nor is on its way to it will never come. */
  #judgeSensors(): void {
    const { schedule, server, store } = this.site.world
    const { ports } = server.gateway
    if (ports.queuedFrames > 0 || store.durable < store.appended) return
    // While messages wait for a hook their publisher is held up, with what it has sent behind them.
    if ((server.broker.asked?.size ?? 0) > 0) return
    for (const { id, receiver } of this.site.nodes) {
      const client = server.gateway.client(id)
      const idle = client?.link !== undefined && client.link.backlog === 0 && !client.outbound.busy
      if (idle && this.#waiting(id) === 0) this.#judge(receiver, 0, schedule.now - UNREAD_MS)
    }
  }

  /** `until`: looks at what arrived before; `waiting`: so many may still come. */
  #judge(receiver: Receiver, waiting: number, until: number): void {
    const missing = this.#owed.filter(
      ({ one, forfeits, at, ...owed }) =>
        owed.receiver === receiver &&
        forfeits === receiver.forfeits &&
        !one.refused &&
        !one.handed.has(receiver.id) &&
        at < until,
    )
    const told = this.#told.get(receiver.id) ?? []
    for (const { one, at } of missing) {
      const since = missing.filter((other) => other.at >= at).length
      if (since > told.filter((when) => when >= at).length + waiting)
        this.tell(
          `"${one.text}" on ${one.topic} with QoS ${one.qos}, which arrived at ${at} ms, never went out to ${receiver.id}`,
        )
    }
  }

  #waiting(id: string): number {
    const { sessions } = this.site.world.server.broker
    const { queueLength = 0, inflight = undefined } = sessions.get('sn', id) ?? sessions.get('mqtt', id) ?? {}
    return queueLength + (inflight?.size ?? 0)
  }
}
