import type { Notice } from '../../src/base/notice.ts'
import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { DurableView } from './durable-view.ts'
import type { Node, Site, Station } from './site.ts'
import { TOPICS } from './site.ts'
import type { Observer, Sensor, TcpClient } from './world.ts'

const T_RETRY_MS = 10_000
const N_RETRY = 3

/** Looks on at a site, and says what must not have happened. */
export interface Checker extends Observer {
  readonly name: string
  /** What it has found so far; asked after every step. */
  readonly found: readonly string[]
  /** Looks at the state between two steps. */
  look?(): void
}

const messageOf = (datagram: Uint8Array): Message | undefined => {
  const message = decodeMessage(datagram)
  return isMalformed(message) ? undefined : message
}

abstract class SiteChecker implements Checker {
  abstract readonly name: string
  readonly found: string[] = []
  protected readonly site: Site

  constructor(site: Site) {
    this.site = site
  }

  protected tell(what: string): void {
    this.found.push(`${this.site.world.schedule.now} ms: ${what}`)
  }

  protected nodeOf(sensor: Sensor): Node {
    return this.site.nodes.find((node) => node.sensor === sensor)!
  }

  protected stationOf(tcp: TcpClient): Station {
    return this.site.stations.find((station) => station.tcp === tcp)!
  }
}

interface Exchange {
  /** As sent, without DUP. */
  readonly key: string
  readonly msgId: number
  sentAt: number
  times: number
}

/** One exchange at a time towards each sensor [1.2 section 6.13]; repeated not before T_retry, and at most N_retry times. */
export class OneExchange extends SiteChecker {
  readonly name = 'one exchange at a time, retried in time'
  readonly #open = new Map<string, Exchange>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const open = this.#open.get(id)
    if (open === undefined || message === undefined) return
    const answers = 'msgId' in message && message.msgId === open.msgId
    const answer = message.type === MsgType.REGACK || message.type === MsgType.PUBACK || message.type === MsgType.PUBCOMP
    // A sensor that connects, wakes, pings or leaves begins anew, and so may the gateway.
    const anew = [MsgType.CONNECT, MsgType.PINGREQ, MsgType.DISCONNECT].includes(message.type as never)
    if (anew || (answers && (answer || message.type === MsgType.PUBREC))) this.#open.delete(id)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message === undefined) return
    // PINGRESP ends an awake period, with whatever was open.
    if (message.type === MsgType.PINGRESP || message.type === MsgType.DISCONNECT) this.#open.delete(id)
    const exchange = message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos > 0)
    if (!exchange) return
    const { now } = this.site.world.schedule
    const key = Buffer.from(datagram)
      .toString('hex')
      .replace(/^(..0c)[89a-f]/, (_, head: string) => `${head}*`)
      .replace(/^(..0c)[0-7]/, '$1*')
    const open = this.#open.get(id)
    if (open === undefined) {
      this.#open.set(id, { key, msgId: message.msgId, sentAt: now, times: 1 })
      return
    }
    if (open.key !== key) {
      this.tell(`${id} was sent ${key} while ${open.key} is open`)
      return
    }
    if (now - open.sentAt < T_RETRY_MS) this.tell(`${key} was sent to ${id} again after ${now - open.sentAt} ms`)
    if (++open.times > N_RETRY + 1) this.tell(`${key} was sent to ${id} ${open.times} times`)
    open.sentAt = now
  }

  crashed(): void {
    this.#open.clear()
  }
}

/** An awake period ends when nothing waits, when the limit is reached, or when the sensor does not answer (rulings A4, A5). */
export class BacklogFirst extends SiteChecker {
  readonly name = 'backlog before PINGRESP'
  readonly #excused = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    if (messageOf(datagram)?.type === MsgType.PINGREQ) this.#excused.delete(this.nodeOf(sensor).id)
  }

  notice({ code, client }: Notice): void {
    if (code === 'retries-exhausted' && client !== undefined) this.#excused.add(client.slice('sn:'.length))
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    if (messageOf(datagram)?.type !== MsgType.PINGRESP) return
    const { id } = this.nodeOf(sensor)
    const client = this.site.world.server.gateway.client(id)
    // Whoever is active is told what waits for it at once, and answered at once.
    if (client?.state !== 'asleep' || this.#excused.has(id) || this.site.world.store.stalled || this.site.world.store.refuse)
      return
    const { backlog } = client.link ?? { backlog: 0 }
    if (backlog > 0) this.tell(`PINGRESP to ${id} with ${backlog} messages left`)
  }
}

