import { NO_TEXT } from './no-text.ts'

export interface MalformedDatagram {
  /** The message, and what is wrong with it. */
  readonly title: string
  readonly hex: string
}

// --- Bytes, written without the codec under test.

const u8 = (value: number): string => value.toString(16).padStart(2, '0')
const u16 = (value: number): string => value.toString(16).padStart(4, '0')
const hexOf = (text: string): string => Buffer.from(text).toString('hex')

/** [1.2 section 5.2.1]: the short form of Length. */
const message = (type: number, body: string): string => u8(body.length / 2 + 2) + u8(type) + body

interface Sample {
  readonly name: string
  readonly type: number
  readonly body: string
  /** Bytes of the body after which it may end as well. */
  readonly ends?: readonly number[]
  /** It ends in data or text of any length. */
  readonly open?: true
  /** Where its text begins, in bytes of the body. */
  readonly textAt?: number
}

/** One of each message of 1.2 [section 5.4]. */
const SAMPLES: readonly Sample[] = [
  { name: 'ADVERTISE', type: 0x00, body: '07003c' },
  { name: 'SEARCHGW', type: 0x01, body: '00' },
  { name: 'GWINFO', type: 0x02, body: '07c0a80001', ends: [1, 2, 3, 4], open: true },
  { name: 'CONNECT', type: 0x04, body: `0401003c${hexOf('node')}`, ends: [4, 5, 6, 7], open: true, textAt: 4 },
  { name: 'CONNACK', type: 0x05, body: '00' },
  { name: 'WILLTOPICREQ', type: 0x06, body: '' },
  { name: 'WILLTOPIC', type: 0x07, body: `10${hexOf('w/t')}`, ends: [0, 1, 2, 3], open: true, textAt: 1 },
  { name: 'WILLMSGREQ', type: 0x08, body: '' },
  { name: 'REGISTER', type: 0x0a, body: `00000005${hexOf('a/b')}`, ends: [4, 5, 6], open: true, textAt: 4 },
  { name: 'REGACK', type: 0x0b, body: '0401000500' },
  { name: 'PUBLISH', type: 0x0c, body: `2204010005${hexOf('21')}`, ends: [5, 6], open: true },
  { name: 'PUBACK', type: 0x0d, body: '0401000500' },
  { name: 'PUBCOMP', type: 0x0e, body: '0005' },
  { name: 'PUBREC', type: 0x0f, body: '0005' },
  { name: 'PUBREL', type: 0x10, body: '0005' },
  { name: 'SUBSCRIBE to a name', type: 0x12, body: `200005${hexOf('a/b')}`, ends: [3, 4, 5], open: true, textAt: 3 },
  { name: 'SUBSCRIBE to a predefined id', type: 0x12, body: '2100050001' },
  { name: 'SUBSCRIBE to a short name', type: 0x12, body: `220005${hexOf('ab')}` },
  { name: 'SUBACK', type: 0x13, body: '200401000500' },
  { name: 'UNSUBSCRIBE from a name', type: 0x14, body: `000005${hexOf('a/b')}`, ends: [3, 4, 5], open: true, textAt: 3 },
  { name: 'UNSUBSCRIBE from a predefined id', type: 0x14, body: '0100050001' },
  { name: 'UNSUBACK', type: 0x15, body: '0005' },
  { name: 'PINGREQ', type: 0x16, body: hexOf('node'), ends: [0, 1, 2, 3], open: true, textAt: 0 },
  { name: 'PINGRESP', type: 0x17, body: '' },
  { name: 'DISCONNECT', type: 0x18, body: '003c', ends: [0] },
  { name: 'WILLTOPICUPD', type: 0x1a, body: `10${hexOf('w/t')}`, ends: [0, 1, 2, 3], open: true, textAt: 1 },
  { name: 'WILLTOPICRESP', type: 0x1b, body: '00' },
  { name: 'WILLMSGRESP', type: 0x1d, body: '00' },
]
/** WILLMSG and WILLMSGUPD are data from the first byte on: nothing in them can be wrong but their Length. */
const DATA_ONLY: readonly Sample[] = [
  { name: 'WILLMSG', type: 0x09, body: hexOf('gone'), ends: [0, 1, 2, 3], open: true },
  { name: 'WILLMSGUPD', type: 0x1c, body: hexOf('gone'), ends: [0, 1, 2, 3], open: true },
]
const ENCAPSULATION = 0xfe
/** Of a PINGREQ: a datagram that begins with `0xFE` as its second byte is an encapsulated message, whatever it was meant to be. */
const KNOWN = new Set([...SAMPLES, ...DATA_ONLY].map(({ type }) => type))

interface Broken {
  readonly why: string
  readonly hex: string
}

function truncated({ type, body, ends = [] }: Sample): Broken[] {
  const lengths = Array.from({ length: body.length / 2 }, (_, length) => length).filter((length) => !ends.includes(length))
  return lengths.map((length) => ({
    why: `cut after ${length} bytes of its body`,
    hex: message(type, body.slice(0, length * 2)),
  }))
}

