import { PacketDecoder } from '../mqtt/decode.ts'
import { Framer } from '../mqtt/framer.ts'
import type { ProtocolVersion } from '../mqtt/publish.ts'
import type { Remembered } from '../mqtt/topic-names.ts'

/**
 * What reads the bytes of all streams, which come one chunk after the other: a stream has a framer of its own only while part of a
 * packet is in it. A framer and a decoder for each of 10,000 streams that rest would be 400 bytes for each.
 */
export class StreamReaders {
  readonly remembered: Remembered
  /** Of all streams between whose chunks nothing is left: empty itself when no chunk is being read. */
  framer = new Framer(0)
  /** Bytes of packets of which a part has come. */
  buffered = 0
  readonly #decoders = new Map<ProtocolVersion, PacketDecoder>()

  constructor(remembered: Remembered) {
    this.remembered = remembered
  }

  /** The decoder for this version. It remembers nothing from one packet to the next but topics. */
  decoder(version: ProtocolVersion): PacketDecoder {
    let decoder = this.#decoders.get(version)
    if (decoder === undefined) {
      decoder = new PacketDecoder('server', version, undefined, undefined, this.remembered)
      this.#decoders.set(version, decoder)
    }
    return decoder
  }

  /** Leaves the framer of all to the stream that has something in it, or has come to an error. */
  give(): Framer {
    const { framer } = this
    this.framer = new Framer(0)
    return framer
  }
}