/** Both ends mean the same topic by the same id, whenever no REGISTER is under way. */
export class SameTopicIds extends SiteChecker {
  readonly name = 'topic ids agree'
  /** A late copy of its CONNECT has ended their session, and they will learn of that when they use an id. */
  readonly #beyond = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type !== MsgType.CONNECT) return
    const { id } = this.nodeOf(sensor)
    if (message.cleanSession && sensor.client.state !== 'connecting') this.#beyond.add(id)
    else this.#beyond.delete(id)
  }

  look(): void {
    const { gateway } = this.site.world.server
    for (const { id, sensor } of this.site.nodes) {
      const { client } = sensor
      const ours = gateway.client(id)
      if (ours === undefined || this.#beyond.has(id) || !client.idle || (client.state !== 'active' && client.state !== 'asleep'))
        continue
      if (ours.state !== 'active' && ours.state !== 'asleep') continue
      for (const topic of TOPICS) {
        const theirs = client.topicId(topic)
        if (theirs === undefined) continue
        const known = ours.registry.nameOf(theirs)
        if (known !== topic) this.tell(`${id} calls ${topic} ${theirs}, which is ${known ?? 'nothing'} to the gateway`)
      }
    }
  }
}

/** A will is published once for a sensor that is lost, and never for one that has said goodbye. */
export class WillOnce extends SiteChecker {
  readonly name = 'will exactly once or not at all'
  /** Published, by client, since its connection began. */
  readonly #published = new Map<string, number>()
  /** Lost, and not published. */
  readonly #due = new Set<string>()
  /** Has said goodbye; `true` once that was answered. */
  readonly #gone = new Map<string, boolean>()

