/** What a decoder found wrong with bytes from a peer. Malformed input is a value: no decoder throws. */
export interface Malformed {
  readonly kind: 'malformed'
  /** In plain words, for logs: which field, what was wrong. */
  readonly reason: string
  /** Normative statement that was broken, such as 'MQTT-2.1.3-1'; a section such as '5.0 section 1.5.5' where none has an id. */
  readonly rule?: string
  /** MQTT 5 reason code with which the peer is told: 0x81 malformed packet, 0x82 protocol error, 0x84, 0x94, 0x95 ... */
  readonly reasonCode: number
  /** The bound that was exceeded, by its key in the configuration. */
  readonly limit?: string
}
