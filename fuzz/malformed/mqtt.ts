import { NO_TEXT } from './no-text.ts'

/** How a server has to answer what it cannot accept. */
export type Reaction =
  /** The connection ends, and not a byte is sent. */
  | { readonly kind: 'close' }
  /** CONNACK with this code as the version writes it, then the end. */
  | { readonly kind: 'connack'; readonly code: number }
  /** DISCONNECT with this reason code, then the end; before 5.0 the end alone. */
  | { readonly kind: 'disconnect'; readonly code: number }

export interface MalformedCase {
  /** Version, packet, and what is wrong with it. */
  readonly title: string
  readonly version: Version
  /** What comes first: nothing, or a CONNECT that is accepted. */
  readonly after: 'nothing' | 'connect'
  readonly hex: string
  readonly reaction: Reaction
}

type Version = 3 | 4 | 5
export const VERSIONS: readonly Version[] = [3, 4, 5]

const MALFORMED = 0x81
const PROTOCOL_ERROR = 0x82
const TOPIC_NAME_INVALID = 0x90
const TOPIC_ALIAS_INVALID = 0x94

// --- Bytes, written without the codec under test.

const u8 = (value: number): string => value.toString(16).padStart(2, '0')
const u16 = (value: number): string => value.toString(16).padStart(4, '0')
const u32 = (value: number): string => value.toString(16).padStart(8, '0')
const hexOf = (text: string): string => Buffer.from(text).toString('hex')
const sized = (hex: string): string => u16(hex.length / 2) + hex
const str = (text: string): string => sized(hexOf(text))

function vbi(value: number): string {
  let hex = ''
  do {
    const more = value >= 0x80
    hex += u8((value & 0x7f) | (more ? 0x80 : 0))
    value = Math.floor(value / 0x80)
  } while (value > 0)
  return hex
}

const packet = (type: number, flags: number, body: string): string => u8((type << 4) | flags) + vbi(body.length / 2) + body
const block = (properties: string): string => vbi(properties.length / 2) + properties

// --- What a well-formed packet of a client consists of.

/** A piece of a body. `text` may be replaced by text that is none; `properties` by properties that do not belong there. */
type Field =
  | { readonly kind: 'raw' | 'id' | 'text' | 'topic' | 'filter' | 'reason'; readonly hex: string }
  | { readonly kind: 'properties'; readonly of: Place; readonly hex: string }

type Place =
  | 'CONNECT'
  | 'WILL'
  | 'PUBLISH'
  | 'PUBACK'
  | 'PUBREC'
  | 'PUBREL'
  | 'PUBCOMP'
  | 'SUBSCRIBE'
  | 'UNSUBSCRIBE'
  | 'DISCONNECT'
  | 'AUTH'

interface Sample {
  readonly name: string
  readonly type: number
  readonly flags: number
  /** Flags that are as good. */
  readonly otherFlags?: readonly number[]
  readonly fields: readonly Field[]
  /** Bytes of the body after which it may end as well. */
  readonly ends?: readonly number[]
  /** More bytes behind it are its payload. */
  readonly open?: true
}

const raw = (hex: string): Field => ({ kind: 'raw', hex })
const text = (value: string): Field => ({ kind: 'text', hex: hexOf(value) })
const topic = (value: string): Field => ({ kind: 'topic', hex: hexOf(value) })
const filter = (value: string): Field => ({ kind: 'filter', hex: hexOf(value) })
const id = (value: number): Field => ({ kind: 'id', hex: u16(value) })
const reason = (value: number): Field => ({ kind: 'reason', hex: u8(value) })
const isText = ({ kind }: Field): boolean => kind === 'text' || kind === 'topic' || kind === 'filter'

const written = (field: Field): string =>
  field.kind === 'properties' ? block(field.hex) : isText(field) ? sized(field.hex) : field.hex
