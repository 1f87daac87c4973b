import type { Instant } from '../../base/machine.ts'
import { SmallFifo } from '../../base/small-fifo.ts'
import type { Link, LinkId, LinkInfo, Outgoing } from '../../mqtt/link.ts'
import { type Packet, PacketType, type Will } from '../../mqtt/packets.ts'
import { ReasonCode } from '../../mqtt/reason-codes.ts'
import type { Lsn, SessionKey } from '../../store/store.ts'
import type { SensorSession } from './sensor-session.ts'

/** What a link needs of `SensorUpstream`. */
export interface SensorLinkHost {
  /** The session of the client; made if there is none. */
  sessionOf(clientId: string): SensorSession
  /** Highest Lsn known to be durable. */
  readonly durable: Lsn
  markReady(link: SensorLink): void
  /** Marks the link ready when more is durable. */
  awaitDurable(link: SensorLink): void
}

interface Answer {
  readonly packet: Outgoing
  /** It leaves when this is durable. */
  readonly lsn: Lsn
}

/**
 * What the gateway has of a sensor's session at the cluster, from one CONNECT to the end of the conversation. The session lasts longer:
 * another CONNECT of the sensor takes it over from this link, which then has nothing more to say.
 */
export class SensorLink implements Link {
  readonly id: LinkId
  readonly info: LinkInfo
  readonly holder = undefined
  readonly figuresAt = -1
  /** On the list of links that have something to poll. */
  ready = false
  /** The session; undefined before CONNECT, and after another link or the end. */
  attached: SensorSession | undefined = undefined
  listening = true
  isThere = true
  readonly #host: SensorLinkHost
  /** Besides what the session has. */
  readonly #answers = new SmallFifo<Answer>()

  constructor(id: LinkId, info: LinkInfo, host: SensorLinkHost) {
    this.id = id
    this.info = info
    this.#host = host
  }

  get session(): SessionKey | undefined {
    return this.attached?.isAccepted === true ? this.attached.key : undefined
  }

  get backlog(): number {
    return this.attached?.backlog ?? 0
  }

  get state(): 'open' | 'held' | 'verifying' {
    return this.attached?.state ?? 'open'
  }

  /** Also while messages are held until the sensor retransmits them: another CONNECT abandons them. */
  get isAway(): boolean {
    const upstream = this.attached?.upstream
    return upstream?.isUp === false || upstream?.outbound.awaitsOwner === true
  }

  /** Topic ids and the like are counted by the gateway. */
  keeps(): void {}

  send(now: Instant, packet: Packet): 'go' | 'pause' {
    if (packet.type === PacketType.CONNECT) this.#host.sessionOf(packet.clientId).connect(now, this, packet)
    else this.attached?.send(now, packet)
    return this.state === 'open' ? 'go' : 'pause'
  }

  repeated(): void {
    this.attached?.repeated()
  }

  listen(now: Instant, on: boolean, isThere = on): void {
    this.listening = on
    this.isThere = isThere
    this.attached?.listen(now, on, isThere)
  }

  poll(now: Instant): Outgoing | undefined {
    const answer = this.#answers.peek()
    if (answer !== undefined && answer.lsn <= this.#host.durable) {
      this.#answers.shift()
      return answer.packet
    }
    return this.attached?.poll(now)
  }

  /** Puts a packet ahead of what the session has. */
  answer(packet: Outgoing, lsn: Lsn = 0): void {
    this.#answers.push({ packet, lsn })
    if (lsn <= this.#host.durable) this.#host.markReady(this)
    else this.#host.awaitDurable(this)
  }

  setWill(now: Instant, will: Will | undefined): number {
    return this.attached?.setWill(now, will) ?? ReasonCode.UNSPECIFIED_ERROR
  }

  lost(now: Instant, reason: string): void {
    this.attached?.lost(now, reason)
  }
}
