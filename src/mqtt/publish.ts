import { PACKED_MAX, packBytes, unpackBytes } from '../base/bytes.ts'
import type { Instant } from '../base/machine.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import type { Lsn, SessionKey, StoredOwner } from '../store/store.ts'
import { type Author, NOBODY } from './author.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'

export type QoS = 0 | 1 | 2

/** Protocol level byte of CONNECT: 3 is MQTT 3.1 (`MQIsdp`), 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5

const NO_BYTES = new Uint8Array(0)

/**
 * A PUBLISH packet as received, and the one object that all its receivers share.
 *
 * The payload is a range of `buffer`, usually the chunk from the socket: parsing copies nothing. Code that keeps a message beyond
 * the turn calls `own()`, so that ten bytes of payload never keep a whole read buffer in memory. A class, because one is created
 * per message and its shape must not vary.
 */
export class Publish {
  readonly type = 3
  topic: string
  qos: QoS
  retain: boolean
  /** As received; never forwarded (MQTT-3.3.1-3). */
  dup: boolean
  /** As received; 0 for QoS 0. */
  packetId: number
  /** As received; without topicAlias once the broker has accepted the message. */
  properties: Properties

  /**
   * Holds the payload in [payloadStart, payloadEnd), and the whole packet as received in [frameStart, payloadEnd); empty once
   * that is packed.
   */
  buffer: Uint8Array
  /** The same in place of the buffer, packed. */
  packed: string | undefined = undefined
  payloadStart: number
  payloadEnd: number
  /** -1 if there is no received packet. */
  frameStart: number
  /** The buffer holds this message alone. */
  owned = false
  /** Version the frame is written in; 3 and 4 write PUBLISH alike. */
  frameVersion: ProtocolVersion

  // The broker's notes on the shared message.
  /** Lsn of the receipt, which must be durable before this message is sent to any client; 0 if none (QoS 0 and 1). */
  receiptLsn: Lsn = 0
  /** Id of the message in the store; 0 if it has none. */
  id = 0
  author: Author = NOBODY
  expiresAt: Instant | undefined = undefined
  /** When the broker accepted it, in whole seconds of this process; -1 if that is not known, or it neither waits nor is retained. */
  acceptedAt = -1
  /** Counts its memory, together with that of its copies, which share its buffer; created when it is first queued. */
  held: MessageMemory | undefined = undefined
  #weight = -1
  /** Wire forms already written for this message, by variant, and its properties alone; see encode-delivery.ts. */
  encoded: (Uint8Array | string)[] | undefined = undefined

  constructor(
    topic: string,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    packetId: number,
    properties: Properties,
    buffer: Uint8Array,
    payloadStart: number,
    payloadEnd: number,
    frameStart: number,
    frameVersion: ProtocolVersion,
  ) {
    this.topic = topic
    this.qos = qos
    this.retain = retain
    this.dup = dup
    this.packetId = packetId
    this.properties = properties
    this.buffer = buffer
    this.payloadStart = payloadStart
    this.payloadEnd = payloadEnd
    this.frameStart = frameStart
    this.frameVersion = frameVersion
  }

  /** A message that was not received as MQTT: a will, a sensor's publish, a test. */
  static of(
    topic: string,
    payload: Uint8Array,
    qos: QoS = 0,
    retain = false,
    packetId = 0,
    properties: Properties = NO_PROPERTIES,
  ): Publish {
    return new Publish(topic, qos, retain, false, packetId, properties, payload, 0, payload.length, -1, 5)
  }

  /** A copy that shares the content, without the broker's notes. */
  copy(): Publish {
    const copy = Publish.of(this.topic, NO_BYTES, this.qos, this.retain, 0, this.properties)
    copy.shareContent(this)
    copy.author = this.author
    copy.expiresAt = this.expiresAt
    copy.acceptedAt = this.acceptedAt
    copy.owned = this.owned
    copy.held = this.held
    return copy
  }

  /** Whether another message, owned and without a received packet like this one, has the same payload; both have its length. */
  hasContentOf({ packed, buffer, payloadStart }: Publish): boolean {
    if (this.packed !== undefined || packed !== undefined) return this.packed === packed
    return this.payload.every((byte, i) => byte === buffer[payloadStart + i])
  }

  /** Takes over the content of another message with the same payload. */
  shareContent({ buffer, packed, payloadStart, payloadEnd }: Publish): void {
    this.buffer = buffer
    this.packed = packed
    this.payloadStart = payloadStart
    this.payloadEnd = payloadEnd
    this.frameStart = -1
  }