const bodyOf = (fields: readonly Field[]): string => fields.map(written).join('')
const lengthOf = (fields: readonly Field[]): number => bodyOf(fields).length / 2

const PROTOCOL: Readonly<Record<Version, Field>> = { 3: text('MQIsdp'), 4: text('MQTT'), 5: text('MQTT') }

function samples(version: Version): Sample[] {
  const five = version === 5
  const properties = (of: Place, hex = ''): Field[] => (five ? [{ kind: 'properties', of, hex }] : [])
  // MQTT 3.1 repeats these with DUP.
  const repeated = version === 3 ? { otherFlags: [10] } : {}
  const ack = (name: Place, type: number, flags: number): Sample => ({
    name,
    type,
    flags,
    ...(flags === 2 && repeated),
    fields: five ? [id(7), reason(0), ...properties(name, `1f${str('why')}`)] : [id(7)],
    ...(five && { ends: [2, 3] }),
  })
  // MQTT 3.1 does not use the flags of CONNECT.
  const unused = version === 3 ? { otherFlags: Array.from({ length: 16 }, (_, i) => i) } : {}
  const head = [PROTOCOL[version], raw(u8(version))]
  const publish = (qos: number): Sample => ({
    name: `PUBLISH with QoS ${qos}`,
    type: 3,
    flags: qos << 1,
    fields: [topic('a/b'), ...(qos > 0 ? [id(7)] : []), ...properties('PUBLISH', '0101')],
    open: true,
    otherFlags: qos === 0 ? [1] : [(qos << 1) | 1, (qos << 1) | 8, (qos << 1) | 9],
  })
  const withWill = [
    ...head,
    raw('ce003c'),
    ...properties('CONNECT', '210001'),
    text('c'),
    ...properties('WILL', '1800000001'),
    topic('w'),
    raw(str('gone')),
  ]
  return [
    { name: 'CONNECT', type: 1, flags: 0, ...unused, fields: [...head, raw('02003c'), ...properties('CONNECT'), text('c')] },
    {
      name: 'CONNECT with a will and credentials',
      type: 1,
      flags: 0,
      ...unused,
      fields: [...withWill, text('user'), raw(str('pass'))],
      // The end of the packet counts for more than the flags in MQTT 3.1.
      ...(version === 3 && { ends: [lengthOf(withWill), lengthOf([...withWill, text('user')])] }),
    },
    publish(0),
    publish(1),
    publish(2),
    ack('PUBACK', 4, 0),
    ack('PUBREC', 5, 0),
    ack('PUBREL', 6, 2),
    ack('PUBCOMP', 7, 0),
    {
      name: 'SUBSCRIBE',
      type: 8,
      flags: 2,
      ...repeated,
      fields: [id(7), ...properties('SUBSCRIBE'), filter('a/+'), raw('01'), filter('b/#'), raw('00')],
      ends: [lengthOf([id(7), ...properties('SUBSCRIBE'), filter('a/+'), raw('01')])],
    },
    {
      name: 'UNSUBSCRIBE',
      type: 10,
      flags: 2,
      ...repeated,
      fields: [id(7), ...properties('UNSUBSCRIBE'), filter('a/+'), filter('b')],
      ends: [lengthOf([id(7), ...properties('UNSUBSCRIBE'), filter('a/+')])],
    },
    { name: 'PINGREQ', type: 12, flags: 0, fields: [] },
    {
      name: 'DISCONNECT',
      type: 14,
      flags: 0,
      fields: five ? [reason(4), ...properties('DISCONNECT', `1f${str('why')}`)] : [],
      ...(five && { ends: [0, 1] }),
    },
    ...(five
      ? [
          {
            name: 'AUTH',
            type: 15,
            flags: 0,
            fields: [reason(0x19), ...properties('AUTH', `15${str('M')}`)],
            // Shorter ones are whole packets, and wrong for another reason: nothing was begun.
            ends: [0, 1],
          } satisfies Sample,
        ]
      : []),
  ]
}

