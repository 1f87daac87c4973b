/** More than the types of MQTT (15) and of MQTT-SN (29). */
const TYPES = 32

/** Counters of all byte streams, or of all datagrams, which never decrease. */
export class Traffic {
  opened = 0
  bytesReceived = 0
  bytesSent = 0
  /** Packets by type: a PacketType of MQTT, or a MsgType of MQTT-SN. */
  readonly received = new Float64Array(TYPES)
  readonly sent = new Float64Array(TYPES)
  /** Deliveries that were not sent because they exceed the client's Maximum Packet Size. Each also raises a notice. */
  publishDropped = 0
  /** Payload bytes of PUBLISH. */
  publishBytesReceived = 0
  publishBytesSent = 0
  /** The type of PUBLISH. */
  readonly #publish: number

  constructor(publish: number) {
    this.#publish = publish
  }

  /** Packets of every type. */
  get packetsReceived(): number {
    return sumOf(this.received)
  }

  get packetsSent(): number {
    return sumOf(this.sent)
  }

  get publishSent(): number {
    return this.sent[this.#publish]!
  }
}

function sumOf(counts: Float64Array): number {
  let sum = 0
  for (const count of counts) sum += count
  return sum
}