  get from(): SessionKey {
    return this.author.key
  }

  /** The publisher of a retained message, whose right to publish may be checked again. */
  get source(): StoredOwner | undefined {
    return this.retain ? this.author.owner : undefined
  }

  /**
   * Its size for limits: bytes of topic, payload and properties, all chosen by the publisher. An estimate without encoding,
   * computed when first needed: topic and properties are final by then.
   */
  get weight(): number {
    if (this.#weight < 0) {
      const { properties, topic } = this
      this.#weight = this.payloadLength + topic.length + (properties === NO_PROPERTIES ? 0 : propertyBytes(properties))
    }
    return this.#weight
  }

  /** The part of the properties. */
  get propertyBytes(): number {
    return this.weight - this.payloadLength - this.topic.length
  }

  get payloadLength(): number {
    return this.payloadEnd - this.payloadStart
  }

  /** A view of the buffer, or of a pool: what outlives the message and the turn should be copied. */
  get payload(): Uint8Array {
    const { packed, payloadStart, payloadEnd } = this
    return packed === undefined ? this.buffer.subarray(payloadStart, payloadEnd) : unpackBytes(packed, payloadStart, payloadEnd)
  }

  /** The bytes of payload and packet, in the one form or the other. */
  get content(): Uint8Array | string {
    return this.packed ?? this.buffer
  }

  /** Bytes of memory for them, once they are owned. */
  get contentBytes(): number {
    return this.packed === undefined ? COST.buffer + this.buffer.length : COST.string + this.packed.length
  }

  /** Replaces its content, before the broker has accepted it; the payload is copied. */
  change(topic: string, payload: Uint8Array, properties: Properties): void {
    this.topic = topic
    this.properties = properties
    this.buffer = payload
    this.packed = undefined
    this.payloadStart = 0
    this.payloadEnd = payload.length
    this.frameStart = -1
    this.owned = false
    this.#weight = -1
    this.own()
  }

  /** Replaces the properties of a message that nobody has queued yet. */
  describe(properties: Properties): void {
    this.properties = properties
    this.#weight = -1
  }

  /** Copies the packet out of a shared buffer. Idempotent. */
  own(): void {
    if (this.owned) return
    this.owned = true
    // A packet with properties is never forwarded as received: their bytes, perhaps most of it, need not be kept twice.
    if (this.properties !== NO_PROPERTIES) this.frameStart = -1
    const start = this.frameStart < 0 ? this.payloadStart : this.frameStart
    if (this.payloadEnd - start <= PACKED_MAX) {
      this.packed = packBytes(this.buffer, start, this.payloadEnd)
      this.buffer = NO_BYTES
      // Not `this.buffer.slice`: on a Node Buffer that is a view.
    } else this.buffer = Uint8Array.prototype.slice.call(this.buffer, start, this.payloadEnd)
    this.payloadStart -= start
    this.payloadEnd -= start
    if (this.frameStart > 0) this.frameStart = 0
    const { correlationData } = this.properties
    if (correlationData !== undefined) this.properties = { ...this.properties, correlationData: new Uint8Array(correlationData) }
  }
}

/** The number of places that keep a message beyond the turn, and the bytes it counts while there are any. */
export class MessageMemory {
  places = 0
  bytes = 0
  /** Whether it is counted. */
  author: Author = NOBODY
}

/** Bytes that a user property counts in addition to its text. */
const PAIR_BYTES = 100

function propertyBytes({ userProperties = [], responseTopic = '', contentType = '', correlationData }: Properties): number {
  let bytes = responseTopic.length + contentType.length + (correlationData?.length ?? 0)
  for (const [name, value] of userProperties) bytes += name.length + value.length + PAIR_BYTES
  return bytes
}

/** Bytes of memory for a user property in addition to its text. */
const PAIR_MEMORY = 70

/** Bytes of memory for properties; computed once, for those that are kept. */
export function propertyMemory(properties: Properties): number {
  if (properties === NO_PROPERTIES) return 0
  const { userProperties = [], responseTopic, contentType, correlationData } = properties
  let bytes = correlationData?.length ?? 0
  if (responseTopic !== undefined) bytes += stringBytes(responseTopic)
  if (contentType !== undefined) bytes += stringBytes(contentType)
  for (const [name, value] of userProperties) bytes += stringBytes(name) + stringBytes(value) + PAIR_MEMORY
  return bytes
}
