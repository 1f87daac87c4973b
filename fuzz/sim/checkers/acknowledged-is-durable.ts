import { type Packet, PacketType } from '../../../src/mqtt/packets.ts'
import { type Message, MsgType } from '../../../src/mqttsn/messages.ts'
import { DurableView, type SessionView } from '../durable-view.ts'
import { PacketStreams } from '../packet-streams.ts'
import type { Station } from '../station.ts'
import type { TcpClient } from '../tcp-client.ts'
import { textOf } from '../texts.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** Nothing leaves before the records that it depends on are durable. */
export class AcknowledgedIsDurable extends SiteChecker {
  readonly name = 'nothing acknowledged before it is durable'
  readonly #view = new DurableView()
  readonly #streams = new PacketStreams('server')
  /** Filters that a sensor has asked to end: `s1 room/a`. */
  readonly #ended = new Set<string>()
  /** Filters that a sensor has subscribed to after that. */
  readonly #again = new Set<string>()
  /** What each client has asked and not been answered, by client and message id. */
  readonly #asked = new Map<string, string>()
  /** Will messages that each sensor has asked to be kept, and not been answered, in order. */
  readonly #willsAsked = new Map<string, string[]>()

  crashed(): void {
    this.#willsAsked.clear()
    this.#view.restart(this.site.world.store)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const isRequest = message?.type === MsgType.SUBSCRIBE || message?.type === MsgType.UNSUBSCRIBE
    if (isRequest && message.topicIdType === 'normal') {
      const filter = `${id} ${message.topicName}`
      if (message.type === MsgType.UNSUBSCRIBE) this.#ended.add(filter)
      else if (this.#ended.has(filter)) this.#again.add(filter)
      this.#asked.set(`${id} ${message.msgId}`, message.topicName)
    }
    if (message?.type === MsgType.WILLMSGUPD)
      this.#willsAsked.set(id, [...(this.#willsAsked.get(id) ?? []), textOf(message.message)])
    if (message?.type === MsgType.PUBLISH) this.#asked.set(`${id} ${message.msgId}`, Buffer.from(message.data).toString())
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message === undefined) return
    this.#view.update(this.site.world.store)
    const { id } = this.nodeOf(sensor)
    const wrong = this.#wrongForSensor(id, sensor.route, message)
    if (wrong !== '') this.tell(`${id}: ${wrong}`)
  }