// --- Ways to break one.

interface Broken {
  readonly why: string
  readonly hex: string
  /** The 5.0 reason code for it. */
  readonly code: number
}

const whole = ({ type, flags }: Sample, fields: readonly Field[]): string => packet(type, flags, bodyOf(fields))

/** The sample with one field in another form. */
function replaced(sample: Sample, at: number, hex: string): string {
  const before = bodyOf(sample.fields.slice(0, at))
  return packet(sample.type, sample.flags, before + hex + bodyOf(sample.fields.slice(at + 1)))
}

/** Flags of the fixed header (MQTT-2.1.3-1; of PUBLISH MQTT-3.3.1-2, -4). */
function wrongFlags({ type, flags, otherFlags = [], fields }: Sample): Broken[] {
  const wrong: number[] = []
  for (let other = 0; other < 16; other++) {
    // Of PUBLISH these three bits say whether there is a packet id; another QoS makes another packet of it.
    const anotherQos = type === 3 && (other & 6) !== (flags & 6) && (other & 6) !== 6
    if (other !== flags && !otherFlags.includes(other) && !anotherQos) wrong.push(other)
  }
  return wrong.map((other) => ({ why: `flags ${other}`, hex: packet(type, other, bodyOf(fields)), code: MALFORMED }))
}

/** Every length that is too short for what the packet has to hold. */
function truncated(sample: Sample): Broken[] {
  const body = bodyOf(sample.fields)
  const broken: Broken[] = []
  // An empty list is no cut, but a list that must not be empty (MQTT-3.8.3-2, MQTT-3.10.3-2).
  const list = sample.fields.findIndex(({ kind }) => kind === 'filter')
  const bare = list < 0 ? -1 : lengthOf(sample.fields.slice(0, list))
  for (let length = 0; length < body.length / 2; length++) {
    if (sample.ends?.includes(length)) continue
    const code = length === bare ? PROTOCOL_ERROR : MALFORMED
    broken.push({
      why: `cut after ${length} bytes`,
      hex: packet(sample.type, sample.flags, body.slice(0, length * 2)),
      code,
    })
  }
  return broken
}

const prolonged = (sample: Sample): Broken[] =>
  sample.open
    ? []
    : ['00', 'ff', '0000'].map((more) => ({
        why: `${more} behind its end`,
        hex: packet(sample.type, sample.flags, bodyOf(sample.fields) + more),
        code: MALFORMED,
      }))

function wrongTexts(sample: Sample): Broken[] {
  return sample.fields.flatMap((field, at) => {
    // A protocol name is refused as a name before anybody reads it as text.
    if (!isText(field) || (sample.type === 1 && at === 0)) return []
    const ill = NO_TEXT.map(([why, hex]) => ({
      why: `${why} in ${field.kind} ${at}`,
      hex: replaced(sample, at, sized(hex)),
      code: MALFORMED,
    }))
    const beyond = [0xffff, 0x7fff].map((length) => ({
      why: `${field.kind} ${at} of ${length} bytes that are not there`,
      hex: replaced(sample, at, u16(length) + field.hex),
      code: MALFORMED,
    }))
    return [...ill, ...beyond]
  })
}

/** [5.0 section 4.7]. */
function wrongTopics(sample: Sample): Broken[] {
  return sample.fields.flatMap((field, at): Broken[] => {
    const as = (value: string, code: number): Broken => ({
      why: `${field.kind} ${at} ${JSON.stringify(value)}`,
      hex: replaced(sample, at, str(value)),
      code,
    })
    if (field.kind === 'topic') {
      const empty = as('', sample.type === 1 ? TOPIC_NAME_INVALID : PROTOCOL_ERROR)
      return [...['#', '+', 'a/#', 'a/+/b', 'a#', '+a'].map((value) => as(value, TOPIC_NAME_INVALID)), empty]
    }
    if (field.kind !== 'filter') return []
    return ['', 'a#', '#/a', 'a/#/b', '##', 'a+', '+a', 'a/+b/c', 'a/b+', '++', '$share/g/a#'].map((value) =>
      as(value, MALFORMED),
    )
  })
}

