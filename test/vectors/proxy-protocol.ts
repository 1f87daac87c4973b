export const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/** A header of version 2 around these parts of its block. */
export function v2(command: number, family: number, ...block: Uint8Array[]): Buffer {
  const length = block.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([SIGNATURE, Buffer.of(command, family, length >> 8, length & 0xff), ...block])
}

export const tlv = (type: number, value: Uint8Array): Buffer =>
  Buffer.concat([Buffer.of(type, value.length >> 8, value.length & 0xff), value])

export const v4Addresses = (source: string, port: number): Buffer =>
  Buffer.of(...source.split('.').map(Number), 198, 51, 100, 9, port >> 8, port & 0xff, 1883 >> 8, 1883 & 0xff)

export const v6Addresses = (sourceHex: string, port: number): Buffer =>
  Buffer.concat([Buffer.from(sourceHex, 'hex'), Buffer.alloc(16), Buffer.of(port >> 8, port & 0xff, 1883 >> 8, 1883 & 0xff)])
