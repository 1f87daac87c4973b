/** What a decoder found wrong with bytes from a peer. Malformed input is a value: no decoder throws. */
export interface Malformed {
  readonly kind: 'malformed'
  /** Which field is wrong and why, in plain words for logs. */
  readonly reason: string
  /** The violated normative statement, such as 'MQTT-2.1.3-1', or a section, such as '5.0 section 1.5.5', where there is none. */
  readonly rule?: string
  /** MQTT 5 reason code sent to the peer: 0x81 malformed packet, 0x82 protocol error, 0x84, 0x94, 0x95 ... */
  readonly reasonCode: number
  /** The option whose limit was exceeded. */
  readonly limit?: string
}
