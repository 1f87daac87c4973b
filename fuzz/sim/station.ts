import { ByteWriter } from '../../src/base/bytes.ts'
import { TYPE_ERROR } from '../../src/filters/type-check.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import type { Properties } from '../../src/mqtt/properties.ts'
import { ReasonCode } from '../../src/mqtt/reason-codes.ts'
import { topicMatches } from '../topic-matches.ts'
import { CONDITION, type Published, type Receiver } from './claims.ts'
import { movedTo } from './hook.ts'
import type { Setup } from './setup.ts'
import type { Site } from './site.ts'
import { type Cut, STATE_FILTER, stateTopic, WILL_TOPIC } from './step.ts'
import type { TcpClient } from './tcp-client.ts'
import { bytes, textOf, willText } from './texts.ts'

/** Id of the client that is a bridge where there is one. */
export const BRIDGE = 'm1'
/** Id of the client that asks for a condition where there is one. */
const CONDITIONAL_STATION = 'm2'
/** A session that ends so soon promises nothing. */
export const SHORT_SECONDS = 30

export interface StationWill {
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly delaySeconds: number
}

/** Of a bridge: its state is 0 when it is lost. */
const STATE_WILL: StationWill = { qos: 1, retain: true, delaySeconds: 0 }
/** What was said of the state of a bridge, and whether as a retained message. */
export interface SaidState {
  readonly state: string
  readonly retain: boolean
}

/** The description of a message that came. */
export interface Described {
  readonly text: string
  readonly contentType: string | undefined
  readonly isMarked: boolean
}

const describedAs = (text: string, { contentType, userProperties = [] }: Properties): Described => ({
  text,
  contentType,
  isMarked: userProperties.some(([name]) => name === TYPE_ERROR),
})

/** An application on a TCP connection. */
export class Station {
  readonly id: string
  readonly tcp: TcpClient
  readonly will: StationWill | undefined
  /** For which its session outlives its stream. */
  readonly lastsSeconds: number
  /** Between its loss and its will. */
  readonly willDelayMs: number
  readonly receiver: Receiver
  readonly #site: Site
  readonly #waiting = new Map<number, Published>()
  readonly #subscribing = new Map<number, string>()
  /** What was asked before the last UNSUBSCRIBE, and is granted after it. */
  readonly #forgone = new Set<number>()
  readonly #unsubscribing = new Map<number, string>()
  /** Wills that it has heard of. */
  readonly wills: string[] = []
  /** How what it got was described, where its version can do that; until it was judged. */
  readonly described: Described[] = []
  /** What it has heard of the state of the bridge. */
  readonly states: SaidState[] = []
  /** Behind what it connects again, the next time. */
  cut: Cut | undefined = undefined
  /** Its conversations say that they are a bridge's. */
  saysBridge: boolean
  /** It tells its state, as a bridge. */
  readonly notifies: boolean

