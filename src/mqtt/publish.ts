import type { Instant } from '../base/machine.ts'
import { stringBytes } from '../base/memory-costs.ts'
import type { Lsn, SessionKey, StoredOwner } from '../store/store.ts'
import { type Author, NOBODY } from './author.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'

export type QoS = 0 | 1 | 2

/** Protocol level byte of CONNECT: 3 is MQTT 3.1 (`MQIsdp`), 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5

/**
 * A PUBLISH packet as it came in, and the one object that all its receivers share.
 *
 * The payload is a range of `buffer`, usually the very chunk that came from the socket: nothing is copied to parse it. Who keeps a
 * message past the turn calls `own()`, so that ten bytes of payload never hold a whole read buffer in memory. A class, because
 * this is the one object made per message and its shape must never vary.
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
  /** As received; without topicAlias once the broker has taken the message in. */
  properties: Properties

  /** Holds the payload in [payloadStart, payloadEnd), and the whole packet as received in [frameStart, payloadEnd). */
  buffer: Uint8Array
  payloadStart: number
  payloadEnd: number
  /** -1 when no packet as received is at hand. */
  frameStart: number
  /** The buffer holds this message alone. */
  owned = false
  /** Version the frame is written in; 3 and 4 write PUBLISH alike. */
  frameVersion: ProtocolVersion

  // What the broker notes on the shared message.
  /** Receipt that must be durable before this message goes to anybody; 0 if none (QoS 0 and 1). */
  receiptLsn: Lsn = 0
  /** Name of the message in the store; 0 while it has none. */
  id = 0
  author: Author = NOBODY
  expiresAt: Instant | undefined = undefined
  /** What counts it in the account of memory, together with its copies, which share its buffer; made when it has to wait. */
  held: Held | undefined = undefined
  #weight = -1
  /** Wire forms already written for this message, by variant, and its properties alone; see encode-delivery.ts. */
  encoded: Uint8Array[] | undefined = undefined

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

  /** A message that did not come from the wire: a will, a sensor's publish, a test. */
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

  /** The same content as a message of its own, without what the broker noted on this one. */
  copy(): Publish {
    const copy = Publish.of(this.topic, this.payload, this.qos, this.retain, 0, this.properties)
    copy.author = this.author
    copy.expiresAt = this.expiresAt
    copy.owned = this.owned
    copy.held = this.held
    return copy
  }

  get from(): SessionKey {
    return this.author.key
  }

  /** Of a retained message: who published it, so that the right to do so can be asked about again. */
  get source(): StoredOwner | undefined {
    return this.retain ? this.author.owner : undefined
  }

  /**
   * What it counts for in bounds: bytes of topic, payload and properties, all of them the publisher's choice. An estimate that needs no encoding, made
   * when it is first asked for: topic and properties are what they will be by then.
   */
  get weight(): number {
    if (this.#weight < 0) {
      const { properties, topic } = this
      this.#weight = this.payloadLength + topic.length + (properties === NO_PROPERTIES ? 0 : propertyBytes(properties))
    }
    return this.#weight
  }

  /** What the properties are of that. */
  get propertyBytes(): number {
    return this.weight - this.payloadLength - this.topic.length
  }

  get payloadLength(): number {
    return this.payloadEnd - this.payloadStart
  }

  /** A view, not a copy: valid as long as the message is. */
  get payload(): Uint8Array {
    return this.buffer.subarray(this.payloadStart, this.payloadEnd)
  }

  /** Takes the packet out of a buffer that it shares with others. Idempotent. */
  own(): void {
    if (this.owned) return
    this.owned = true
    // With properties the packet never goes out as it came in: their bytes, which may be most of it, need not be kept twice.
    if (this.properties !== NO_PROPERTIES) this.frameStart = -1
    const start = this.frameStart < 0 ? this.payloadStart : this.frameStart
    // Not `this.buffer.slice`: on a Node Buffer that is a view.
    this.buffer = Uint8Array.prototype.slice.call(this.buffer, start, this.payloadEnd)
    this.payloadStart -= start
    this.payloadEnd -= start
    if (this.frameStart > 0) this.frameStart = 0
    const { correlationData } = this.properties
    if (correlationData !== undefined) this.properties = { ...this.properties, correlationData: new Uint8Array(correlationData) }
  }
}

/** How many places hold a message for longer than a turn, and what it counts for while there are any. */
export class Held {
  places = 0
  bytes = 0
  /** Is in the account as well. */
  author: Author = NOBODY
}

/** What a user property counts for beside its text. */
const PAIR_BYTES = 100

function propertyBytes({ userProperties = [], responseTopic = '', contentType = '', correlationData }: Properties): number {
  let bytes = responseTopic.length + contentType.length + (correlationData?.length ?? 0)
  for (const [name, value] of userProperties) bytes += name.length + value.length + PAIR_BYTES
  return bytes
}

/** What a user property takes beside its text. */
const PAIR_MEMORY = 70

/** What properties take in memory: to be asked once, for what is kept. */
export function propertyMemory(properties: Properties): number {
  if (properties === NO_PROPERTIES) return 0
  const { userProperties = [], responseTopic, contentType, correlationData } = properties
  let bytes = correlationData?.length ?? 0
  if (responseTopic !== undefined) bytes += stringBytes(responseTopic)
  if (contentType !== undefined) bytes += stringBytes(contentType)
  for (const [name, value] of userProperties) bytes += stringBytes(name) + stringBytes(value) + PAIR_MEMORY
  return bytes
}
