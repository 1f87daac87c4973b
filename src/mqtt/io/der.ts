/** One value of DER, X.509's encoding: its tag, and where its content is. */
export interface DerValue {
  readonly tag: number
  /** Of the whole value. */
  readonly at: number
  readonly start: number
  readonly end: number
}

export const Tag = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OBJECT_IDENTIFIER: 0x06,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  /** Explicit [0]. */
  CONTEXT_0: 0xa0,
} as const

/** The value at an offset. @throws Error if it does not fit before `limit` */
export function derAt(bytes: Uint8Array, at: number, limit: number): DerValue {
  const tag = bytes[at]
  let length = bytes[at + 1]
  let start = at + 2
  if (tag === undefined || length === undefined || start > limit) throw new Error('DER that ends early')
  if (length >= 0x80) {
    const count = length & 0x7f
    if (count === 0 || count > 4) throw new Error('DER with a length of an unknown form')
    length = 0
    for (let i = 0; i < count; i++) length = length * 256 + (bytes[start + i] ?? 0)
    start += count
  }
  if (start + length > limit) throw new Error('DER that ends early')
  return { tag, at, start, end: start + length }
}

/** The values within another one. @throws Error */
export function derWithin(bytes: Uint8Array, { start, end }: DerValue): DerValue[] {
  const values: DerValue[] = []
  for (let at = start; at < end; at = values.at(-1)!.end) values.push(derAt(bytes, at, end))
  return values
}

/** The content in hex: OBJECT IDENTIFIERs, INTEGERs and names are compared by it. */
export const derHex = (bytes: Uint8Array, { start, end }: DerValue): string =>
  Buffer.from(bytes.subarray(start, end)).toString('hex')

/** Milliseconds since 1970 of a UTCTime or GeneralizedTime as RFC 5280 has them. @throws Error for any other value */
export function derTime(bytes: Uint8Array, { tag, start, end }: DerValue): number {
  const text = Buffer.from(bytes.subarray(start, end)).toString('latin1')
  const short = tag === Tag.UTC_TIME ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text) : null
  const long = tag === Tag.GENERALIZED_TIME ? /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(text) : null
  const [year, month, day, hour, minute, second] = (short ?? long ?? []).slice(1).map(Number)
  if (second === undefined) throw new Error('a time of an unknown form')
  const century = short === null ? 0 : year! < 50 ? 2000 : 1900
  return Date.UTC(century + year!, month! - 1, day, hour, minute, second)
}
