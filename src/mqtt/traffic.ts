/** Counters of all byte streams, or of all datagrams, which never decrease. */
export class Traffic {
  opened = 0
  bytesReceived = 0
  bytesSent = 0
  /** Packets of every type. */
  packetsReceived = 0
  packetsSent = 0
  publishSent = 0
  /** Deliveries that were not sent because they exceed the client's Maximum Packet Size. Each also raises a notice. */
  publishDropped = 0
  /** Payload bytes of PUBLISH. */
  publishBytesReceived = 0
  publishBytesSent = 0
}