  look(): void {
    for (const id of this.#due) this.tell(`${id} was lost, and its will was not published`)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message?.type === MsgType.CONNECT) {
      this.#published.delete(id)
      this.#gone.delete(id)
    }
    const { server, store } = this.site.world
    // Of an address that it has not connected from nobody knows who it is; and a full disk cannot remember that it left.
    const known = server.gateway.client(id)?.route === sensor.route && !store.refuse
    if (message?.type === MsgType.DISCONNECT && message.duration === undefined && known) this.#gone.set(id, false)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const { id } = this.nodeOf(sensor)
    if (messageOf(datagram)?.type === MsgType.DISCONNECT && this.#gone.has(id)) this.#gone.set(id, true)
  }

  notice({ code, client }: Notice): void {
    if (client === undefined) return
    const id = client.slice(client.indexOf(':') + 1)
    const hasWill = client.startsWith('sn:') && this.site.nodes.find((node) => node.id === id)?.hasWill === true
    if (code === 'client-lost' && hasWill) this.#due.add(id)
    // Refused by a full disk, and told.
    if (code === 'will-refused') this.#due.delete(id)
    if (code !== 'will-published') return
    this.#due.delete(id)
    const count = (this.#published.get(id) ?? 0) + 1
    this.#published.set(id, count)
    if (count > 1) this.tell(`the will of ${id} was published ${count} times`)
    if (this.#gone.has(id)) this.tell(`the will of ${id} was published although it had said goodbye`)
  }

  /** What was not durable has not happened: neither that a will was published, nor a goodbye that was not answered. */
  crashed(): void {
    this.#published.clear()
    this.#due.clear()
    for (const [id, answered] of this.#gone) if (!answered) this.#gone.delete(id)
  }
}

/** Whoever is connected has a session. */
export class SessionsLive extends SiteChecker {
  readonly name = 'a connected client has its session'

  look(): void {
    const { sessions } = this.site.world.server.broker
    for (const { id, tcp } of this.site.stations) {
      if (tcp.client.state === 'connected' && sessions.get('mqtt', id) === undefined) this.tell(`${id} is connected and has none`)
    }
  }
}

/** Nothing leaves before the records that it depends on are durable. */
export class AcknowledgedIsDurable extends SiteChecker {
  readonly name = 'nothing acknowledged before it is durable'
  readonly #view = new DurableView()
  readonly #streams = new Map<TcpClient, { connection: number | undefined; framer: Framer; decoder: PacketDecoder }>()
  /** What each client has asked and not been answered, by client and message id. */
  readonly #asked = new Map<string, string>()

  crashed(): void {
    this.#view.restart(this.site.world.store)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const isRequest = message?.type === MsgType.SUBSCRIBE || message?.type === MsgType.UNSUBSCRIBE
    if (isRequest && message.topicIdType === 'normal') this.#asked.set(`${id} ${message.msgId}`, message.topicName)
    if (message?.type === MsgType.PUBLISH) this.#asked.set(`${id} ${message.msgId}`, Buffer.from(message.data).toString())
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message === undefined) return
    this.#view.update(this.site.world.store)
    const { id } = this.nodeOf(sensor)
    const wrong = this.#wrongForSensor(id, message)
    if (wrong !== '') this.tell(`${id}: ${wrong}`)
  }

  #wrongForSensor(id: string, message: Message): string {
    const view = this.#view
    const session = view.sessions.get(`sn:${id}`)
    switch (message.type) {
      case MsgType.CONNACK: {
        // One that was lost while the disk stood still is told late, and that record is durable too.
        const { state } = this.site.world.server.gateway.client(id) ?? {}
        return message.returnCode === 0 && state === 'active' && view.sensors.get(id)?.state !== state
          ? 'CONNACK before its record'
          : ''
      }
      case MsgType.REGACK:
        return message.returnCode === 0 && !view.topics.has(`${id} ${message.topicId}`)
          ? `REGACK ${message.topicId} before its record`
          : ''
      case MsgType.REGISTER:
        return view.topics.has(`${id} ${message.topicId}`) ? '' : `REGISTER ${message.topicId} before its record`
      case MsgType.SUBACK: {
        const filter = this.#asked.get(`${id} ${message.msgId}`)
        if (message.returnCode !== 0 || filter === undefined) return ''
        return session?.filters.has(filter) ? '' : `SUBACK for ${filter} before its record`
      }
      case MsgType.UNSUBACK:
        return session?.filters.has(this.#asked.get(`${id} ${message.msgId}`) ?? '') ? 'UNSUBACK before its record' : ''
      case MsgType.PUBACK:
        return message.returnCode === 0 ? this.#unrecorded('PUBACK', this.#asked.get(`${id} ${message.msgId}`)) : ''
      case MsgType.PUBREC:
        return session?.receipts.has(message.msgId) ? '' : this.#unrecorded('PUBREC', this.#asked.get(`${id} ${message.msgId}`))
      case MsgType.PUBCOMP:
        return session?.receipts.has(message.msgId) ? `PUBCOMP ${message.msgId} before its record` : ''
      case MsgType.PUBLISH: {
        const onward = this.#unseen(message.data)
        if (onward !== '' || message.qos !== 2) return onward
        if (session?.received.has(message.msgId)) return `PUBLISH ${message.msgId} again after its PUBREC (MQTT-4.3.3-6)`
        return session?.sent.has(message.msgId) ? '' : `PUBLISH ${message.msgId} with QoS 2 before its record`
      }
      case MsgType.PUBREL:
        return session?.sent.has(message.msgId) && !session.received.has(message.msgId)
          ? `PUBREL ${message.msgId} before its record`
          : ''
      case MsgType.DISCONNECT: {
        const state = this.site.world.server.gateway.client(id)?.state
        return state === 'asleep' && view.sensors.get(id)?.state !== 'asleep' ? 'sleep granted before its record' : ''
      }
      case MsgType.WILLMSGRESP:
        return message.returnCode === 0 &&
          !Buffer.from(view.sensors.get(id)?.will?.message.payload ?? [])
            .toString()
            .includes('long')
          ? 'WILLMSGRESP before its record'
          : ''
      default:
        return ''
    }
  }

  /** A forgotten receipt would make the publisher's next attempt a second delivery. */
  #unseen(payload: Uint8Array): string {
    const text = Buffer.from(payload).toString()
    const one = this.site.claims.published.get(text)
    if (one?.qos !== 2 || !this.site.claims.receivers.get(one.publisher)!.lasting) return ''
    return this.#view.messages.has(text) ? '' : `"${text}", published with QoS 2, goes on before its receipt is recorded`
  }

  /** A message that waits for the collector, which has a lasting session and QoS 2, has a record. */
  #unrecorded(what: string, text: string | undefined): string {
    const one = this.site.claims.published.get(text ?? '')
    const owed = one?.owed.has('collector') && this.site.collector.receiver.granted.size > 0
    return one !== undefined && one.qos > 0 && owed && !this.#view.messages.has(one.text)
      ? `${what} for "${text}" before its record`
      : ''
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    this.#view.update(this.site.world.store)
    const station = this.stationOf(tcp)
    for (const packet of this.#packets(tcp, bytes)) {
      const wrong = this.#wrongForStation(station, packet)
      if (wrong !== '') this.tell(`${station.id}: ${wrong}`)
    }
  }

  #packets(tcp: TcpClient, bytes: Uint8Array): Packet[] {
    let stream = this.#streams.get(tcp)
    if (stream === undefined || stream.connection !== tcp.connection) {
      stream = { connection: tcp.connection, framer: new Framer(1 << 20), decoder: new PacketDecoder('server', 5) }
      this.#streams.set(tcp, stream)
    }
    const { framer, decoder } = stream
    framer.push(Uint8Array.from(bytes))
    const packets: Packet[] = []
    while (framer.next()) packets.push(decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)!)
    return packets
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
        return session?.receipts.has(packet.packetId) ? `PUBCOMP ${packet.packetId} before its record` : ''
      case PacketType.SUBACK: {
        const filter = this.site.stationSubscribing(id, packet.packetId)
        return packet.reasonCodes[0]! < 0x80 && filter !== undefined && !session?.filters.has(filter)
          ? `SUBACK for ${filter} before its record`
          : ''
      }
      case PacketType.UNSUBACK:
        return session?.filters.has(this.site.stationSubscribing(id, packet.packetId) ?? '') ? 'UNSUBACK before its record' : ''
      case PacketType.PUBLISH: {
        const onward = this.#unseen(packet.payload)
        if (onward !== '' || packet.qos !== 2) return onward
        if (session?.received.has(packet.packetId)) return `PUBLISH ${packet.packetId} again after its PUBREC (MQTT-4.3.3-6)`
        return session?.sent.has(packet.packetId) ? '' : `PUBLISH ${packet.packetId} with QoS 2 before its record`
      }
      case PacketType.PUBREL:
        return session?.sent.has(packet.packetId) && !session.received.has(packet.packetId)
          ? `PUBREL ${packet.packetId} before its record`
          : ''
      default:
        return ''
    }
  }
}

