import { ByteWriter, PACKED_MAX, packBytes } from '../base/bytes.ts'
import type { Instant } from '../base/machine.ts'
import { publishLength, writePublishHead } from './encode.ts'
import type { Delivery } from './link.ts'
import { NO_PROPERTIES, type Properties } from './properties.ts'
import { writePropertyFields } from './properties-codec.ts'
import type { ProtocolVersion, QoS } from './publish.ts'
import { Publish } from './publish.ts'
import type { Slab } from './slab.ts'
import type { TopicAliases } from './topic-aliases.ts'

/**
 * Writes one delivery as a PUBLISH packet. A message is encoded once per wire variant (with or without packet id, 5.0 or before),
 * not once per receiver: flags and packet id are patched into a copy. The received variant needs no encoding at all.
 *
 * Returns false, and writes nothing, if the packet would exceed `limit` bytes (MQTT-3.1.2-24) or the maximum of MQTT: the largest
 * packet of MQTT 3.1.1 does not fit into 5.0, nor with a packet id, a subscription identifier or the topic of a mount point
 * added.
 */
export function writeDelivery(
  slab: Slab,
  delivery: Delivery,
  version: ProtocolVersion,
  now: Instant,
  limit: number,
  aliases?: TopicAliases,
): boolean {
  const { message, qos } = delivery
  if (message.payloadLength >= SHARED_MIN || (version === 5 && hasLargeProperties(delivery)))
    return writeShared(slab, delivery, version, now, limit)
  if (aliases !== undefined && writeAliased(slab, delivery, now, limit, aliases)) return true
  if (message.frameStart >= 0 && message.properties === NO_PROPERTIES && delivery.subscriptionIdentifiers === undefined) {
    const count = surplusOf(message, qos, version)
    if (count === 0) return writeReceived(slab, delivery, version, limit)
    if (count > 0 && writeCut(slab, delivery, count, limit)) return true
  }
  const own = delivery.subscriptionIdentifiers !== undefined || hasOwnProperties(delivery, version)
  if (!own && message.encoded !== undefined) return writeForm(slab, delivery, version, now, limit)
  // Most messages have one receiver. For it no form is made that others could use.
  if (!own) message.encoded = NO_FORMS
  return writeEncoded(slab, delivery, version, now, limit)
}

/** Writes the packet as it was received, with the flags and the packet id of this delivery. */
function writeReceived(slab: Slab, delivery: Delivery, version: ProtocolVersion, limit: number): boolean {
  const { message, qos } = delivery
  const length = message.payloadEnd - message.frameStart
  if (length > limit) return false
  if (qos === 0 && message.retain === delivery.retain && message.packed === undefined) {
    slab.append(message.buffer, message.frameStart, message.payloadEnd)
    return true
  }
  slab.reserve(length)
  const { at } = slab
  if (message.packed === undefined) slab.copy(message.buffer, message.frameStart, message.payloadEnd)
  else slab.copyAll(message.packed)
  const idAt = version === 5 ? message.payloadStart - 3 : message.payloadStart - 2
  patch(slab.bytes, at, delivery, idAt - message.frameStart)
  return true
}

/**
 * Bytes between topic and payload of a received packet without properties that this receiver does not get: the packet id, the
 * length of the properties, or both. Negative if there is something to add.
 */
function surplusOf({ qos: received, frameVersion }: Publish, qos: QoS, version: ProtocolVersion): number {
  if ((received === 0 && qos > 0) || (frameVersion !== 5 && version === 5)) return -1
  return (received > 0 && qos === 0 ? 2 : 0) + (frameVersion === 5 && version !== 5 ? 1 : 0)
}

/**
 * Writes the received packet without its surplus of `count` bytes. What five clients read with QoS 0 of retained messages
 * with QoS 1 takes 2.7 us a message instead of 3.6 with a form for all but the first. False, and nothing written, if that is above
 * `limit`, or the remaining length would take fewer bytes.
 */
function writeCut(slab: Slab, delivery: Delivery, count: number, limit: number): boolean {
  const { message } = delivery
  const { packed, buffer, frameStart, payloadStart, payloadEnd } = message
  const length = payloadEnd - frameStart - count
  if (length > limit) return false
  // Of 5.0, the length of the properties stays if the receiver gets them.
  const cutEnd = message.frameVersion === 5 && count === 2 ? payloadStart - 1 : payloadStart
  slab.reserve(length + count)
  const { at, bytes } = slab
  if (packed !== undefined) {
    slab.copyAll(packed)
    bytes.copyWithin(at + cutEnd - count - frameStart, at + cutEnd - frameStart, at + length + count)
  } else {
    slab.copy(buffer, frameStart, cutEnd - count)
    slab.copy(buffer, cutEnd, payloadEnd)
  }
  slab.at = at + length
  if (!shorten(bytes, at + 1, count)) {
    slab.at = at
    return false
  }
  patch(bytes, at, delivery, payloadStart - count - frameStart - 2)
  return true
}

