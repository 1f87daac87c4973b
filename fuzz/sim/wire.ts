import { type Packet, PacketType } from '../../src/mqtt/packets.ts'
import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { PacketStreams } from './packet-streams.ts'
import type { Site } from './site.ts'
import type { TcpClient } from './tcp-client.ts'
import { textOf } from './texts.ts'
import type { Observer, Sensor } from './world.ts'

/** Notes what goes over the wires of a site: which messages arrive at the server, are refused, and are handed to whom. */
export class Wire implements Observer {
  readonly #site: Site
  readonly #down = new PacketStreams('server')

  constructor(site: Site) {
    this.#site = site
  }

  datagramIn(_sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    if (isMalformed(message) || message.type !== MsgType.PUBLISH) return
    const one = this.#site.claims.published.get(textOf(message.data))
    if (one !== undefined) one.arrived++
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = decodeMessage(datagram)
    if (isMalformed(message)) return
    const { clientId } = sensor.client
    if (message.type === MsgType.PUBLISH && !message.retain) this.#site.claims.hand(textOf(message.data), clientId)
    else if (message.type === MsgType.PUBACK && message.returnCode !== 0) {
      const one = this.#site.nodes.find(({ id }) => id === clientId)?.published(message.msgId)
      if (one !== undefined) one.refused = true
    }
  }

  written(tcp: TcpClient, bytes: Uint8Array): void {
    const { id } = this.#site.stations.find((station) => station.tcp === tcp)!
    for (const packet of this.#down.read(tcp, bytes)) this.#written(id, packet)
  }

  #written(id: string, packet: Packet): void {
    if (packet.type === PacketType.PUBLISH && !packet.retain) this.#site.claims.hand(textOf(packet.payload), id)
    else if ((packet.type === PacketType.PUBACK || packet.type === PacketType.PUBREC) && packet.reasonCode >= 0x80) {
      const one = this.#site.stationPublished(id, packet.packetId)
      if (one !== undefined) one.refused = true
    }
  }
}
