import type { Notice } from '../../src/base/notice.ts'
import type { Session } from '../../src/broker/session.ts'
import { type Packet, PacketType, type PublishResponse } from '../../src/mqtt/packets.ts'
import type { Publish } from '../../src/mqtt/publish.ts'
import type { Server } from '../../src/server.ts'
import { DurableView } from './durable-view.ts'
import type { PairClaims } from './pair-claims.ts'
import type { Side } from './pair-step.ts'
import { textOf } from './texts.ts'
import type { TrunkObserver, Way } from './trunk.ts'
import type { World } from './world.ts'

/** What a client of 3.1.1 may have in flight, which has no word for it: Mosquitto breaks off with one that has 200. */
const WINDOW_OF_311 = 20

/** Of a trunk. */
const senderOf = (way: Way): Side => (way === 'up' ? 'near' : 'far')
const opposite = (way: Way): Way => (way === 'up' ? 'down' : 'up')

/** A message with QoS 1 or 2 that was sent and not acknowledged in full. */
interface Sent {
  readonly text: string
  /** Its name at the far side. */
  readonly topic: string
  readonly qos: 1 | 2
  /** PUBREC has been written for it. */
  received: boolean
  /** Stream over which it was written last. */
  stream: number
  /** Its server does not send it any more, and has said so. */
  isGivenUp: boolean
}

interface Direction {
  readonly open: Map<number, Sent>
  window: number
}

/**
 * Reads along what goes over a trunk: nothing goes back to where it came from; packet ids stay those of their messages over all streams; what is
 * repeated says so; no window is exceeded; and no server acknowledges what it has not stored.
 */