  constructor(
    site: Site,
    id: string,
    lastsSeconds: number,
    qos: 0 | 1 | 2,
    will?: StationWill,
    bridge: Setup['bridge'] = 'none',
  ) {
    const lasting = lastsSeconds > SHORT_SECONDS
    const isBridge = bridge !== 'none'
    this.#site = site
    this.id = id
    this.notifies = bridge === '3.1.1' || bridge === '3.1'
    this.saysBridge = this.notifies
    // Whoever does not say that it is a bridge may have no will there.
    this.will = this.notifies ? STATE_WILL : isBridge ? undefined : will
    this.lastsSeconds = lastsSeconds
    this.willDelayMs = 1000 * Math.min(this.will?.delaySeconds ?? 0, lastsSeconds)
    this.receiver = site.claims.receiver(id, lasting, qos, 1, site.setup.conditional === 'station' && id === CONDITIONAL_STATION)
    this.receiver.bridge = isBridge
    const saysBridge = (): boolean => this.saysBridge
    this.tcp = site.world.addTcpClient({
      clientId: id,
      version: bridge === '3.1' ? 3 : isBridge ? 4 : 5,
      get bridge() {
        return saysBridge()
      },
      cleanStart: false,
      keepAliveSeconds: 60,
      // One that does not last may still be there when its client is back soon: nothing is promised of it.
      properties: { sessionExpiryInterval: lastsSeconds },
      ...(this.will !== undefined && {
        will: {
          topic: this.notifies ? stateTopic(id) : WILL_TOPIC,
          payload: bytes(this.notifies ? '0' : willText(id)),
          qos: this.will.qos,
          retain: this.will.retain,
          properties: { willDelayInterval: this.will.delaySeconds },
        },
      }),
    })
    this.tcp.onEvent = (event) => {
      if (event.event === 'published') {
        const one = this.#waiting.get(event.packetId)
        if (one !== undefined && event.reasonCode < 0x80 && !one.refusedSilently) one.acknowledged = true
        this.#waiting.delete(event.packetId)
      } else if (event.event === 'subscribed') {
        const filter = this.#subscribing.get(event.packetId)
        const forgone = this.#forgone.delete(event.packetId)
        if (filter !== undefined && !forgone && event.reasonCodes[0]! < 0x80) this.receiver.granted.add(filter)
        this.#subscribing.delete(event.packetId)
      } else if (event.event === 'connected') {
        if (!event.sessionPresent) {
          site.claims.forfeit(this.receiver)
          site.claims.forget(this.receiver)
        }
        if (this.saysBridge) this.receiver.bridgeSince = Math.min(this.receiver.bridgeSince, site.claims.count)
        if (this.notifies) this.#retain(stateTopic(id), '1')
      } else if (event.event === 'message') {
        const { topic, retain } = event.message
        const text = textOf(event.message.payload)
        if (topicMatches(STATE_FILTER, topic)) this.#heardState(text, retain)
        else if (topic === WILL_TOPIC) this.wills.push(text)
        else if (text !== '') {
          ;(this.#comesAgain(text, retain) ? this.receiver.kept : this.receiver.got).push(text)
          if (this.tcp.version === 5) this.described.push(describedAs(text, event.message.properties))
        }
      } else if (event.event === 'unsubscribed') this.#unsubscribing.delete(event.packetId)
      else if (event.event === 'disconnected') {
        this.#subscribing.clear()
        this.#forgone.clear()
        this.#unsubscribing.clear()
        this.saysBridge = isBridge
      }
    }
  }

  connect(): void {
    this.tcp.connect()
  }

  /** The server has read this, or written it. */
  passed(packet: Packet, way: Cut['way']): void {
    if (way !== this.cut?.way || packet.type !== PacketType[this.cut.behind]) return
    if (packet.type === PacketType.PUBLISH && packet.qos !== 2) return
    this.cut = undefined
    this.#site.world.schedule.after(0, () => {
      this.tcp.breakStream()
      this.connect()
    })
  }

  /** It comes with a subscription, beside the first time. RETAIN does not tell a bridge: live messages have it too. */
  #comesAgain(text: string, retain: boolean): boolean {
    return retain && (!this.receiver.bridge || this.receiver.got.includes(text))
  }

  /** That the bridge is lost is told by its will. */
  #heardState(state: string, retain: boolean): void {
    this.states.push({ state, retain })
    if (state === '0' && !retain) this.wills.push(willText(BRIDGE))
  }

  /**
   * Something was refused, and its version has no acknowledgement that says so: PUBACK and PUBREC before 5.0 [3.1.1 MQTT-3.3.5-2], SUBACK in 3.1 [3.1
   * section 3.8]. It may be any of what it waits for.
   */
  refusedSilently(what: 'publish' | 'subscribe'): void {
    if (what === 'publish') for (const one of this.#waiting.values()) one.refusedSilently = true
    else if (this.tcp.version === 3) this.#subscribing.clear()
  }

  published(packetId: number): Published | undefined {
    return this.#waiting.get(packetId)
  }

  /** It has asked for the end of a subscription, and has no answer. */
  unsubscribes(filter: string): boolean {
    return [...this.#unsubscribing.values()].includes(filter)
  }

  /** It has asked for a subscription, and has no answer. */
  subscribes(filter: string): boolean {
    return [...this.#subscribing.values()].includes(filter)
  }

  subscribing(packetId: number): string | undefined {
    return this.#subscribing.get(packetId) ?? this.#unsubscribing.get(packetId)
  }

  /** `expiresSeconds`: 0 is never. */
  publish(topic: string, qos: 0 | 1 | 2, retain: boolean, long = false, expiresSeconds = 0, isUnfit = false): void {
    if (this.tcp.client.state !== 'connected') return
    const one = this.#site.claims.publish(this.id, movedTo(this.#site.setup.hook, topic), qos, long, retain, isUnfit)
    // A stream loses nothing while it lasts, and repeats nothing.
    one.arrived = 1
    this.tcp.act((mqtt, now) => {
      const properties = expiresSeconds > 0 ? { messageExpiryInterval: expiresSeconds } : {}
      const packetId = mqtt.publish(now, { topic, payload: bytes(one.text), qos, retain, properties })
      if (qos > 0 && packetId !== undefined) this.#waiting.set(packetId, one)
    })
  }

  /** Takes the retained message of a topic away. */
  clear(topic: string): void {
    this.#retain(topic, '')
  }

  #retain(topic: string, text: string): void {
    this.tcp.act((mqtt, now) => mqtt.publish(now, { topic, payload: bytes(text), qos: 1, retain: true }))
  }

  subscribe(filter: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.tcp.act((mqtt, now) => {
      const properties = this.receiver.conditional ? { userProperties: [['filter', CONDITION] as const] } : {}
      const packetId = mqtt.subscribe(now, [{ filter, qos: this.receiver.qos }], properties)
      this.#subscribing.set(packetId, filter)
    })
  }

  unsubscribe(filter: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.#site.claims.forfeit(this.receiver)
    for (const packetId of this.#subscribing.keys()) this.#forgone.add(packetId)
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.unsubscribe(now, [filter])
      this.#unsubscribing.set(packetId, filter)
    })
  }

  /**
   * Answers what it was never sent, or has not answered in full: PUBCOMP before PUBREL, or PUBREC where it only ever subscribed with QoS 1. A right
   * answer in advance would be a promise of its own.
   */
  forge(packetId: number): void {
    if (this.tcp.client.state !== 'connected') return
    const type = this.receiver.qos === 1 && packetId % 2 === 0 ? PacketType.PUBREC : PacketType.PUBCOMP
    const writer = new ByteWriter()
    encodePacket(writer, { type, packetId, reasonCode: 0, properties: {} }, this.tcp.version)
    this.tcp.say(writer.toBytes())
  }

  /** `withWill`: its will shall be published all the same. */
  disconnect(withWill = false): void {
    this.tcp.act((mqtt, now) => mqtt.disconnect(now, withWill ? ReasonCode.DISCONNECT_WITH_WILL_MESSAGE : 0))
  }
}
