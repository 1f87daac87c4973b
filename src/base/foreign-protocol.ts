const HTTP = /^(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|PRI) /

/**
 * The protocol that somebody speaks at the wrong port, by the first bytes, to be named in the log; `undefined` for anything else. To be asked
 * about bytes that make no sense as what they should be.
 */
export function foreignProtocol(bytes: Uint8Array): string | undefined {
  const [first, second, third] = bytes
  // Handshake records [RFC 8446 section 5.1, RFC 6347 section 4.1]; the versions of DTLS count down from 0xfe.
  if (first === 0x16 && second === 0x03) return 'TLS'
  if (first === 0x16 && second === 0xfe && third! >= 0xfc) return 'DTLS'
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', 0, 16)
  if (HTTP.test(text)) return 'HTTP'
  // Behind one to four octets of Remaining Length, and two of the name's length.
  return first === 0x10 && /^.{4,7}(?:MQTT|MQIsdp)/s.test(text) ? 'MQTT' : undefined
}
