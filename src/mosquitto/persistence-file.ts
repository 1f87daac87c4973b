import { ByteReader } from '../base/bytes.ts'
import { PacketType } from '../mqtt/packets.ts'
import { NO_PROPERTIES, type Properties } from '../mqtt/properties.ts'
import { readProperties } from '../mqtt/properties-codec.ts'

// mosquitto.db, formats 5 (Mosquitto 1.6) and 6 (1.6.15, 2.0, 2.1): a header, and chunks of a kind and a length with the
// fixed part of a C struct first. Mosquitto converts what is shorter than 64 bits to network byte order, and writes the rest as the
// machine has it in memory.

/** Random access to the bytes of a file. */
export interface FileBytes {
  readonly size: number
  /** Returns `length` bytes, which are valid until the next call; the caller stays within `size`. */
  read(at: number, length: number): Uint8Array
}

/** Mosquitto's number of a message in the file. */
export type MessageNumber = bigint

/** A message that is retained, or has a place in a queue. Its payload stays in the file. */
export interface SavedMessage {
  readonly number: MessageNumber
  readonly topic: string
  readonly payloadAt: number
  readonly payloadLength: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Client id of the publisher; '' if there was none. */
  readonly sourceId: string
  readonly sourceUsername: string | undefined
  readonly properties: Properties
  /** Seconds since 1970; 0: never. */
  readonly expiresAt: number
}

export interface SavedSubscription {
  readonly filter: string
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  /** 0: none. */
  readonly identifier: number
}

/** A message on its way to or from a client. */
export interface SavedPlace {
  readonly message: MessageNumber
  readonly direction: 'in' | 'out'
  readonly state: PlaceState
  readonly packetId: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly identifiers: readonly number[]
}

/**
 * How far an exchange is. Outbound: `queued`, `sent` (PUBLISH, perhaps) and `released` (PUBREC has come). Inbound: `sent` (PUBLISH
 * has come, but no PUBREL) and `released`.
 */
export type PlaceState = 'queued' | 'sent' | 'released'

export interface SavedSession {
  readonly clientId: string
  /** `undefined` if it has none, or it cannot be trusted. */
  readonly username: string | undefined
  /** Infinity: never. 0: it ends with its connection. */
  readonly expirySeconds: number
  /** When it expires, in seconds since 1970; 0: never, or not while it is connected. */
  readonly expiresAt: number
  /** The last packet id that Mosquitto used; 0: none. */
  readonly lastPacketId: number
  readonly subscriptions: SavedSubscription[]
  /** In order. */
  readonly places: SavedPlace[]
}

export interface SavedState {
  readonly format: number
  /** Whether Mosquitto wrote the file when it ended: otherwise what happened later is not in it. */
  readonly atEnd: boolean
  readonly messages: ReadonlyMap<MessageNumber, SavedMessage>
  readonly sessions: ReadonlyMap<string, SavedSession>
  readonly retained: readonly MessageNumber[]
  /** Number of places and subscriptions of sessions that are not in the file. */
  readonly strays: number
  /** Number of chunks of kinds that Mosquitto 2.1 does not have, which it would skip too. */
  readonly unknown: number
}

const MAGIC = [0x00, 0xb5, 0x00, ...Array.from('mosquitto db', (character) => character.charCodeAt(0))]
/** Magic, an unused checksum and the version. */
const HEADER_BYTES = MAGIC.length + 8
const CHUNK_HEADER_BYTES = 8

const CHUNK = { config: 1, message: 2, place: 3, retained: 4, subscription: 5, session: 6 } as const

/** MQTT's largest payload; what is around it is shorter than a MiB. */
const PAYLOAD_BYTES_MAX = 268_435_455
const AROUND_BYTES_MAX = 1024 * 1024
/** Messages, sessions, places and subscriptions that are kept in memory: each takes about half a KiB. */
export const RECORDS_MAX = 4_000_000

const NEVER = 0xffff_ffff
/** Seconds since 1970 that are no time, but one read in the wrong byte order: the year 71,000. */
const SECONDS_MAX = 2 ** 41

/**
 * Decodes the whole file except for payloads, or returns one line about what is wrong with it, without its path. What the file
 * does not explain, such as a place of a message that is missing, is no error: the caller decides. `recordsMax`: more are refused.
 */
export function readSavedState(file: FileBytes, recordsMax = RECORDS_MAX): SavedState | string {
  return new StateReader(file, recordsMax).read()
}

