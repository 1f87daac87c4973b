/** Plain counters of all byte streams, or of all datagrams, only ever counted up. */
export class Traffic {
  opened = 0
  bytesReceived = 0
  bytesSent = 0
  /** Packets of every type. */
  packetsReceived = 0
  packetsSent = 0
  publishSent = 0
  /** Of what the broker handed out to be sent: what the client does not take, as it is too large for it. Each also raises a Notice. */
  publishDropped = 0
  /** Payload bytes of PUBLISH. */
  publishBytesReceived = 0
  publishBytesSent = 0
}
