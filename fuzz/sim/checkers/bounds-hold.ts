import type { Session } from '../../../src/broker/session.ts'
import { PLAIN } from '../setup.ts'
import type { Sensor } from '../world.ts'
import { SiteChecker } from './checker.ts'

const HOUR_MS = 3_600_000
/** Octets that the largest message here weighs, topic included; and what a content type and a mark add. */
const MESSAGE_MAX = 100
const DESCRIPTION_MAX = { none: 0, refuse: 20, mark: 180 }
/** Bytes for somebody who does not read: what a socket takes, and what was said in the turn in which it was full. */
const UNREAD_MAX = 2000

interface Frame {
  readonly at: number
  readonly ms: number
}

/** Every bound of the setup holds, between all steps and for every frame. */
export class BoundsHold extends SiteChecker {
  readonly name = 'bounds hold'
  /** What went out at the port within the last hour; only where airtime is scarce. */
  #frames: Frame[] = []
  #freeAt = 0
  /** A process that begins anew finds in the queues what was in flight. */
  #crashed = false
  /** What is retained may wait beyond the bound of a queue, once. */
  #mostRetained = 0

  crashed(): void {
    this.#crashed = true
    // A new process knows nothing of what the one before has sent.
    this.#frames = []
    this.#freeAt = 0
  }

  datagramOut(_sensor: Sensor, { length }: Uint8Array): void {
    const { airtime, maxFrame } = this.site.setup
    if (length > maxFrame) this.tell(`a frame of ${length} octets was sent, and ${maxFrame} fit`)
    if (airtime === null) return
    const { now: at } = this.site.world.schedule
    // A clock of milliseconds in floating point.
    if (at < this.#freeAt - 1e-6) this.tell(`a frame was sent, and the one before takes until ${this.#freeAt} ms`)
    const ms = (length * 1000) / airtime.bytesPerSecond
    this.#freeAt = at + ms
    this.#frames = [...this.#frames.filter((frame) => frame.at > at - HOUR_MS), { at, ms }]
    const used = this.#frames.reduce((sum, frame) => sum + frame.ms, 0)
    if (used > airtime.dutyCycle * HOUR_MS + 1e-3) this.tell(`${used} ms of airtime were used within an hour`)
  }

  look(): void {
    const { setup, stations } = this.site
    const { broker, gateway } = this.site.world.server
    this.#mostRetained = Math.max(this.#mostRetained, broker.retained.count)
    for (const session of broker.sessions) this.#lookAt(session)
    for (const kind of ['mqtt', 'sn'] as const)
      this.#atMost(broker.sessions.count(kind), setup.maxSessions, `sessions of kind ${kind}`)
    this.#atMost(gateway.clientCount, Math.min(setup.maxSessions, this.site.nodes.length), 'sensors are known')
    this.#atMost(broker.linkCount, 2 * (this.site.nodes.length + stations.length) + 2, 'links are open')
    this.#atMost(broker.retained.count, setup.maxRetainedMessages, 'messages are retained')
    this.#atMost(broker.retained.bytes, setup.maxRetainedBytes, 'bytes are retained')
    this.#atMost(gateway.ports.queuedFrames, 2 * (setup.airtime?.maxQueued ?? 0), 'frames wait for airtime')
    for (const { id } of this.site.nodes)
      this.#atMost(gateway.client(id)?.registry.size ?? 0, setup.topicsPerClient, `topic ids for ${id}`)
    for (const { id, tcp } of stations) this.#atMost(tcp.unreadBytes, UNREAD_MAX, `bytes in the socket of ${id}`)
  }

  #lookAt({ key, kind, clientId, queueLength, queuedQos0, queuedBytes, inflight, receipts, subscriptions, link }: Session): void {
    const { setup } = this.site
    // QoS 0 that came in one turn, while its receiver listened, is bounded by its bytes.
    const isFleeting = queuedQos0 === queueLength
    const { maxQueuedMessages, queueLimit, maxQueuedBytes } = setup
    const window = kind === 'sn' ? Math.min(setup.inflightMessages, setup.maxInflightMessages) : setup.maxInflightMessages
    const most = kind === 'sn' && queueLimit < PLAIN.queueLimit ? queueLimit : maxQueuedMessages
    const again = this.#crashed ? setup.maxInflightMessages : 0
    // What is retained comes with every subscription.
    this.#atMost(isFleeting ? 0 : queueLength, most + 2 * this.#mostRetained + again, `messages wait for ${key}`)
    const bytes = maxQueuedBytes + (this.#mostRetained + again + 1) * (MESSAGE_MAX + DESCRIPTION_MAX[setup.types])
    this.#atMost(queuedBytes, bytes, `bytes wait for ${key}`)
    // What a full store was not told of is in flight again.
    this.#atMost(inflight?.size ?? 0, window + again, `messages are in flight to ${key}`)
    this.#atMost(subscriptions?.size ?? 0, setup.maxSubscriptions, `subscriptions of ${key}`)
    // Clients of MQTT 3, such as the bridge, know no such bound.
    if (this.site.claims.receivers.get(clientId)?.bridge === true) return
    // What an earlier connection has left does not count against the Receive Maximum of this one.
    const fromClient = (receipts?.open ?? 0) + (link?.unacknowledged ?? 0)
    this.#atMost(fromClient, setup.receiveMaximum, `messages are in flight from ${key}`)
  }

  #atMost(count: number, most: number, what: string): void {
    if (count > most) this.tell(`${count} ${what}, and ${most} may`)
  }
}