class StateReader {
  readonly #file: FileBytes
  readonly #recordsMax: number
  readonly #reader = new ByteReader(new Uint8Array(0))
  readonly #messages = new Map<MessageNumber, SavedMessage>()
  readonly #sessions = new Map<string, SavedSession>()
  readonly #retained: MessageNumber[] = []
  #format = 0
  #atEnd = false
  #strays = 0
  #unknown = 0
  #records = 0
  /** Of the machine that wrote the file. */
  #isLittleEndian = true
  /** A user name with what lies behind it in Mosquitto's memory: see `#username`. */
  #overread: string | undefined

  constructor(file: FileBytes, recordsMax: number) {
    this.#file = file
    this.#recordsMax = recordsMax
  }

  read(): SavedState | string {
    const wrong = this.#header()
    if (wrong !== undefined) return wrong
    const { size } = this.#file
    for (let at = HEADER_BYTES; at < size; ) {
      if (size - at < CHUNK_HEADER_BYTES) return `cut short: it ends within the chunk at offset ${at}`
      this.#load(at, CHUNK_HEADER_BYTES)
      const kind = this.#reader.u32('kind')
      const length = this.#reader.u32('length')
      const start = at + CHUNK_HEADER_BYTES
      if (length > size - start)
        return `cut short or damaged: the chunk at offset ${at} has ${length} bytes, of which ${size - start} are there`
      if (++this.#records > this.#recordsMax) return `more than ${this.#recordsMax} chunks, which is the most that is read`
      const error = this.#chunk(kind, start, length)
      if (error !== '') return `damaged: chunk at offset ${at}: ${error}`
      at = start + length
    }
    const [format, atEnd, messages, sessions, retained] = [
      this.#format,
      this.#atEnd,
      this.#messages,
      this.#sessions,
      this.#retained,
    ]
    return { format, atEnd, messages, sessions, retained, strays: this.#strays, unknown: this.#unknown }
  }

  #header(): string | undefined {
    const { size } = this.#file
    if (size === 0) return 'it is empty'
    const magic = this.#file.read(0, Math.min(size, MAGIC.length))
    if (magic.some((byte, i) => byte !== MAGIC[i]))
      return "no persistence file of Mosquitto: it does not begin with 'mosquitto db'"
    if (size < HEADER_BYTES) return 'cut short: it ends within its header'
    this.#load(MAGIC.length, 8)
    this.#reader.u32('checksum')
    this.#format = this.#reader.u32('format')
    if (this.#format === 5 || this.#format === 6) return undefined
    if (this.#format < 5)
      return `format ${this.#format}, of Mosquitto 1.5 or older: let Mosquitto 1.6 or 2.0 start and stop with it, which converts it`
    return `format ${this.#format}, which is newer than 6 and not known to this version of Roost`
  }

  #load(at: number, length: number): void {
    this.#reader.reset(this.#file.read(at, length), 0, length)
  }

  /** Returns the error; '' if there is none. */
  #chunk(kind: number, start: number, length: number): string {
    if (kind === CHUNK.message) return this.#message(start, length)
    const isKnown = Object.values<number>(CHUNK).includes(kind)
    if (!isKnown) {
      this.#unknown++
      return ''
    }
    if (length > AROUND_BYTES_MAX) return `${length} bytes are too many`
    this.#load(start, length)
    const reader = this.#reader
    if (kind === CHUNK.config) this.#config()
    else if (kind === CHUNK.session) this.#session(length)
    else if (kind === CHUNK.place) this.#place()
    else if (kind === CHUNK.subscription) this.#subscription()
    else this.#retained.push(this.#number('message'))
    if (reader.error === '' && reader.remaining > 0) reader.fail(`${reader.remaining} bytes too many`)
    return reader.error
  }

  #config(): void {
    const reader = this.#reader
    // The last number that was given to a message: small, so the byte order that makes it smaller is the machine's.
    const bytes = reader.take(8, 'last message number')
    if (reader.error !== '') return
    this.#isLittleEndian = toBigInt(bytes, true) <= toBigInt(bytes, false)
    this.#atEnd = reader.u8('shutdown') !== 0
    const size = reader.u8('size of a message number')
    if (reader.error === '' && size !== 8) reader.fail(`message numbers of ${size} bytes`)
    reader.skip(reader.remaining, 'padding')
  }

