import { PacketDecoder } from '../../src/mqtt/decode.ts'
import { Framer } from '../../src/mqtt/framer.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import type { TcpClient } from './tcp-client.ts'

interface Reading {
  readonly connection: number | undefined
  readonly framer: Framer
  readonly decoder: PacketDecoder
}

/** Reads along what the streams of TCP clients carry in one direction. */
export class PacketStreams {
  readonly #from: 'client' | 'server'
  readonly #readings = new Map<TcpClient, Reading>()

  constructor(from: 'client' | 'server') {
    this.#from = from
  }

  /** The packets that these bytes make whole. */
  read(tcp: TcpClient, bytes: Uint8Array): Packet[] {
    let reading = this.#readings.get(tcp)
    if (reading === undefined || reading.connection !== tcp.connection) {
      reading = { connection: tcp.connection, framer: new Framer(1 << 20), decoder: new PacketDecoder(this.#from, tcp.version) }
      this.#readings.set(tcp, reading)
    }
    const { framer, decoder } = reading
    framer.push(Uint8Array.from(bytes))
    const packets: Packet[] = []
    while (framer.next()) packets.push(decoder.decode(framer.bytes, framer.start, framer.bodyStart, framer.end)!)
    return packets
  }
}
