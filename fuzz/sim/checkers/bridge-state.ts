import type { Notice } from '../../../src/base/notice.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import type { Lsn } from '../../../src/store/store.ts'
import { PacketStreams } from '../packet-streams.ts'
import { BRIDGE } from '../station.ts'
import { STATE_FILTER, stateTopic } from '../step.ts'
import type { TcpClient } from '../tcp-client.ts'
import { textOf } from '../texts.ts'
import { SiteChecker } from './checker.ts'

const TOPIC = stateTopic(BRIDGE)

/**
 * `$SYS/broker/connection/<id>/state` says 1 when a bridge has said so, and 0 when it was lost and its will is published; it is retained for whoever
 * subscribes, also after restarts and crashes.
 */
export class BridgeState extends SiteChecker {
  readonly name = 'the state of a bridge'
  readonly #up = new PacketStreams('client')
  readonly #down = new PacketStreams('server')
  /** What it says; nothing is known of what is not acknowledged, or was refused. */
  #says: '0' | '1' | undefined = undefined
  /** Packet ids under which 1 was said and not acknowledged. */
  readonly #asked = new Set<number>()
  /** When a will was refused, or is published without being retained. */
  #unretainedAt = Number.NEGATIVE_INFINITY
  /** A store that has this record knows of the will. */
  #recorded: Lsn = 0

  chunkIn(tcp: TcpClient, bytes: Uint8Array): void {
    for (const packet of this.#up.read(tcp, bytes)) {
      if (packet.type !== PacketType.PUBLISH || packet.topic !== TOPIC) continue
      this.#says = undefined
      if (tcp.client.clientId === BRIDGE) this.#asked.add(packet.packetId)
      // The collector takes it away.
      else this.#asked.clear()
    }
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    if (tcp.client.clientId !== BRIDGE) return
    for (const packet of this.#down.read(tcp, bytes))
      if (packet.type === PacketType.PUBACK && this.#asked.delete(packet.packetId)) this.#says = '1'
  }

  notice({ code, client }: Notice): void {
    if (client !== `mqtt:${BRIDGE}` || !this.#notifies) return
    const { store, schedule } = this.site.world
    if (code === 'will-refused') this.#unretainedAt = schedule.now
    if (code === 'will-published') {
      this.#says = this.#unretainedAt === schedule.now ? undefined : '0'
      this.#recorded = store.refuse ? Number.POSITIVE_INFINITY : store.appended + 1
    }
    // 3.1.1 acknowledges what is refused.
    if (code === 'will-published' || code === 'will-refused' || code === 'publish-refused') this.#asked.clear()
    if (code === 'will-refused' || code === 'publish-refused') this.#says = undefined
  }

  crashed(survived: Lsn): void {
    this.#asked.clear()
    if (this.#says === '0' && this.#recorded > survived) this.#says = undefined
    this.#recorded = 0
  }

  look(): void {
    const said = this.#says
    const message = this.site.world.server.broker.retained.get(TOPIC)
    const says = message === undefined ? 'nothing' : textOf(message.payload)
    if (said !== undefined && says !== said) this.tell(`${TOPIC} has to say ${said}, and says ${says}`)
  }

  /** The collector has subscribed once more. */
  settled(): void {
    const { collector } = this.site
    const says = this.#says
    if (says === undefined || !collector.receiver.granted.has(STATE_FILTER) || collector.receiver.dropped > 0) return
    const last = collector.states.at(-1)
    if (last?.state !== says || !last.retain) this.tell(`a subscriber was told of ${JSON.stringify(last)}, and it is ${says}`)
  }

  get #notifies(): boolean {
    return this.site.stations.some(({ notifies }) => notifies)
  }
}
