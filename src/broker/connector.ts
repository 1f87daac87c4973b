import type { Instant } from '../base/machine.ts'
import type { Connect } from '../mqtt/packets.ts'
import { PacketType } from '../mqtt/packets.ts'
import type { Properties } from '../mqtt/properties.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { topicNameError } from '../mqtt/topics.ts'
import type { Identity } from './access.ts'
import type { ClientLink } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { exceedsLevels } from './limits.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

/** CONNECT: who is let in, with which session, and what CONNACK says of it [5.0 sections 3.1, 3.2]. */
export class Connector {
  readonly #context: BrokerContext
  readonly #sessions: Sessions

  constructor(context: BrokerContext, sessions: Sessions) {
    this.#context = context
    this.#sessions = sessions
  }

  /** Accepts and pushes CONNACK, or gives the reason code of the refusal. `takeOver` ends the link that holds the session now. */
  connect(now: Instant, link: ClientLink, packet: Connect, takeOver: (old: ClientLink) => void): Session | number {
    const { access, limits } = this.#context
    const refusal = this.#refusal(packet, link) || access.connect(link.info, packet)
    if (refusal === 'ask') return ReasonCode.SERVER_UNAVAILABLE
    if (refusal !== 0) return refusal
    const clientId = packet.clientId === '' ? this.#assignedId() : packet.clientId
    const { kind } = link.info
    const old = this.#sessions.get(kind, clientId)
    if (this.#sessions.get(kind === 'mqtt' ? 'sn' : 'mqtt', clientId) !== undefined) {
      // Ruling A32: a sensor never meets the session of a TCP client of the same name, nor the other way round.
      return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    }
    if (old === undefined && this.#sessions.size >= limits.maxSessions) {
      this.#context.notice({ code: 'limit-reached', level: 'warn', peer: link.info.peer, reason: 'max_sessions' })
      return ReasonCode.QUOTA_EXCEEDED
    }
    if (old?.link !== undefined) {
      this.#context.stats.takeovers++
      const reason = `taken over from ${link.info.peer}`
      this.#context.notice({ code: 'client-takeover', level: 'info', client: old.key, peer: old.link.info.peer, reason })
      takeOver(old.link)
    }
    const begun = this.#sessions.begin(now, kind, clientId, {
      cleanStart: packet.cleanStart,
      expirySeconds: this.#expirySeconds(packet),
      will: packet.will,
      username: packet.username,
    })
    if (begun === 'full') return ReasonCode.QUOTA_EXCEEDED
    const { session, present, lsn } = begun
    session.link = link
    link.client = session
    link.version = packet.protocolVersion
    link.window = Math.min(packet.properties.receiveMaximum ?? 0xffff, limits.maxInflightMessages)
    const properties: Properties = { sharedSubscriptionAvailable: false }
    if (packet.clientId === '') properties.assignedClientIdentifier = clientId
    link.push({ type: PacketType.CONNACK, sessionPresent: present, reasonCode: ReasonCode.SUCCESS, properties }, lsn)
    return session
  }

  #refusal(packet: Connect, { info }: ClientLink): number {
    // MQTT-3.1.3-8 of 3.1.1: without a name there is nothing to come back to. 5.0 assigns one, whatever Clean Start says (MQTT-3.1.3-6).
    if (packet.clientId === '' && !packet.cleanStart && packet.protocolVersion < 5) return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    if (packet.properties.authenticationMethod !== undefined) return ReasonCode.BAD_AUTHENTICATION_METHOD
    const { will } = packet
    if (will === undefined) return 0
    if (topicNameError(will.topic) !== '' || exceedsLevels(will.topic, this.#context.limits.maxTopicLevels)) {
      return ReasonCode.TOPIC_NAME_INVALID
    }
    const { kind, listener } = info
    const identity: Identity = { kind, clientId: packet.clientId, username: packet.username, listener, grant: undefined }
    return this.#context.access.publish(identity, will.topic) ? 0 : ReasonCode.NOT_AUTHORIZED
  }

  #expirySeconds(packet: Connect): number {
    if (packet.protocolVersion === 5) {
      const interval = packet.properties.sessionExpiryInterval ?? 0
      return interval === 0xffffffff ? Number.POSITIVE_INFINITY : interval
    }
    return packet.cleanStart ? 0 : this.#context.limits.persistentClientExpiration
  }

  #assignedId(): string {
    for (;;) {
      const id = `roost-${Math.floor(this.#context.random() * 2 ** 48).toString(36)}`
      if (this.#sessions.get('mqtt', id) === undefined) return id
    }
  }
}