/** Every bound holds, and what is dropped is told. */
export class BoundsHold extends SiteChecker {
  readonly name = 'bounds hold'

  look(): void {
    const { broker, gateway } = this.site.world.server
    for (const { key, queueLength } of broker.sessions)
      if (queueLength > 2000) this.tell(`${queueLength} messages wait for ${key}`)
    if (gateway.clientCount > this.site.nodes.length) this.tell(`${gateway.clientCount} sensors are known`)
    if (broker.linkCount > 2 * (this.site.nodes.length + this.site.stations.length) + 2)
      this.tell(`${broker.linkCount} links are open`)
  }
}

/** QoS 0 to 2 as promised, in order; asked of what the applications got. */
export class PromisesKept extends SiteChecker {
  readonly name = 'once, and in order'

  look(): void {
    const { claims } = this.site
    // Without a lasting session a publisher that comes back after a crash cannot know what arrived.
    const exactlyOnce = (publisher: string): boolean => claims.receivers.get(publisher)!.lasting
    for (const what of [...claims.repeated(exactlyOnce), ...claims.disordered()])
      if (!this.found.some((told) => told.endsWith(what))) this.tell(what)
  }
}

/** A sleeper hears nothing but answers outside its awake periods; the world itself looks at that. */
export class RadioSilence extends SiteChecker {
  readonly name = 'radio silence'

  look(): void {
    for (const what of this.site.world.violations.splice(0)) this.tell(what)
  }
}

export const checkersFor = (site: Site): Checker[] => [
  new OneExchange(site),
  new BacklogFirst(site),
  new SameTopicIds(site),
  new WillOnce(site),
  new SessionsLive(site),
  new AcknowledgedIsDurable(site),
  new BoundsHold(site),
  new PromisesKept(site),
  new RadioSilence(site),
]