export class TrunkChecker implements TrunkObserver {
  readonly found: string[] = []
  readonly #claims: PairClaims
  readonly #worlds: Readonly<Record<Side, World>>
  readonly #views = { near: new DurableView(), far: new DurableView() }
  readonly #ways: Readonly<Record<Way, Direction>> = {
    up: { open: new Map(), window: Number.POSITIVE_INFINITY },
    down: { open: new Map(), window: Number.POSITIVE_INFINITY },
  }
  readonly #aliases = new Map<string, string>()
  /** Packet ids of messages of a session that the far server has lost, which the near one may still take new messages for copies of. */
  readonly #receipts = new Set<number>()
  /** Streams over which the far server cannot know that the near one is a bridge, and sends back what it gets. */
  readonly #plain = new Set<number>()
  #version = 5
  #clientId = ''
  /** The process of the far server, and the session of the bridge there, at its last CONNACK. */
  #farServer: Server | undefined = undefined
  #farSession: Session | undefined = undefined
  /** Somebody may have ended the session at the far server since its last CONNACK. */
  mayBeReplaced = false
  /** Clients that are about to do that. */
  readonly usurpers = new Set<object>()
  /** The session at the near server was ended, and the bridge has not begun a new one at the far server yet. */
  hasToBeginAnew = false
  /** The last CONNECT had Clean Start. */
  #isClean = false

  constructor(claims: PairClaims, worlds: Readonly<Record<Side, World>>) {
    this.#claims = claims
    this.#worlds = worlds
    for (const side of ['near', 'far'] as const)
      worlds[side].observers.push({
        crashed: () => {
          this.#views[side].restart(worlds[side].store)
          // The next process numbers messages with QoS 1 anew: nobody has to remember what came with it.
          const { open } = this.#ways[side === 'near' ? 'up' : 'down']
          for (const [id, { qos }] of open) if (qos === 1) open.delete(id)
        },
      })
  }

  /** The far server has lost the session. The bridge learns it from CONNACK; one that is cut off may be the only one to say so. */
  forget(): void {
    const { open } = this.#ways.down
    for (const [id, { received }] of open) if (received) this.#receipts.add(id)
    open.clear()
  }

  /** A notice of the near server says which message it gives up: then it is known here. */
  givesUp({ code, reason = '' }: Notice): boolean {
    const [, topic, qos] = /^message on (.*) with QoS ([12]) is given up: /.exec(reason) ?? []
    if (code !== 'message-dropped' || topic === undefined) return false
    const { open } = this.#ways.up
    const like = [...open].filter(
      ([, sent]) => sent.topic === topic && sent.qos === Number(qos) && !sent.received && !sent.isGivenUp,
    )
    // It was the last to be sent.
    const [last] = like.toSorted(([, a], [, b]) => b.stream - a.stream)
    if (last === undefined) return false
    const [packetId, sent] = last
    sent.isGivenUp = true
    this.#claims.giveUp(sent.text, topic)
    // Its packet id is free.
    if (sent.qos === 1) open.delete(packetId)
    return true
  }

  /** Exchanges that are not over. */
  pending(way: Way): string[] {
    const { open } = this.#ways[way]
    return Array.from(open, ([id, { text, qos }]) => `"${text}" with QoS ${qos} and packet id ${id} on its way ${way}`)
  }

  written(stream: number, way: Way, packet: Packet): void {
    switch (packet.type) {
      case PacketType.CONNECT:
        this.#version = packet.protocolVersion
        this.#clientId = packet.clientId
        this.#isClean = packet.cleanStart
        this.mayBeReplaced ||= packet.cleanStart
        if (packet.protocolVersion < 5 && !packet.bridge) this.#plain.add(stream)
        this.#ways.down.window = packet.properties.receiveMaximum ?? Number.POSITIVE_INFINITY
        break
      case PacketType.CONNACK:
        this.#connected(packet.reasonCode, packet.sessionPresent, packet.properties.receiveMaximum)
        break
      case PacketType.PUBLISH:
        this.#published(stream, way, packet)
        break
      case PacketType.PUBACK:
      case PacketType.PUBREC:
      case PacketType.PUBCOMP:
        this.#answered(way, packet)
        break
      case PacketType.SUBACK:
        // What is refused is asked for again. The answer may belong to a session that the bridge is about to replace.
        if (!this.hasToBeginAnew && packet.reasonCodes.every((code) => code < 0x80)) this.#claims.remember()
        break
      case PacketType.PUBREL:
        this.#released(way, packet.packetId)
        break
      default:
    }
  }

  #tell(what: string): void {
    this.found.push(`${this.#worlds.near.schedule.now} ms: ${what}`)
  }

  #connected(reasonCode: number, sessionPresent: boolean, receiveMaximum: number | undefined): void {
    if (reasonCode !== 0) return
    this.#noteSession(sessionPresent)
    this.#ways.up.window = this.#version === 5 ? (receiveMaximum ?? Number.POSITIVE_INFINITY) : WINDOW_OF_311
    // CONNACK of 3.1 does not say whether there is a session.
    if (sessionPresent || (this.#version === 3 && !this.#isClean)) return
    // Otherwise somebody else has ended it, and the bridge goes on with the session for now.
    if (this.#isClean) this.hasToBeginAnew = false
    for (const { open } of Object.values(this.#ways)) open.clear()
    this.#receipts.clear()
  }

  /** Who has begun a new session in the name of the bridge may have been replaced before its CONNACK: the session is another one. */
  #noteSession(sessionPresent: boolean): void {
    const { server } = this.#worlds.far
    const session = server.broker.sessions.get('mqtt', this.#clientId)
    if (sessionPresent && server === this.#farServer && session !== this.#farSession) {
      if (!this.mayBeReplaced && this.usurpers.size === 0)
        this.#tell('the far server has another session for the bridge, and nobody has ended the one before')
      this.#claims.forget()
      this.forget()
    }
    // Before MQTT 5 a session that begins clean ends with its stream.
    this.mayBeReplaced = this.#isClean && this.#version < 5
    this.#farServer = server
    this.#farSession = session
  }

  #published(stream: number, way: Way, message: Publish): void {
    const { qos, packetId, dup } = message
    const topic = this.#topicOf(stream, way, message)
    const text = textOf(message.payload)
    const one = this.#claims.published.get(text)
    const sender = senderOf(way)
    // Only the far server may send back: what the bridge has from there never goes up again.
    const isFromHere = one?.side === 'near' && way === 'up'
    if (isFromHere && one.topic.direction === 'both' && this.#plain.has(stream)) one.mayEcho = true
    if (one !== undefined && one.side !== sender && !one.mayEcho)
      this.#tell(`"${text}" goes back ${way}, to where it was published`)
    if (qos === 0) return
    if (one !== undefined && way === 'down' && qos === 2 && this.#receipts.has(packetId)) one.inDoubt = true
    const { open, window } = this.#ways[way]
    const before = open.get(packetId)
    const name = `"${text}" with packet id ${packetId} going ${way}`
    if (before === undefined) {
      open.set(packetId, { text, topic, qos, received: false, stream, isGivenUp: false })
      if (open.size > window) this.#tell(`${name} is one more than the window of ${window}`)
    } else if (before.text !== text) {
      this.#tell(`${name} takes the packet id of "${before.text}", which is still in flight`)
    } else {
      if (before.stream === stream) this.#tell(`${name} is repeated over the same stream`)
      if (!dup) this.#tell(`${name} is repeated without DUP`)
      before.stream = stream
    }
    const view = this.#views[sender]
    view.update(this.#worlds[sender].store)
    if (one?.qos === 2 && !view.messages.has(text)) this.#tell(`${name} goes on before its receipt is recorded`)
  }

  #topicOf(stream: number, way: Way, { topic, properties }: Publish): string {
    const { topicAlias } = properties
    if (topicAlias === undefined) return topic
    const alias = `${stream} ${way} ${topicAlias}`
    if (topic !== '') this.#aliases.set(alias, topic)
    return this.#aliases.get(alias) ?? ''
  }

  #released(way: Way, packetId: number): void {
    if (way === 'down') this.#receipts.delete(packetId)
    const sent = this.#ways[way].open.get(packetId)
    if (sent === undefined || sent.received) return
    // The far server may have a receipt of what was given up, and would take the next message for a copy of it.
    if (!sent.isGivenUp) this.#tell(`PUBREL for "${sent.text}", going ${way}, before its PUBREC`)
    sent.received = true
  }

  /** `way`: of the answer. */
  #answered(way: Way, { type, packetId, reasonCode }: PublishResponse): void {
    const { open } = this.#ways[opposite(way)]
    const sent = open.get(packetId)
    if (sent === undefined) return
    const refused = type !== PacketType.PUBCOMP && reasonCode >= 0x80
    if (refused) {
      const one = this.#claims.published.get(sent.text)
      if (one !== undefined) one.late = true
      this.#claims.keptLate.add(sent.topic)
    } else if (type !== PacketType.PUBCOMP) this.#stored(senderOf(way), sent)
    if (type === PacketType.PUBREC && !refused) sent.received = true
    else open.delete(packetId)
  }

  /** Both applications of the side have lasting sessions, so what arrives there has a record. */
  #stored(side: Side, { text }: Sent): void {
    const one = this.#claims.published.get(text)
    const view = this.#views[side]
    view.update(this.#worlds[side].store)
    if (one !== undefined && this.#claims.dropped[side] === 0 && !view.messages.has(text))
      this.#tell(`"${text}" is acknowledged by the ${side} server, and not stored there`)
  }
}
