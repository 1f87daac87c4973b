/** Plain counters of all byte streams, only ever counted up. */
export class Traffic {
  opened = 0
  bytesReceived = 0
  bytesSent = 0
  /** Packets of every type. */
  packetsReceived = 0
  packetsSent = 0
  /** Payload bytes of PUBLISH. */
  publishBytesReceived = 0
  publishBytesSent = 0
}