  #session(length: number): void {
    const reader = this.#reader
    const expiresAt = this.#time('expiry')
    const interval = reader.u32('session expiry')
    const lastPacketId = reader.u16('last packet id')
    const idLength = reader.u16('length of the client id')
    let usernameLength = 0
    if (this.#format >= 6) {
      reader.u16('port')
      usernameLength = reader.u16('length of the user name')
      // A struct with a 64-bit field is padded to 24 bytes, except on 32-bit Intel.
      reader.skip(length - 20 - idLength - usernameLength === 0 ? 0 : 4, 'padding')
    }
    const clientId = reader.text(idLength, 'client id')
    const raw = reader.take(usernameLength, 'user name')
    if (clientId === '') reader.fail('a session without a client id')
    if (this.#sessions.has(clientId)) reader.fail('a second session of the same client')
    if (reader.error !== '') return
    const expirySeconds = interval === NEVER ? Number.POSITIVE_INFINITY : interval
    this.#sessions.set(clientId, {
      clientId,
      username: this.#username(raw),
      expirySeconds,
      expiresAt: expirySeconds === Number.POSITIVE_INFINITY ? 0 : expiresAt,
      lastPacketId,
      subscriptions: [],
      places: [],
    })
  }

  /**
   * Mosquitto up to 2.0.15 writes the name of the session before it for one that has none; first with its length in the wrong byte
   * order, so that it is followed by other memory, then with the right one, and so on. Until another name comes, this one says nothing.
   */
  #username(raw: Uint8Array): string | undefined {
    const end = raw.indexOf(0)
    const reader = new ByteReader(raw, 0, end < 0 ? raw.length : end)
    const text = reader.text(reader.remaining, 'user name')
    const name = reader.error === '' && text !== '' ? text : undefined
    if (end >= 0) {
      this.#overread = name
      return undefined
    }
    if (name === this.#overread) return undefined
    this.#overread = undefined
    return name
  }

  #place(): void {
    const reader = this.#reader
    const message = this.#number('message')
    const packetId = reader.u16('packet id')
    const idLength = reader.u16('length of the client id')
    const qos = this.#qos()
    const code = reader.u8('state')
    const retain = reader.u8('flags') >> 4 !== 0
    const way = reader.u8('direction')
    const clientId = reader.text(idLength, 'client id')
    const { subscriptionIdentifiers: identifiers = [] } = this.#properties()
    if (way > 1) reader.fail(`direction ${way}`)
    const direction = way === 0 ? 'in' : 'out'
    const state = (direction === 'in' ? INBOUND : OUTBOUND).get(code)
    if (state === undefined) reader.fail(`state ${code} of a message`)
    if (reader.error !== '' || state === undefined) return
    const session = this.#sessions.get(clientId)
    if (session === undefined) this.#strays++
    else session.places.push({ message, direction, state, packetId, qos, retain, identifiers })
  }

  #subscription(): void {
    const reader = this.#reader
    const identifier = reader.u32('subscription identifier')
    const idLength = reader.u16('length of the client id')
    const filterLength = reader.u16('length of the filter')
    const qos = this.#qos()
    const options = reader.u8('options')
    reader.skip(2, 'padding')
    const clientId = reader.text(idLength, 'client id')
    const filter = reader.text(filterLength, 'filter')
    const retainHandling = (options >> 4) & 3
    if (retainHandling === 3) reader.fail('retain handling 3')
    if (identifier > 268_435_455) reader.fail(`subscription identifier ${identifier}`)
    if (reader.error !== '') return
    const session = this.#sessions.get(clientId)
    if (session === undefined) this.#strays++
    else
      session.subscriptions.push({
        filter,
        qos,
        noLocal: (options & 0x04) !== 0,
        retainAsPublished: (options & 0x08) !== 0,
        retainHandling: retainHandling as 0 | 1 | 2,
        identifier,
      })
  }

  #message(start: number, length: number): string {
    const reader = this.#reader
    this.#load(start, Math.min(length, FIXED_MESSAGE_BYTES))
    const number = this.#number('message')
    const expiresAt = this.#time('expiry')
    const payloadLength = reader.u32('length of the payload')
    reader.u16('packet id of the publisher')
    const [idLength, usernameLength] = [reader.u16('length of the client id'), reader.u16('length of the user name')]
    const topicLength = reader.u16('length of the topic')
    reader.u16('port')
    const qos = this.#qos()
    const retain = reader.u8('retain') !== 0
    const namesLength = idLength + usernameLength + topicLength
    const payloadAt = start + FIXED_MESSAGE_BYTES + namesLength
    const propertiesLength = length - FIXED_MESSAGE_BYTES - namesLength - payloadLength
    if (reader.error === '' && payloadLength > PAYLOAD_BYTES_MAX) reader.fail(`payload of ${payloadLength} bytes`)
    if (reader.error === '' && propertiesLength < 0) reader.fail('its parts are longer than itself')
    if (propertiesLength > AROUND_BYTES_MAX) reader.fail(`properties of ${propertiesLength} bytes`)
    if (reader.error !== '') return reader.error
    this.#load(start + FIXED_MESSAGE_BYTES, namesLength)
    const sourceId = reader.text(idLength, 'client id')
    const sourceUsername = reader.text(usernameLength, 'user name')
    const topic = reader.text(topicLength, 'topic')
    if (reader.error !== '') return reader.error
    this.#load(payloadAt + payloadLength, propertiesLength)
    const properties = ownProperties(this.#properties())
    if (reader.error === '' && reader.remaining > 0) reader.fail(`${reader.remaining} bytes too many`)
    if (reader.error === '' && this.#messages.has(number)) reader.fail(`a second message ${number}`)
    if (reader.error !== '') return reader.error
    this.#messages.set(number, {
      ...{ number, topic, payloadAt, payloadLength, qos, retain, sourceId, properties, expiresAt },
      sourceUsername: sourceUsername === '' ? undefined : sourceUsername,
    })
    return ''
  }

  #qos(): 0 | 1 | 2 {
    const qos = this.#reader.u8('QoS')
    if (qos > 2) this.#reader.fail(`QoS ${qos}`)
    return qos as 0 | 1 | 2
  }

  #number(field: string): MessageNumber {
    return toBigInt(this.#reader.take(8, field), this.#isLittleEndian)
  }

  #time(field: string): number {
    const bytes = this.#reader.take(8, field)
    const value = toBigInt(bytes, this.#isLittleEndian)
    const seconds = Number(value < SECONDS_MAX ? value : toBigInt(bytes, !this.#isLittleEndian))
    if (seconds >= SECONDS_MAX) this.#reader.fail(`${field} is no time`)
    return seconds
  }

  /** Properties of a PUBLISH, where there are any. */
  #properties(): Properties {
    const reader = this.#reader
    if (reader.remaining === 0 || reader.error !== '') return NO_PROPERTIES
    const properties = readProperties(reader, PacketType.PUBLISH, PROPERTY_LIMITS)
    if (!('rule' in properties)) return properties
    reader.fail(properties.reason)
    return NO_PROPERTIES
  }
}