const prolonged = ({ type, body, open }: Sample): Broken[] =>
  open ? [] : ['00', 'ff', '0001', '41424344'].map((more) => ({ why: `${more} behind its end`, hex: message(type, body + more) }))

/** [1.2 section 5.2.1]: Length counts the whole message, in one byte, or in three of which the first is 0x01. */
function wrongLengths({ type, body }: Sample): Broken[] {
  const size = body.length / 2 + 2
  const short = [0, 2, size - 1, size + 1, 0xff].filter((length, i, all) => length !== size && all.indexOf(length) === i)
  const long = [0, 1, 4, size, size + 1, size + 3, 0xffff].filter(
    (length, i, all) => length !== size + 2 && all.indexOf(length) === i,
  )
  return [
    ...short.map((length) => ({ why: `Length ${length} of ${size}`, hex: u8(length) + u8(type) + body })),
    ...long.map((length) => ({ why: `long Length ${length} of ${size + 2}`, hex: `01${u16(length)}${u8(type)}${body}` })),
  ]
}

function wrongTexts({ type, body, textAt }: Sample): Broken[] {
  if (textAt === undefined) return []
  const head = body.slice(0, textAt * 2)
  return NO_TEXT.flatMap(([why, hex]) => [
    { why: `${why} as its text`, hex: message(type, head + hex) },
    { why: `${why} in its text`, hex: message(type, `${head}61${hex}62`) },
  ])
}

/** TopicIdType 0b11 is reserved [1.2 section 5.3.4]; a will has QoS 0 to 2 [1.2 section 5.4.7]. */
function wrongFlags({ type, body }: Sample): Broken[] {
  const rest = body.slice(2)
  const every = Array.from({ length: 256 }, (_, flags) => flags)
  const flagged = (flags: number): Broken => ({ why: `flags 0x${u8(flags)}`, hex: message(type, u8(flags) + rest) })
  if (type === 0x0c || type === 0x12 || type === 0x14) return every.filter((flags) => (flags & 3) === 3).map(flagged)
  return type === 0x07 || type === 0x1a ? every.filter((flags) => (flags & 0x60) === 0x60).map(flagged) : []
}

const unknownTypes = (): MalformedDatagram[] =>
  Array.from({ length: 256 }, (_, type) => type)
    .filter((type) => !KNOWN.has(type) && type !== ENCAPSULATION)
    .flatMap((type) =>
      ['', '00', '00'.repeat(9)].map((body) => ({
        title: `MsgType 0x${u8(type)}, ${body.length / 2} bytes`,
        hex: message(type, body),
      })),
    )

/** [1.2 section 5.5]: Length counts up to the node id; a whole message follows. */
function wrongEnvelopes(): MalformedDatagram[] {
  const inner = message(0x16, '')
  const envelope = (length: number, control: string, node: string): string => u8(length) + u8(ENCAPSULATION) + control + node
  const at = (title: string, hex: string): MalformedDatagram => ({ title: `encapsulation: ${title}`, hex })
  return [
    at('nothing but its header', envelope(4, '00', 'aa')),
    at('without a node id', envelope(3, '00', '') + inner),
    at('without a control byte', envelope(2, '', '') + inner),
    at('Length 0', envelope(0, '00', 'aa') + inner),
    at('Length 1', envelope(1, '00', 'aa') + inner),
    // 255 is the longest there is, with a node id of 252 bytes.
    at('Length 255 and too few bytes', envelope(255, '00', 'aa'.repeat(200)) + inner),
    at('Length beyond the datagram', envelope(40, '00', 'aa') + inner),
    at('encapsulation in it', envelope(4, '00', 'aa') + envelope(4, '00', 'bb') + inner),
    ...SAMPLES.flatMap((sample) =>
      [truncated, prolonged, wrongLengths].flatMap((way) =>
        way(sample).map(({ why, hex }) => at(`${sample.name}: ${why}`, envelope(5, '01', 'aabb') + hex)),
      ),
    ),
  ]
}

/** All of them: every message in every way that its fields allow to break it. A gateway counts them, and says nothing. */
export function malformedDatagrams(): MalformedDatagram[] {
  const ways = [truncated, prolonged, wrongLengths, wrongTexts, wrongFlags]
  const broken = [...SAMPLES, ...DATA_ONLY].flatMap((sample) =>
    ways.flatMap((way) => way(sample).map(({ why, hex }) => ({ title: `${sample.name}: ${why}`, hex }))),
  )
  const bare = ['', '00', '01', '02', 'ff', '0100', '010003', '01000400'].map((hex) => ({
    title: `nothing but ${hex || 'no byte'}`,
    hex,
  }))
  const all = [...broken, ...unknownTypes(), ...wrongEnvelopes(), ...bare]
  // A Length that makes another whole message of the same bytes is no mistake.
  return all.filter(({ hex }) => !/^..fe/.test(hex) || hex.length > 8)
}
