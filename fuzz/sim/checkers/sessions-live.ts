import type { Notice } from '../../../src/base/notice.ts'
import { PacketType } from '../../../src/mqtt/packets.ts'
import { PacketStreams } from '../packet-streams.ts'
import type { TcpClient } from '../tcp-client.ts'
import { SiteChecker } from './checker.ts'

/** Whoever is connected has a session, and finds it again when it comes back before its time is over, crashes or not [5.0 section 4.1]. */
export class SessionsLive extends SiteChecker {
  readonly name = 'sessions live'
  readonly #down = new PacketStreams('server')
  /** When a lasting client was last seen to have a session. */
  readonly #seen = new Map<string, number>()

  written(tcp: TcpClient, bytes: Uint8Array): void {
    const station = this.stationOf(tcp)
    if (station === undefined || !station.receiver.lasting) return
    const { id, lastsSeconds } = station
    const { now } = this.site.world.schedule
    for (const packet of this.#down.read(tcp, bytes)) {
      if (packet.type === PacketType.CONNACK) {
        if (packet.reasonCode !== 0) continue
        const seen = this.#seen.get(id)
        // CONNACK of 3.1 does not say.
        if (tcp.version > 3 && !packet.sessionPresent && seen !== undefined && now - seen < lastsSeconds * 1000)
          if (!this.site.operator.ended.delete(`mqtt:${id}`))
            this.tell(`${id} comes back after ${now - seen} ms, and its session is gone`)
      }
      this.#seen.set(id, now)
    }
  }

  /** One that was never used makes room for another. */
  notice({ code, client = '', limit }: Notice): void {
    if (code === 'session-expired' && limit !== undefined) this.#seen.delete(client.slice('mqtt:'.length))
  }

  look(): void {
    const { sessions } = this.site.world.server.broker
    for (const { id, tcp } of this.site.stations) {
      if (tcp.client.state === 'connected' && sessions.get('mqtt', id) === undefined) this.tell(`${id} is connected and has none`)
    }
  }
}