/** Subtracts `less` from the remaining length at `at`; false, and nothing done, if it would take fewer bytes. */
function shorten(bytes: Uint8Array, at: number, less: number): boolean {
  let end = at
  let value = bytes[end]! & 0x7f
  for (let factor = 128; bytes[end]! >= 0x80; factor *= 128) value += (bytes[++end]! & 0x7f) * factor
  value -= less
  // The least value that takes as many bytes.
  if (end > at && value < 128 ** (end - at)) return false
  for (let i = at; i <= end; i++, value = Math.floor(value / 128)) bytes[i] = (value % 128) | (i < end ? 0x80 : 0)
  return true
}

/** Stands for a message that was encoded once, without keeping the form. */
const NO_FORMS: (Uint8Array | string)[] = []

/**
 * Payloads and properties of at least this many bytes are handed to all sockets without a copy: copies for a thousand readers
 * would fill the memory.
 */
const SHARED_MIN = 16 * 1024
/** Properties of at least this many bytes are encoded separately from those that differ between receivers. */
const APART_MIN = 1024

/** Whether the packet has properties of its receiver, or of the moment. */
const hasOwnProperties = ({ message, subscriptionIdentifiers }: Delivery, version: ProtocolVersion): boolean =>
  version === 5 && (subscriptionIdentifiers !== undefined || message.expiresAt !== undefined)

function hasLargeProperties({ message, subscriptionIdentifiers }: Delivery): boolean {
  if (message.properties === NO_PROPERTIES) return false
  const isOwn = subscriptionIdentifiers !== undefined || message.expiresAt !== undefined
  return message.propertyBytes >= (isOwn ? APART_MIN : SHARED_MIN)
}

/** Writes a head per receiver, followed by the payload and the common properties, shared by all. */
function writeShared(slab: Slab, delivery: Delivery, version: ProtocolVersion, now: Instant, limit: number): boolean {
  const { message, qos, packetId, retain, dup } = delivery
  const common = version === 5 && hasLargeProperties(delivery) ? commonProperties(slab, message) : NONE
  const own = common === NONE ? message.properties : NO_PROPERTIES
  const packet = packetOf(delivery, version, now, message.topic, 0, own)
  const length = publishLength(packet, version, common.length)
  if (length > limit || length === Number.POSITIVE_INFINITY) return false
  packet.packetId = qos > 0 ? packetId : 0
  packet.retain = retain
  packet.dup = dup
  scratch.length = 0
  writePublishHead(scratch, packet, version, common.length)
  slab.reserve(scratch.length)
  slab.copy(scratch.bytes, 0, scratch.length)
  if (common.length > 0) addShared(slab, common)
  addShared(slab, message.payload)
  return true
}

function addShared(slab: Slab, bytes: Uint8Array): void {
  if (bytes.length >= SHARED_MIN) slab.share(bytes)
  else {
    slab.reserve(bytes.length)
    slab.copy(bytes, 0, bytes.length)
  }
}

const NONE = new Uint8Array(0)
/** Index of the common properties among the wire forms of a message, after its variants. */
const COMMON = 4

/** The properties that all 5.0 receivers get, encoded when first needed. */
function commonProperties(slab: Slab, message: Publish): Uint8Array {
  if (message.encoded === undefined || message.encoded === NO_FORMS) message.encoded = []
  const known = message.encoded[COMMON]
  if (known !== undefined) return known as Uint8Array
  const { messageExpiryInterval: _left, ...common } = message.properties
  scratch.length = 0
  writePropertyFields(scratch, message.expiresAt === undefined ? message.properties : common)
  const encoded = takeScratch()
  message.encoded[COMMON] = encoded
  slab.forms.add(message, encoded)
  slab.forms.properties += encoded.length
  return encoded
}

/**
 * Writes the delivery with a topic alias, and the topic too the first time; false, and nothing written, if there is no alias for
 * it.
 */
function writeAliased(slab: Slab, delivery: Delivery, now: Instant, limit: number, aliases: TopicAliases): boolean {
  const { message } = delivery
  const known = aliases.alias(message.topic)
  const topicAlias = known || aliases.assign(message.topic)
  if (topicAlias === 0) return false
  if (writeEncoded(slab, delivery, 5, now, limit, known === 0 ? message.topic : '', topicAlias)) return true
  if (known === 0) aliases.withdraw(message.topic)
  return false
}

/** Sets what differs between the receivers of the packet at `at`. */
function patch(bytes: Uint8Array, at: number, delivery: Delivery, idOffset: number): void {
  // [MQTT-3.3.1-3]
  bytes[at] = 0x30 | (delivery.dup ? 8 : 0) | (delivery.qos << 1) | (delivery.retain ? 1 : 0)
  if (delivery.qos === 0) return
  bytes[at + idOffset] = delivery.packetId >>> 8
  bytes[at + idOffset + 1] = delivery.packetId
}

