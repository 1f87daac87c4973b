import type { Notice } from '../../src/base/notice.ts'
import { type Connect, PacketType } from '../../src/mqtt/packets.ts'
import { NO_PROPERTIES } from '../../src/mqtt/properties.ts'
import { Publish, type QoS } from '../../src/mqtt/publish.ts'
import { instant, Loop, wallClock } from '../../src/process/loop.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import type { UpstreamLinkSettings } from '../../src/upstream/link-owner.ts'
import { parseTarget, type TlsClientOptions } from '../../src/upstream/target.ts'
import { Targets, type TargetsSettings } from '../../src/upstream/targets.ts'
import type { UpstreamLink } from '../../src/upstream/upstream-link.ts'
import { OPTIONS } from '../gateway/harness.ts'
import { connectPacket, type Owner, TARGETS } from './pair.ts'

export interface RealSettings extends Partial<UpstreamLinkSettings>, Partial<Omit<TargetsSettings, 'addresses'>> {
  readonly tls?: TlsClientOptions
  readonly bridge?: boolean
}

/** Links over real sockets. */
export class RealLinks {
  readonly notices: Notice[] = []
  readonly loop: Loop
  readonly server: Server

  constructor() {
    this.server = new Server({
      store: new MemoryStore(),
      clock: wallClock(),
      notice: (notice) => this.notices.push(notice),
      random: Math.random,
      gateway: OPTIONS,
      upstream: {},
    })
    this.server.recover(instant())
    this.loop = new Loop(this.server)
  }

  /** A link that comes back soon. */
  open(
    urls: string | readonly string[],
    owner: Owner,
    settings: RealSettings = {},
    connect: Partial<Connect> = {},
  ): UpstreamLink {
    const { name = 'head-office', window = 20, maxPacketSize = 1024 * 1024, tls, bridge = false, ...targets } = settings
    const addresses = [urls].flat().map((url) => {
      const target = parseTarget(url, tls)
      if (typeof target === 'string') throw new Error(target)
      return target
    })
    const all = { ...TARGETS, backoff: { baseMs: 50, maxMs: 500 }, ...targets, addresses }
    return this.loop.run((now) => {
      const link = this.server.upstream!.open(now, { name, window, maxPacketSize }, new Targets(all, bridge), owner)
      link.send(now, connectPacket({ bridge, clientId: name, ...connect }))
      return link
    })
  }

  publish(link: UpstreamLink, topic: string, text: string, qos: QoS, packetId: number, retain = false): void {
    this.loop.run((now) => link.send(now, Publish.of(topic, Buffer.from(text), qos, retain, packetId)))
  }

  subscribe(link: UpstreamLink, ...filters: string[]): void {
    const subscriptions = filters.map((filter) => ({
      ...{ filter, qos: 2 as QoS, noLocal: false, retainAsPublished: true, retainHandling: 0 as const },
    }))
    this.loop.run((now) => link.send(now, { type: PacketType.SUBSCRIBE, packetId: 1, subscriptions, properties: NO_PROPERTIES }))
  }

  lines(code: string): string[] {
    return this.notices.filter((notice) => notice.code === code).map(({ reason = '' }) => reason)
  }

  /** The store has no thread here: everything is durable at once. */
  stop(): void {
    this.loop.run((now) => this.server.upstream!.stop(now))
    this.loop.flush()
    this.loop.stop()
  }
}
