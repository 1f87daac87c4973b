import { DEFAULT_LIMITS } from '../../src/broker/limits.ts'
import { PacketType } from '../../src/mqtt/packets.ts'
import type { Lsn } from '../../src/store/store.ts'
import { wrongPubcomp, wrongPublish, wrongPubrel } from './checkers/acknowledged-is-durable.ts'
import { isBehind, sessionLine } from './checkers/recovers-the-same.ts'
import { DurableView } from './durable-view.ts'
import { PacketStreams } from './packet-streams.ts'
import type { PairClaims } from './pair-claims.ts'
import { KEPT_TOPICS, type PairSetup, type Side } from './pair-step.ts'
import type { TcpClient } from './tcp-client.ts'
import { textOf } from './texts.ts'
import type { Observer, World } from './world.ts'

/** An application, as its server knows it. */
export interface Watched {
  readonly id: string
  readonly tcp: TcpClient
  /** Text of what it has published under this packet id and is not acknowledged. */
  publishedAs(packetId: number): string | undefined
}

/**
 * What `checkers/` asks of a server alone, asked of each of a pair: nothing is acknowledged before it is durable, a restart changes nothing,
 * sessions live, and queues have their bounds. Sessions of a bridge are sessions like any other.
 */
export class ServerChecker implements Observer {
  readonly found: string[] = []
  readonly #side: Side
  readonly #world: World
  readonly #claims: PairClaims
  readonly #setup: PairSetup
  readonly #apps: readonly Watched[]
  readonly #view = new DurableView()
  readonly #streams = new PacketStreams('server')
  /** Applications that had a session. */
  readonly #seen = new Set<string>()
  #before: ReadonlyMap<string, string> | undefined = undefined
  #hasCrashed = false

  constructor(side: Side, world: World, claims: PairClaims, setup: PairSetup, apps: readonly Watched[]) {
    this.#side = side
    this.#world = world
    this.#claims = claims
    this.#setup = setup
    this.#apps = apps
  }

  #tell(what: string): void {
    this.found.push(`${this.#world.schedule.now} ms: ${this.#side} ${what}`)
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    const app = this.#apps.find((each) => each.tcp === tcp)
    if (app === undefined) return
    this.#view.update(this.#world.store)
    for (const packet of this.#streams.read(tcp, bytes)) {
      const session = this.#view.sessions.get(`mqtt:${app.id}`)
      if (packet.type === PacketType.CONNACK && packet.reasonCode === 0) {
        if (session === undefined) this.#tell(`${app.id}: CONNACK before its record`)
        if (!packet.sessionPresent && this.#seen.has(app.id)) this.#tell(`${app.id} comes back, and its session is gone`)
        this.#seen.add(app.id)
      }
      const wrong =
        packet.type === PacketType.PUBLISH && packet.qos === 2
          ? wrongPublish(session, packet.packetId)
          : packet.type === PacketType.PUBREL
            ? wrongPubrel(session, packet.packetId)
            : packet.type === PacketType.PUBCOMP
              ? wrongPubcomp(session, packet.packetId)
              : (packet.type === PacketType.PUBACK || packet.type === PacketType.PUBREC) && packet.reasonCode < 0x80
                ? this.#unrecorded(app.publishedAs(packet.packetId))
                : ''
      if (wrong !== '') this.#tell(`${app.id}: ${wrong}`)
    }
  }

  /** Two applications with lasting sessions have subscribed to everything, so that what arrives has a record; a drop is told. */
  #unrecorded(text = ''): string {
    const isOwed = text !== '' && this.#claims.dropped[this.#side] === 0
    return isOwed && !this.#view.messages.has(text) ? `"${text}" is acknowledged before its record` : ''
  }

  crashed(survived: Lsn, appended: Lsn, refused: boolean): void {
    // What the store has refused is in no record.
    this.#before = survived === appended && !refused && !isBehind(this.#world) ? this.#kept() : undefined
    this.#view.restart(this.#world.store)
    this.#hasCrashed = true
  }

  recovered(): void {
    const before = this.#before
    this.#before = undefined
    if (before === undefined) return
    const after = this.#kept()
    for (const [what, was] of before) {
      const is = after.get(what)
      if (is !== was) this.#tell(`${what} was ${was}, and is ${is ?? 'gone'} after a restart`)
    }
  }

  #kept(): Map<string, string> {
    const { broker } = this.#world.server
    const kept = new Map<string, string>()
    for (const session of broker.sessions) if (session.expirySeconds > 0) kept.set(session.key, sessionLine(session))
    for (const topic of KEPT_TOPICS) {
      const message = broker.retained.get(topic[this.#side])
      kept.set(`retained on ${topic[this.#side]}`, message === undefined ? '' : textOf(message.payload))
    }
    return kept
  }

  look(): void {
    const { sessions } = this.#world.server.broker
    for (const { id, tcp } of this.#apps)
      if (tcp.client.state === 'connected' && sessions.get('mqtt', id) === undefined)
        this.#tell(`${id} is connected without a session`)
    // What is retained comes with a subscription; a process that begins anew finds in the queues what was in flight.
    const most = this.#setup.maxQueuedMessages + 2 * KEPT_TOPICS.length
    for (const { key, queueLength, queuedQos0 } of sessions) {
      const mayWait = most + (this.#hasCrashed ? this.#windowOf(key) : 0)
      if (queueLength - queuedQos0 > mayWait) this.#tell(`${queueLength} messages wait for ${key}, and ${mayWait} may`)
    }
  }

  /**
   * Messages with QoS 1 and 2 that may be in flight to a client: as many as the server allows, to a bridge of MQTT 5 no more than its
   * window.
   */
  #windowOf(key: string): number {
    const { window, version } = this.#setup
    const isApp = this.#apps.some(({ id }) => key === `mqtt:${id}`)
    const hasWindow = !isApp && (this.#side === 'near' || version === 5)
    return Math.min(DEFAULT_LIMITS.maxInflightMessages, hasWindow ? window : Number.POSITIVE_INFINITY)
  }
}