/** Writes the variant of this message for all receivers of the kind, encoded when first needed. */
function writeForm(slab: Slab, delivery: Delivery, version: ProtocolVersion, now: Instant, limit: number): boolean {
  const { message, qos } = delivery
  const variant = (version === 5 ? 2 : 0) + (qos > 0 ? 1 : 0)
  let form = message.encoded![variant]
  if (form === undefined) {
    if (!encode(delivery, version, now, limit)) return false
    form = scratch.length <= PACKED_MAX ? packBytes(scratch.bytes, 0, scratch.length) : takeScratch()
    if (message.encoded === NO_FORMS) message.encoded = []
    message.encoded![variant] = form
    slab.forms.add(message, form)
  }
  if (form.length > limit) return false
  slab.reserve(form.length)
  const { at } = slab
  slab.copyAll(form)
  patch(slab.bytes, at, delivery, delivery.qos === 0 ? 0 : idOffset(slab.bytes, at))
  return true
}

/** Encodes the delivery into the slab. */
function writeEncoded(
  slab: Slab,
  delivery: Delivery,
  version: ProtocolVersion,
  now: Instant,
  limit: number,
  topic?: string,
  topicAlias?: number,
): boolean {
  if (!encode(delivery, version, now, limit, topic, topicAlias)) return false
  slab.reserve(scratch.length)
  const { at } = slab
  slab.copy(scratch.bytes, 0, scratch.length)
  patch(slab.bytes, at, delivery, delivery.qos === 0 ? 0 : idOffset(slab.bytes, at))
  if (scratch.bytes.length > SCRATCH_MAX) scratch = new ByteWriter(1024)
  return true
}

/** The scratch buffer is replaced after a packet that made it larger than this. */
const SCRATCH_MAX = 1024 * 1024
let scratch = new ByteWriter(1024)

/** Encodes a packet into `scratch`; false, and nothing done, if it would exceed `limit` bytes or the maximum of MQTT. */
function encode(
  delivery: Delivery,
  version: ProtocolVersion,
  now: Instant,
  limit: number,
  topic: string = delivery.message.topic,
  topicAlias = 0,
): boolean {
  const { message } = delivery
  const isChanged = topicAlias > 0 || message.qos > 0 !== delivery.qos > 0 || hasOwnProperties(delivery, version)
  const packet = isChanged ? packetOf(delivery, version, now, topic, topicAlias) : message
  const length = publishLength(packet, version)
  // [MQTT-3.1.2-24]
  if (length > limit || length === Number.POSITIVE_INFINITY) return false
  scratch.length = 0
  writePublishHead(scratch, packet, version)
  const { packed, buffer, payloadStart, payloadEnd } = message
  if (packed === undefined) scratch.range(buffer, payloadStart, payloadEnd)
  else scratch.packed(packed.slice(payloadStart, payloadEnd))
  return true
}

function takeScratch(): Uint8Array {
  const bytes = scratch.toBytes()
  if (scratch.bytes.length > SCRATCH_MAX) scratch = new ByteWriter(1024)
  return bytes
}

/** The delivery as a packet; flags and packet id are filled in later. `given`: properties that it takes over. */
function packetOf(
  delivery: Delivery,
  version: ProtocolVersion,
  now: Instant,
  topic: string,
  topicAlias: number,
  given: Properties = delivery.message.properties,
): Publish {
  const { message, qos, subscriptionIdentifiers } = delivery
  let properties = given
  if ((version === 5 && topicAlias > 0) || hasOwnProperties(delivery, version)) {
    const changed: Properties = { ...properties }
    if (topicAlias > 0) changed.topicAlias = topicAlias
    if (subscriptionIdentifiers !== undefined) changed.subscriptionIdentifiers = subscriptionIdentifiers
    // [MQTT-3.3.2-6]
    if (message.expiresAt !== undefined) changed.messageExpiryInterval = secondsLeft(message, now)
    properties = changed
  }
  return new Publish(
    topic,
    qos,
    false,
    false,
    qos > 0 ? 1 : 0,
    properties,
    message.buffer,
    message.payloadStart,
    message.payloadEnd,
    -1,
    version,
  )
}

/**
 * The rest of a Message Expiry Interval, rounded up so that it is never 0 before the message has expired (MQTT-3.3.2-6). A
 * retransmission after the expiry has 0.
 */
function secondsLeft({ properties, expiresAt }: Publish, now: Instant): number {
  const left = Math.ceil((expiresAt! - now) / 1000)
  return Math.max(0, Math.min(left, properties.messageExpiryInterval!))
}

/** Offset of the packet id in an encoded PUBLISH with QoS above 0: after fixed header and topic. */
function idOffset(bytes: Uint8Array, start: number): number {
  let at = start + 1
  while (bytes[at]! >= 0x80) at++
  at++
  return at - start + 2 + ((bytes[at]! << 8) | bytes[at + 1]!)
}
