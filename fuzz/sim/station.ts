import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import { ReasonCode } from '../../src/mqtt/reason-codes.ts'
import type { Published, Receiver } from './claims.ts'
import type { Site } from './site.ts'
import { WILL_TOPIC } from './step.ts'
import type { TcpClient } from './tcp-client.ts'
import { bytes, textOf, willText } from './texts.ts'

/** A session that ends so soon promises nothing. */
export const SHORT_SECONDS = 30

export interface StationWill {
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly delaySeconds: number
}

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

  constructor(site: Site, id: string, lastsSeconds: number, qos: 0 | 1 | 2, will?: StationWill) {
    const lasting = lastsSeconds > SHORT_SECONDS
    this.#site = site
    this.id = id
    this.will = will
    this.lastsSeconds = lastsSeconds
    this.willDelayMs = 1000 * Math.min(will?.delaySeconds ?? 0, lastsSeconds)
    this.receiver = site.claims.receiver(id, lasting, qos)
    this.tcp = site.world.addTcpClient({
      clientId: id,
      cleanStart: false,
      keepAliveSeconds: 60,
      // One that does not last may still be there when its client is back soon: nothing is promised of it.
      properties: { sessionExpiryInterval: lastsSeconds },
      ...(will !== undefined && {
        will: {
          topic: WILL_TOPIC,
          payload: bytes(willText(id)),
          qos: will.qos,
          retain: will.retain,
          properties: { willDelayInterval: will.delaySeconds },
        },
      }),
    })
    this.tcp.onEvent = (event) => {
      if (event.event === 'published') {
        const one = this.#waiting.get(event.packetId)
        if (one !== undefined && event.reasonCode < 0x80) one.acknowledged = true
        this.#waiting.delete(event.packetId)
      } else if (event.event === 'subscribed') {
        const filter = this.#subscribing.get(event.packetId)
        const forgone = this.#forgone.delete(event.packetId)
        if (filter !== undefined && !forgone && event.reasonCodes[0]! < 0x80) this.receiver.granted.add(filter)
        this.#subscribing.delete(event.packetId)
      } else if (event.event === 'connected' && !event.sessionPresent) {
        site.claims.forfeit(this.receiver)
        site.claims.forget(this.receiver)
      } else if (event.event === 'message') {
        const text = textOf(event.message.payload)
        if (event.message.topic === WILL_TOPIC) this.wills.push(text)
        else if (text !== '') (event.message.retain ? this.receiver.kept : this.receiver.got).push(text)
      } else if (event.event === 'unsubscribed') this.#unsubscribing.delete(event.packetId)
      else if (event.event === 'disconnected') {
        this.#subscribing.clear()
        this.#forgone.clear()
        this.#unsubscribing.clear()
      }
    }
  }

  connect(): void {
    this.tcp.connect()
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
  publish(topic: string, qos: 0 | 1 | 2, retain: boolean, long = false, expiresSeconds = 0): void {
    if (this.tcp.client.state !== 'connected') return
    const one = this.#site.claims.publish(this.id, topic, qos, long)
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
    this.tcp.act((mqtt, now) => mqtt.publish(now, { topic, payload: bytes(''), qos: 1, retain: true }))
  }

  subscribe(filter: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.subscribe(now, [{ filter, qos: this.receiver.qos }])
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
    encodePacket(writer, { type, packetId, reasonCode: 0, properties: {} }, 5)
    this.tcp.say(writer.toBytes())
  }

  /** `withWill`: its will shall be published all the same. */
  disconnect(withWill = false): void {
    this.tcp.act((mqtt, now) => mqtt.disconnect(now, withWill ? ReasonCode.DISCONNECT_WITH_WILL_MESSAGE : 0))
  }
}
