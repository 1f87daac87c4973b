import { decodeUtf8, utf8Error } from '../base/bytes.ts'
import type { Instant } from '../base/machine.ts'
import { type Link, type LinkId, OutgoingType, type Uplink } from '../mqtt/link.ts'
import { PacketType } from '../mqtt/packets.ts'
import { Publish } from '../mqtt/publish.ts'
import { topicNameError } from '../mqtt/topics.ts'
import type { SnPublish } from '../mqttsn/messages.ts'
import type { ClientHost } from './client/client-host.ts'
import type { RouteKey } from './ports/route.ts'
import { connectPacket, shortTopic } from './translate.ts'

/**
 * Clients must not have such an id: the session would conflict with the gateway's own, now or when the gateway gets that
 * gateway id.
 */
export const isQosM1ClientId = (clientId: string): boolean => /^roost-gateway-\d+-qos-1$/.test(clientId)

/**
 * PUBLISH with QoS -1 [1.2 section 6.8]: accepted without a connection and never answered. One link to the broker serves
 * all of it.
 */
export class QosM1 {
  readonly #host: ClientHost
  readonly #uplink: Uplink
  /** Opened with the first message. */
  #link: Link | undefined = undefined
  #username: string | undefined = undefined
  #retains = true

  constructor(host: ClientHost, uplink: Uplink) {
    this.#host = host
    this.#uplink = uplink
  }

  /** `sender`: the id of the client that is connected there, whose own predefined topics apply; empty if there is none. */
  publish(now: Instant, route: RouteKey, message: SnPublish, sender: string): void {
    const { topicIdType, topicId, retain } = message
    const user = this.#host.options.users.qosM1User(route)
    if (user === undefined) {
      this.#refused(route, 'QoS -1 is not taken from here (qos_m1, sn_users)')
      return
    }
    const topic = this.#topicOf(message, sender)
    if (topic === undefined || topicNameError(topic) !== '') {
      this.#refused(route, `QoS -1 with unknown ${topicIdType} topic id ${topicId}`)
      return
    }
    if (this.#link === undefined || this.#username !== user.username) this.#open(now, user.username)
    if (this.#link?.session === undefined) {
      this.#refused(route, `${this.#host.uplink.place} takes no QoS -1 messages at the moment`)
      return
    }
    if (retain && !this.#retains) {
      this.#refused(route, 'nothing is retained here (retain_available)')
      return
    }
    // With a topic name inside, the topic id is the length of that name.
    const data = topicIdType === 'normal' ? message.data.subarray(topicId) : message.data
    this.#link.send(now, Publish.of(topic, data, 0, retain))
  }

  owns(link: LinkId): boolean {
    return link === this.#link?.id
  }

  /**
   * QoS -1 is never answered, so the broker's answers are discarded. If the broker closes the link, the next message
   * opens another.
   */
  linkReady(now: Instant, id: LinkId): void {
    for (let out = this.#link?.poll(now); out !== undefined; out = this.#link?.poll(now)) {
      if (out.type === OutgoingType.CLOSE) this.#link = undefined
      else if (out.type === PacketType.CONNACK) this.#retains = out.properties.retainAvailable !== false
      if (this.#link?.id !== id) return
    }
  }

  /** The access rules have changed: the next message opens a link as the user that now applies. */
  accessChanged(now: Instant): void {
    this.#link?.lost(now, 'the rules have changed')
    this.#link = undefined
  }

  #open(now: Instant, username: string | undefined): void {
    this.#link?.lost(now, 'another user')
    this.#username = username
    const identity = username === undefined ? {} : { identity: username }
    this.#link = this.#uplink.open(now, { kind: 'sn', peer: 'QoS -1', listener: 'sn', isShared: true, ...identity })
    this.#link.send(now, connectPacket(`roost-gateway-${this.#host.options.gatewayId}-qos-1`, true, 0, undefined))
  }

  /**
   * Without a connection only predefined ids and short names have a meaning, and, by configuration, a name inside (ruling
   * A24).
   */
  #topicOf({ topicIdType, topicId, data }: SnPublish, sender: string): string | undefined {
    if (topicIdType === 'short') return shortTopic(topicId)
    if (topicIdType === 'predefined') return this.#host.predefined.nameOf(sender, topicId)
    const isInside = this.#host.options.qosM1InlineTopic && topicId <= data.length && utf8Error(data, 0, topicId) === ''
    return isInside ? decodeUtf8(data, 0, topicId) : undefined
  }

  #refused(peer: RouteKey, reason: string): void {
    this.#host.notice({ code: 'publish-refused', level: 'debug', peer, reason })
  }
}