  #wrongForSensor(id: string, route: string, message: Message): string {
    const view = this.#view
    const session = view.sessions.get(`sn:${id}`)
    switch (message.type) {
      case MsgType.CONNACK: {
        // One that was lost while the disk stood still is told late, and that record is durable too.
        const { state } = this.site.world.server.gateway.client(id) ?? {}
        // So is that of a session that the operator has ended since, whose client has still to be told.
        if (this.site.operator.ended.has(`sn:${id}`)) return ''
        return message.returnCode === 0 && state === 'active' && view.sensors.get(id)?.state !== state
          ? 'CONNACK before its record'
          : ''
      }
      case MsgType.REGACK:
        // A sensor that has gone in the meantime has taken its ids along.
        return message.returnCode === 0 && view.sensors.has(id) && !view.topics.has(`${id} ${message.topicId}`)
          ? `REGACK ${message.topicId} before its record`
          : ''
      case MsgType.REGISTER:
        return view.topics.has(`${id} ${message.topicId}`) ? '' : `REGISTER ${message.topicId} before its record`
      case MsgType.SUBACK: {
        const filter = this.#asked.get(`${id} ${message.msgId}`)
        if (message.returnCode !== 0 || filter === undefined) return ''
        // One commit may have both the subscription and its end, and a late copy may ask for what has ended since.
        // One that waits for airtime may leave when a clean session has ended, with all that was recorded of it.
        const hasEnded = session === undefined && this.site.claims.receivers.get(id)?.lasting === false
        const holds = session?.filters.has(filter) || this.#ended.has(`${id} ${filter}`) || hasEnded
        return holds ? '' : `SUBACK for ${filter} before its record`
      }
      case MsgType.UNSUBACK: {
        const filter = this.#asked.get(`${id} ${message.msgId}`) ?? ''
        // One commit may have both the end and the subscription after it.
        const isWrong = session?.filters.has(filter) === true && !this.#again.has(`${id} ${filter}`)
        return isWrong ? 'UNSUBACK before its record' : ''
      }
      case MsgType.PUBACK:
        return message.returnCode === 0 ? this.#unrecorded('PUBACK', this.#asked.get(`${id} ${message.msgId}`)) : ''
      case MsgType.PUBREC:
        return session?.receipts.has(message.msgId) ? '' : this.#unrecorded('PUBREC', this.#asked.get(`${id} ${message.msgId}`))
      case MsgType.PUBCOMP:
        return wrongPubcomp(session, message.msgId)
      case MsgType.PUBLISH:
        return this.#unseen(message.data) || (message.qos === 2 ? wrongPublish(session, message.msgId) : '')
      case MsgType.PUBREL:
        return wrongPubrel(session, message.msgId)
      case MsgType.DISCONNECT: {
        const client = this.site.world.server.gateway.client(id)
        // Where nobody knows it yet it may be told to connect, in the same words.
        const isGrant = client?.state === 'asleep' && client.route === route
        return isGrant && view.sensors.get(id)?.state !== 'asleep' ? 'sleep granted before its record' : ''
      }
      case MsgType.WILLMSGRESP:
        return this.#willIsKept(id) || message.returnCode !== 0 ? '' : 'WILLMSGRESP before its record'
      default:
        return ''
    }
  }

  /** The one that is answered now, or one that was asked for after it. */
  #willIsKept(id: string): boolean {
    const asked = this.#willsAsked.get(id) ?? []
    const { will, state } = this.#view.sensors.get(id) ?? {}
    // One commit may have both the will and the goodbye that takes it along.
    const isOver = state === undefined || (will === null && (state === 'disconnected' || state === 'lost'))
    const found = isOver || (will?.message !== undefined && asked.includes(textOf(will.message.payload)))
    this.#willsAsked.set(id, asked.slice(1))
    return found
  }

  /** A forgotten receipt would make the publisher's next attempt a second delivery. */
  #unseen(payload: Uint8Array): string {
    const text = Buffer.from(payload).toString()
    const one = this.site.claims.published.get(text)
    if (one?.qos !== 2 || !this.site.claims.receivers.get(one.publisher)!.lasting) return ''
    return this.#view.messages.has(text) ? '' : `"${text}", published with QoS 2, goes on before its receipt is recorded`
  }

  /** A message that waits for the collector, which has a lasting session and QoS 2, has a record; one for which there was no room has none. */
  #unrecorded(what: string, text: string | undefined): string {
    const one = this.site.claims.published.get(text ?? '')
    const { granted, dropped } = this.site.collector.receiver
    const owed = one?.owed.has('collector') && granted.size > 0 && dropped === 0 && !one.refusedSilently
    return one !== undefined && one.qos > 0 && owed && !this.#view.messages.has(one.text)
      ? `${what} for "${text}" before its record`
      : ''
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    this.#view.update(this.site.world.store)
    const station = this.stationOf(tcp)
    for (const packet of this.#streams.read(tcp, bytes)) {
      const wrong = this.#wrongForStation(station, packet)
      if (wrong !== '') this.tell(`${station.id}: ${wrong}`)
    }
  }

  #wrongForStation({ id, receiver }: Station, packet: Packet): string {
    if (!receiver.lasting) return ''
    const session = this.#view.sessions.get(`mqtt:${id}`)
    switch (packet.type) {
      case PacketType.CONNACK:
        return packet.reasonCode === 0 && session === undefined ? 'CONNACK before its record' : ''
      case PacketType.PUBACK:
      case PacketType.PUBREC: {
        if (packet.reasonCode >= 0x80) return ''
        const one = this.site.stationPublished(id, packet.packetId)
        return this.#unrecorded(packet.type === PacketType.PUBACK ? 'PUBACK' : 'PUBREC', one?.text)
      }
      case PacketType.PUBCOMP:
        return wrongPubcomp(session, packet.packetId)
      case PacketType.SUBACK: {
        const filter = this.site.stationSubscribing(id, packet.packetId)
        if (packet.reasonCodes[0]! >= 0x80 || filter === undefined || session?.filters.has(filter)) return ''
        // One commit may have both the subscription and its end.
        const ends = this.site.stations.some((station) => station.id === id && station.unsubscribes(filter))
        return ends ? '' : `SUBACK for ${filter} before its record`
      }
      case PacketType.UNSUBACK: {
        const filter = this.site.stationSubscribing(id, packet.packetId) ?? ''
        // One commit may have both the end and the next subscription.
        const again = this.site.stations.some((station) => station.id === id && station.subscribes(filter))
        return session?.filters.has(filter) && !again ? 'UNSUBACK before its record' : ''
      }
      case PacketType.PUBLISH:
        return this.#unseen(packet.payload) || (packet.qos === 2 ? wrongPublish(session, packet.packetId) : '')
      case PacketType.PUBREL:
        return wrongPubrel(session, packet.packetId)
      default:
        return ''
    }
  }
}

// --- QoS 2, which is the same for both protocols

export function wrongPublish(session: SessionView | undefined, packetId: number): string {
  if (session?.received.has(packetId)) return `PUBLISH ${packetId} again after its PUBREC (MQTT-4.3.3-6)`
  return session?.sent.has(packetId) ? '' : `PUBLISH ${packetId} with QoS 2 before its record`
}

export const wrongPubrel = (session: SessionView | undefined, packetId: number): string =>
  session?.sent.has(packetId) && !session.received.has(packetId) ? `PUBREL ${packetId} before its record` : ''

export const wrongPubcomp = (session: SessionView | undefined, packetId: number): string =>
  session?.receipts.has(packetId) ? `PUBCOMP ${packetId} before its record` : ''
