const HTTP = /^(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|PRI) |HTTP\/)/

/**
 * Returns the protocol of a peer that has connected to the wrong port, or is on it, judged by its first bytes, for the log;
 * `undefined` if it is not recognised. Only meaningful for bytes that are invalid in the protocol of the port.
 */
export function foreignProtocol(bytes: Uint8Array): string | undefined {
  const [first, second, third] = bytes
  // Handshake records, or an alert [RFC 8446 section 5.1, RFC 6347 section 4.1]. DTLS version numbers count down: 1.0 is fe ff.
  if ((first === 0x16 || first === 0x15) && second === 0x03) return 'TLS'
  if (first === 0x16 && second === 0xfe && third! >= 0xfc) return 'DTLS'
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', 0, 16)
  if (HTTP.test(text)) return 'HTTP'
  // The protocol name follows one to four octets of Remaining Length and two of its own length.
  return first === 0x10 && /^.{4,7}(?:MQTT|MQIsdp)/s.test(text) ? 'MQTT' : undefined
}