const FIXED_MESSAGE_BYTES = 32
const PROPERTY_LIMITS = { maxUserProperties: AROUND_BYTES_MAX, maxPropertyBytes: AROUND_BYTES_MAX }

/** Those that belong to the message and not to one delivery, with bytes of their own. */
function ownProperties({ messageExpiryInterval, topicAlias, subscriptionIdentifiers, ...own }: Properties): Properties {
  return own.correlationData === undefined ? own : { ...own, correlationData: own.correlationData.slice() }
}

/** Mosquitto's states of outbound messages. From `publish_qos1` on it may have been sent: Mosquitto sets the state back when it is about to repeat it. */
const OUTBOUND: ReadonlyMap<number, PlaceState> = new Map([
  ...([2, 3, 4, 5] as const).map((code) => [code, 'sent'] as const),
  ...([6, 9] as const).map((code) => [code, 'released'] as const),
  ...([1, 11] as const).map((code) => [code, 'queued'] as const),
])

/** `send_pubrec` and `queued` are before PUBREC, `wait_for_pubrel` is after it: in all, PUBREL has not come. */
const INBOUND: ReadonlyMap<number, PlaceState> = new Map([
  ...([7, 10, 11] as const).map((code) => [code, 'sent'] as const),
  [8, 'released'] as const,
])

function toBigInt(bytes: Uint8Array, isLittleEndian: boolean): bigint {
  let value = 0n
  for (let i = 0; i < bytes.length; i++) value = (value << 8n) | BigInt(bytes[isLittleEndian ? bytes.length - 1 - i : i]!)
  return value
}
