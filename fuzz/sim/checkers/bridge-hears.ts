import { PacketType } from '../../../src/mqtt/packets.ts'
import { topicMatches } from '../../topic-matches.ts'
import type { Published } from '../claims.ts'
import { PacketStreams } from '../packet-streams.ts'
import { BRIDGE } from '../station.ts'
import type { TcpClient } from '../tcp-client.ts'
import { textOf } from '../texts.ts'
import { SiteChecker } from './checker.ts'

/**
 * What a bridge of Mosquitto's kind publishes does not come back to it, live or retained, and RETAIN is as it was published: from its first CONNECT that
 * says so, also for what was subscribed to before, and after restarts and crashes. What is retained comes once for each SUBSCRIBE, and once live.
 */
export class BridgeHears extends SiteChecker {
  readonly name = 'a bridge hears what others say, as they say it'
  readonly #up = new PacketStreams('client')
  readonly #down = new PacketStreams('server')
  /** Filters of each SUBSCRIBE that has arrived. */
  readonly #asked: string[] = []

  chunkIn(tcp: TcpClient, bytes: Uint8Array): void {
    if (tcp.client.clientId !== BRIDGE) return
    for (const packet of this.#up.read(tcp, bytes))
      if (packet.type === PacketType.SUBSCRIBE) for (const { filter } of packet.subscriptions) this.#asked.push(filter)
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    const { id, receiver } = this.stationOf(tcp)
    if (!receiver.bridge) return
    for (const packet of this.#down.read(tcp, bytes)) {
      if (packet.type !== PacketType.PUBLISH) continue
      const one = this.site.claims.published.get(textOf(packet.payload))
      if (one === undefined || one.number < receiver.bridgeSince) continue
      const { text, publisher, topic, retain } = one
      if (publisher === id) this.tell(`${id} got "${text}" on ${topic}, which it has published itself`)
      else if (packet.retain !== retain) this.tell(`${id} got "${text}" on ${topic} with RETAIN ${packet.retain}`)
    }
  }

  look(): void {
    const { kept, bridge } = this.site.claims.receivers.get(BRIDGE)!
    if (!bridge) return
    const again = new Map<string, number>()
    for (const text of kept) again.set(text, (again.get(text) ?? 0) + 1)
    for (const [text, count] of again) {
      const one = this.site.claims.published.get(text)
      if (one === undefined || count <= this.#most(one)) continue
      const what = `${BRIDGE} got "${text}" with QoS ${one.qos}, which is retained, ${count + 1} times`
      if (!this.found.some((told) => told.endsWith(what))) this.tell(what)
    }
  }

  /** How often it may come beside the first time. */
  #most({ topic, qos, number, publisher, arrived }: Published): number {
    const { receivers } = this.site.claims
    const { lasting, expiredBefore } = receivers.get(publisher)!
    const asked = this.#asked.filter((filter) => topicMatches(filter, topic)).length
    // A publisher that does not know what has arrived says it again.
    const isOnce = lasting && number > Math.max(expiredBefore, receivers.get(BRIDGE)!.forgotBefore)
    if (qos === 1 || (qos === 2 && !isOnce)) return Number.POSITIVE_INFINITY
    return asked + Math.max(0, (qos === 2 ? 1 : arrived) - 1)
  }

  /** A store that was full does not know of a bridge that has not said so from the beginning. */
  crashed(_survived: number, _appended: number, refused: boolean): void {
    const receiver = this.site.claims.receivers.get(BRIDGE)!
    if (refused && this.site.setup.bridge === 'later') receiver.bridgeSince = Number.POSITIVE_INFINITY
  }
}
