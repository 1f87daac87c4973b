import type { Instant } from '../../base/machine.ts'
import type { Disconnect, Will } from '../../mqtt/packets.ts'
import { PacketType } from '../../mqtt/packets.ts'
import { NO_PROPERTIES } from '../../mqtt/properties.ts'
import { Publish } from '../../mqtt/publish.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import { isBrief } from '../connect-packet.ts'
import { GOODBYE } from '../endings.ts'
import { freeId } from '../free-id.ts'
import type { UpstreamLinkOwner } from '../link-owner.ts'
import { responseOf } from '../outbound.ts'
import type { Upstream } from '../upstream.ts'
import type { UpstreamLink } from '../upstream-link.ts'

/** What is still to do at the cluster for a sensor that is gone. */
export interface LastDeeds {
  /** To be published by the gateway; undefined if there is none, or if the cluster publishes it. */
  readonly will: Will | undefined
  /** The cluster publishes the will that it has. */
  readonly leavesWill: boolean
  /** The session must end. An operator may request that later. */
  endsSession: boolean
}

/**
 * The end of a sensor's session here: publishes the will, ends a clean session at the cluster, and says goodbye. Where no stream is up
 * that takes until the cluster is back, unless the sensor itself is back before.
 */
export class Farewell implements UpstreamLinkOwner {
  readonly linkName: string
  readonly #upstream: Upstream
  readonly #link: UpstreamLink
  readonly #deeds: LastDeeds
  readonly #over: (now: Instant) => void
  #willId: number | undefined = undefined
  #isPublished: boolean

  /** Takes the link over. `over` is called when everything is done. */
  constructor(link: UpstreamLink, deeds: LastDeeds, upstream: Upstream, over: (now: Instant) => void) {
    this.linkName = link.name
    this.#link = link
    this.#deeds = deeds
    this.#upstream = upstream
    this.#over = over
    this.#isPublished = deeds.will === undefined
    link.owner = this
  }

  get owesWill(): boolean {
    return !this.#isPublished
  }

  /** Error of the last connection attempt; '' if there is none. */
  get lastError(): string {
    return this.#link.status.lastError
  }

  /** Requests that the session ends as well. */
  endSession(): void {
    this.#deeds.endsSession = true
  }

  begin(now: Instant): void {
    const { endsSession, will } = this.#deeds
    const link = this.#link
    // Nothing is to be done that would need a stream.
    if (!link.isUp && will === undefined && !endsSession) this.#end(now, GOODBYE)
    else {
      link.unpark(now)
      this.upstreamReady(now, link)
    }
  }

  upstreamReady(now: Instant, link: UpstreamLink): void {
    this.#discardMessages(now, link)
    for (let out = link.poll(now); out !== undefined; out = link.poll(now)) {
      // Messages and PUBREL have packet ids of the cluster.
      if (out.type !== PacketType.PUBACK && out.type !== PacketType.PUBREC && out.type !== PacketType.PUBCOMP) continue
      if (out.packetId !== this.#willId) continue
      if (out.type === PacketType.PUBREC && out.reasonCode < 0x80) link.send(now, responseOf(PacketType.PUBREL, out.packetId))
      else this.#isPublished = true
    }
    if (link.yieldedTo !== '') this.#end(now, GOODBYE)
    else if (link.isUp) this.#work(now, link)
  }

  /**
   * Discards messages for the sensor: unacknowledged ones stay in its session at the cluster, and those with QoS 0 have no receiver. If
   * they stayed in the queue, reading might be paused, and the acknowledgement of the will would not be read.
   */
  #discardMessages(now: Instant, link: UpstreamLink): void {
    link.inbound.forgetWaiting()
    // Not while it is to be dialled: links that listen are dialled before those of sensors that sleep.
    link.listen(now, link.isUp)
  }

  #work(now: Instant, link: UpstreamLink): void {
    const { will } = this.#deeds
    if (!this.#isPublished && this.#willId === undefined && will !== undefined) {
      this.#willId = will.qos === 0 ? 0 : freeId(link)
      link.send(now, Publish.of(will.topic, will.payload, will.qos, will.retain, this.#willId))
      this.#isPublished = will.qos === 0
    }
    // A will that was sent before: the sensor that would repeat it is gone.
    if (link.outbound.resend()) this.#upstream.markDirty(link)
    if (this.#isPublished) this.#leave(now, link)
  }

  #leave(now: Instant, link: UpstreamLink): void {
    const { endsSession, leavesWill } = this.#deeds
    if (link.status.version === 5) {
      const reasonCode = leavesWill ? ReasonCode.DISCONNECT_WITH_WILL_MESSAGE : 0
      this.#end(now, {
        type: PacketType.DISCONNECT,
        reasonCode,
        properties: endsSession ? { sessionExpiryInterval: 0 } : NO_PROPERTIES,
      })
      return
    }
    const connect = link.connect!
    if (isBrief(connect)) this.#end(now, GOODBYE)
    else if (endsSession) {
      // Before 5.0 a session ends with the stream of a CONNECT that begins clean.
      if (leavesWill) link.lost(now, '')
      else link.send(now, GOODBYE)
      link.forget()
      link.send(now, { ...connect, cleanStart: true, will: undefined, properties: NO_PROPERTIES })
    } else this.#end(now, leavesWill ? undefined : GOODBYE)
  }

  /** The sensor is back. Returns whether its session at the cluster was still to end. */
  cancel(now: Instant): boolean {
    this.#end(now, GOODBYE)
    return this.#deeds.endsSession
  }

  #end(now: Instant, goodbye: Disconnect | undefined): void {
    if (goodbye === undefined) this.#link.lost(now, '')
    else this.#link.send(now, goodbye)
    this.#upstream.remove(this.#link)
    this.#over(now)
  }
}