/** MQTT-2.2.1-3 */
const zeroIds = (sample: Sample): Broken[] =>
  sample.fields.flatMap((field, at) =>
    field.kind === 'id' ? [{ why: 'packet id 0', hex: replaced(sample, at, '0000'), code: PROTOCOL_ERROR }] : [],
  )

/** [5.0 section 2.4]: the reason codes of each packet type. */
const ACK = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
const RELEASE = [0x00, 0x92]
const REASONS: Readonly<Record<number, readonly number[]>> = {
  4: ACK,
  5: ACK,
  6: RELEASE,
  7: RELEASE,
  14: [
    ...[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8b, 0x8d, 0x8e, 0x8f, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
    ...[0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0, 0xa1, 0xa2],
  ],
  15: [0x00, 0x18, 0x19],
}

const wrongReasons = (sample: Sample): Broken[] =>
  sample.fields.flatMap((field, at) =>
    field.kind !== 'reason'
      ? []
      : Array.from({ length: 256 }, (_, code) => code)
          .filter((code) => !REASONS[sample.type]!.includes(code))
          .map((code) => ({ why: `reason code 0x${u8(code)}`, hex: replaced(sample, at, u8(code)), code: PROTOCOL_ERROR })),
  )

/** [5.0 table 2-4]: identifier, a value, and the packets that may carry it. */
const ACKS: readonly Place[] = ['PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP']
const PROPERTIES: readonly (readonly [id: number, value: string, places: readonly Place[]])[] = [
  [0x01, '01', ['PUBLISH', 'WILL']],
  [0x02, u32(9), ['PUBLISH', 'WILL']],
  [0x03, str('t'), ['PUBLISH', 'WILL']],
  [0x08, str('r'), ['PUBLISH', 'WILL']],
  [0x09, '000101', ['PUBLISH', 'WILL']],
  // A client may not send it in PUBLISH (MQTT-3.3.4-6).
  [0x0b, '05', ['SUBSCRIBE']],
  [0x11, u32(9), ['CONNECT', 'DISCONNECT']],
  [0x12, str('a'), []],
  [0x13, u16(9), []],
  [0x15, str('M'), ['CONNECT', 'AUTH']],
  [0x16, '000101', ['CONNECT', 'AUTH']],
  [0x17, '01', ['CONNECT']],
  [0x18, u32(9), ['WILL']],
  [0x19, '01', ['CONNECT']],
  [0x1a, str('i'), []],
  [0x1c, str('s'), ['DISCONNECT']],
  [0x1f, str('w'), [...ACKS, 'DISCONNECT', 'AUTH']],
  [0x21, u16(9), ['CONNECT']],
  [0x22, u16(9), ['CONNECT']],
  [0x23, u16(1), ['PUBLISH']],
  [0x24, '01', []],
  [0x25, '01', []],
  [0x26, str('k') + str('v'), [...ACKS, 'CONNECT', 'WILL', 'PUBLISH', 'SUBSCRIBE', 'UNSUBSCRIBE', 'DISCONNECT', 'AUTH']],
  [0x27, u32(99), ['CONNECT']],
  [0x28, '01', []],
  [0x29, '01', []],
  [0x2a, '01', []],
]
const TEXTS = [0x03, 0x08, 0x12, 0x15, 0x1a, 0x1c, 0x1f]
const UNKNOWN = [0x00, 0x04, 0x07, 0x0a, 0x0c, 0x10, 0x14, 0x1b, 0x1d, 0x1e, 0x20, 0x2b, 0x40, 0x7f]

/** Values that a property of the right form may not have, and the reason code for them. */
const VALUES: readonly (readonly [id: number, value: string, code: number])[] = [
  ...[0x01, 0x17, 0x19].flatMap((one) => [[one, '02', PROTOCOL_ERROR] as const, [one, 'ff', PROTOCOL_ERROR] as const]),
  [0x0b, '00', PROTOCOL_ERROR],
  [0x0b, '8000', MALFORMED],
  [0x0b, 'ffffffff7f', MALFORMED],
  [0x21, '0000', PROTOCOL_ERROR],
  [0x27, '00000000', PROTOCOL_ERROR],
  [0x23, '0000', TOPIC_ALIAS_INVALID],
  [0x23, 'ffff', TOPIC_ALIAS_INVALID],
]

/** Properties that a server refuses although each by itself is right: their packet is not tried with them alone. */
const NOT_ALONE = [0x16, 0x15]

function wrongProperties(sample: Sample): Broken[] {
  return sample.fields.flatMap((field, at): Broken[] => {
    if (field.kind !== 'properties') return []
    const { of } = field
    const broken: Broken[] = []
    const add = (why: string, blockHex: string, code: number): void => {
      broken.push({ why: `${why} in the properties of ${of}`, hex: replaced(sample, at, blockHex), code })
    }
    for (const one of UNKNOWN) add(`unknown property 0x${u8(one)}`, block(u8(one)), MALFORMED)
    add('an identifier of two bytes', block('8101'), MALFORMED)
    add('an identifier that is not minimal', block('810001'), MALFORMED)
    add(
      'a length that is not minimal',
      `${vbi(field.hex.length / 2).replace(/(..)$/, (last) => u8(Number.parseInt(last, 16) | 0x80))}00${field.hex}`,
      MALFORMED,
    )
    add('a length of five bytes', `8080808001${field.hex}`, MALFORMED)
    add('a length beyond the packet', `ffffff7f${field.hex}`, MALFORMED)
    for (const [one, value, places] of PROPERTIES) {
      const property = u8(one) + value
      const name = `property 0x${u8(one)}`
      if (!places.includes(of)) {
        add(name, block(property), one === 0x0b && of === 'PUBLISH' ? PROTOCOL_ERROR : MALFORMED)
        continue
      }
      for (let length = 1; length < property.length / 2; length++) {
        add(`${name} cut after ${length} bytes`, block(property.slice(0, length * 2)), MALFORMED)
      }
      if (one !== 0x26 && !NOT_ALONE.includes(one)) add(`${name} twice`, block(property + property), PROTOCOL_ERROR)
      if (TEXTS.includes(one)) for (const [why, hex] of NO_TEXT) add(`${why} in ${name}`, block(u8(one) + sized(hex)), MALFORMED)
      if (one === 0x26) {
        for (const [why, hex] of NO_TEXT) {
          add(`${why} in the name of ${name}`, block(u8(one) + sized(hex) + str('v')), MALFORMED)
          add(`${why} in the value of ${name}`, block(u8(one) + str('k') + sized(hex)), MALFORMED)
        }
      }
      for (const [other, wrong, code] of VALUES)
        if (other === one) add(`${name} with value ${wrong}`, block(u8(one) + wrong), code)
    }
    return broken
  })
}

// --- What is special to one packet type.

/** [5.0 section 3.1.2]; before 5.0 only a wrong level is answered. */
function wrongConnects(version: Version): MalformedCase[] {
  const tail = version === 5 ? '00' : ''
  const connect = (name: string, level: number, rest: string): string => packet(1, 0, str(name) + u8(level) + rest)
  const proper = version === 3 ? 'MQIsdp' : 'MQTT'
  const flagged = (flags: number, payload: string): string => connect(proper, version, `${u8(flags)}003c${tail}${payload}`)
  const malformed: Reaction = version === 5 ? { kind: 'connack', code: MALFORMED } : { kind: 'close' }
  const one = (why: string, hex: string, reaction: Reaction): MalformedCase => ({
    title: `${version} CONNECT: ${why}`,
    version,
    after: 'nothing',
    hex,
    reaction,
  })
  const id = str('c')
  const names = ['', 'M', 'mqtt', 'MQTT ', 'MQTTT', 'MQIsdP', 'HTTP', 'MQTT\u00e9', 'x'.repeat(300)]
  const levels = [0, 1, 2, 6, 9, 0x7f, 0x85, 0xff, version === 3 ? 4 : 3]
  return [
    ...names.map((name) =>
      one(`protocol name ${JSON.stringify(name.slice(0, 9))}`, connect(name, version, `02003c${tail}${id}`), { kind: 'close' }),
    ),
    ...levels.map((level) =>
      one(`protocol level ${level}`, connect(proper, level, `02003c${tail}${id}`), {
        kind: 'connack',
        // Whoever asks for more than 5 is answered as 5.0 does, everybody else as 3.1.1.
        code: proper === 'MQTT' && level > 5 && level !== 0x83 && level !== 0x84 ? 0x84 : 1,
      }),
    ),
    ...(version > 3 ? [one('reserved flag', flagged(3, id), malformed)] : []),
    one('will QoS 3', flagged(0x1e, id + tail + str('w') + str('m')), malformed),
    // MQTT 3.1 disregards these bits where there is no will, and what the end of the packet takes away.
    ...(version === 3
      ? []
      : [
          one('will QoS 1 without a will', flagged(0x0a, id), malformed),
          one('will QoS 2 without a will', flagged(0x12, id), malformed),
          one('will retain without a will', flagged(0x22, id), malformed),
          one('user name flag without a user name', flagged(0x82, id), malformed),
          one('password flag without a password', flagged(0xc2, id + str('u')), malformed),
        ]),
    one('will flag without a will', flagged(0x06, id), malformed),
    one('will flag without a will message', flagged(0x06, id + tail + str('w')), malformed),
    ...(version < 5 ? [one('password without a user name', flagged(0x42, id + str('p')), malformed)] : []),
    one('no client id at all', flagged(2, ''), malformed),
    ...(version === 4
      ? [one('no client id without a clean session (MQTT-3.1.3-8)', flagged(0, str('')), { kind: 'connack', code: 2 })]
      : []),
    one('packet type 0', '0000', { kind: 'close' }),
  ]
}

/** What is wrong with these only once somebody is connected. */
function wrongWhenConnected(version: Version): Broken[] {
  const five = version === 5
  const none = five ? '00' : ''
  const subscribe = (filter: string, options: number): string => packet(8, 2, u16(7) + none + str(filter) + u8(options))
  const optionCode = (options: number): number => ((options & 0xc0) !== 0 ? MALFORMED : PROTOCOL_ERROR)
  const options = Array.from({ length: 256 }, (_, value) => value).filter((value) =>
    five ? (value & 0xc0) !== 0 || (value & 3) === 3 || (value & 0x30) === 0x30 : (value & 0xfc) !== 0 || value === 3,
  )
  return [
    ...[2, 9, 11, 13].map((type) => ({
      why: `packet type ${type}, which only servers send`,
      hex: packet(type, 0, '0000'),
      code: PROTOCOL_ERROR,
    })),
    ...(five ? [] : [{ why: 'packet type 15, which 5.0 brought', hex: packet(15, 0, ''), code: PROTOCOL_ERROR }]),
    { why: 'packet type 0', hex: '0000', code: MALFORMED },
    { why: 'a second CONNECT (MQTT-3.1.0-2)', hex: connectHex(version), code: PROTOCOL_ERROR },
    { why: 'a length of five bytes', hex: '30ffffffff01', code: MALFORMED },
    { why: 'a length of five bytes whose value is small', hex: 'c08080808000', code: MALFORMED },
    ...(five
      ? ['c08000', 'c0808000', '30858000'].map((hex) => ({ why: `length ${hex.slice(2)} is not minimal`, hex, code: MALFORMED }))
      : []),
    { why: 'a packet above the maximum', hex: '30ffffff7f', code: 0x95 },
    ...options.map((value) => ({
      why: `SUBSCRIBE with options 0x${u8(value)}`,
      hex: subscribe('a', value),
      code: optionCode(value),
    })),
    ...(five
      ? [
          { why: 'No Local on a shared subscription (MQTT-3.8.3-4)', hex: subscribe('$share/g/a', 4), code: PROTOCOL_ERROR },
          { why: 'a topic alias that was never set', hex: packet(3, 0, `0000${block('230001')}`), code: PROTOCOL_ERROR },
          {
            why: 'two subscription identifiers',
            hex: packet(8, 2, `${u16(7)}${block('0b010b02')}${str('a')}00`),
            code: PROTOCOL_ERROR,
          },
          { why: 'AUTH where nothing was begun', hex: packet(15, 0, `19${block(`15${str('M')}`)}`), code: PROTOCOL_ERROR },
          ...['#', 'a/+'].map((wild) => ({
            why: `response topic ${wild} (MQTT-3.3.2-14)`,
            hex: packet(3, 0, `${str('a')}${block(`08${str(wild)}`)}`),
            code: PROTOCOL_ERROR,
          })),
        ]
      : []),
  ]
}

/** A CONNECT that is accepted. */
export function connectHex(version: Version, clientId = 'c'): string {
  return packet(1, 0, `${str(version === 3 ? 'MQIsdp' : 'MQTT')}${u8(version)}02003c${version === 5 ? '00' : ''}${str(clientId)}`)
}

/** What comes back, as hex of what is written and `close`, with a space between. */
export function expectedAnswer({ version, reaction }: MalformedCase): RegExp {
  if (reaction.kind === 'close' || (reaction.kind === 'disconnect' && version < 5)) return /^close$/
  const code = u8(reaction.code)
  if (reaction.kind === 'disconnect') return new RegExp(`^e0..${code}\\S* close$`)
  return reaction.code < 0x80 ? new RegExp(`^200200${code} close$`) : new RegExp(`^20..00${code}\\S* close$`)
}

/** All of them: every packet type that a client sends, in every version, broken in every way that its fields allow. */
export function malformedCases(): MalformedCase[] {
  return VERSIONS.flatMap((version) => {
    const broken = samples(version).flatMap((sample) =>
      [wrongFlags, truncated, prolonged, wrongTexts, wrongTopics, zeroIds, wrongReasons, wrongProperties]
        .flatMap((way) => way(sample))
        .map(({ why, hex, code }): MalformedCase => {
          const first = sample.type === 1
          // Nobody knows how to answer before the version has been read.
          const versionRead = hex.startsWith('10') && !/^cut after [0-6] /.test(why)
          const answered: Reaction = version === 5 && versionRead ? { kind: 'connack', code } : { kind: 'close' }
          return {
            title: `${version} ${sample.name}: ${why}`,
            version,
            after: first ? 'nothing' : 'connect',
            hex,
            reaction: first ? answered : { kind: 'disconnect', code },
          }
        }),
    )
    const connected = wrongWhenConnected(version).map(
      ({ why, hex, code }): MalformedCase => ({
        title: `${version} when connected: ${why}`,
        version,
        after: 'connect',
        hex,
        reaction: { kind: 'disconnect', code },
      }),
    )
    const early = samples(version)
      .filter(({ type }) => type !== 1)
      .map(
        (sample): MalformedCase => ({
          title: `${version} ${sample.name} before CONNECT (MQTT-3.1.0-1)`,
          version,
          after: 'nothing',
          hex: whole(sample, sample.fields),
          reaction: { kind: 'close' },
        }),
      )
    return [...broken, ...wrongConnects(version), ...connected, ...early]
  })
}
