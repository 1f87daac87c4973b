import type { ByteReader, ByteWriter } from '../base/bytes.ts'
import {
  qosOf,
  readBoolean,
  readBytes,
  readClientId,
  readFlags,
  readInteger,
  readKey,
  readList,
  readNumber,
  readPacketId,
  readReceipt,
  readSubscription,
  readText,
  readValue,
  writeBoolean,
  writeBytes,
  writeInteger,
  writeNumber,
  writePacket,
  writeReceipt,
  writeSubscription,
  writeText,
  writeValue,
} from './record-fields.ts'
import type { BrokerRecord, GatewayRecord, StoredDelivery, StoredMessage, StoredOwner, StoredWill, StoreRecord } from './store.ts'

/**
 * First byte of every stored record. What is on disk outlives the program that wrote it: a number is never reused for another
 * layout, and a layout that changes gets a new number while the old one stays readable.
 */
const TAG = {
  session: 1,
  will: 2,
  detached: 3,
  sessionEnd: 4,
  subscribe: 5,
  unsubscribe: 6,
  message: 7,
  sent: 8,
  /** Formats 2 and 3: without the id of the message. */
  receivedUnnamed: 9,
  done: 10,
  released: 11,
  received: 12,
  delivery: 13,
  receipt: 14,
  /** A `receipt` with a fingerprint. */
  receiptPrinted: 15,
  snClient: 32,
  snTopic: 33,

  snEnd: 34,
  /** With one byte for the slot, which was too small. */
  snQos2Narrow: 35,
  snTopicEnd: 36,
  /** An `sn-topic` that is offered. */
  snTopicOffered: 37,
  snQos2: 38,
  snQos2End: 39,
  snSubscription: 40,
  snSubscriptionEnd: 41,

  clock: 48,
} as const

/** Appends one self-delimiting record. Strings are expected to be well-formed Unicode, as every decoder makes them. */
export function writeRecord(w: ByteWriter, record: StoreRecord): void {
  switch (record.type) {
    case 'session':
      w.u8(TAG.session)
      writeText(w, record.key)
      writeNumber(w, record.expirySeconds)
      writeWill(w, record.will)
      writeOwner(w, record.owner)
      break
    case 'will':
      w.u8(TAG.will)
      writeText(w, record.key)
      writeWill(w, record.will)
      break
    case 'detached':
      w.u8(TAG.detached)
      writeText(w, record.key)
      writeNumber(w, record.at)
      writeNumber(w, record.expirySeconds)
      writeBoolean(w, record.will)
      break
    case 'session-end':
      w.u8(TAG.sessionEnd)
      writeText(w, record.key)
      break
    case 'subscribe':
      w.u8(TAG.subscribe)
      writeText(w, record.key)
      writeText(w, record.filter)
      writeSubscription(w, record.options)
      break
    case 'unsubscribe':
      w.u8(TAG.unsubscribe)
      writeText(w, record.key)
      writeText(w, record.filter)
      break
    case 'message':
      w.u8(TAG.message)
      writeInteger(w, record.id)
      w.u8(messageFlags(record))
      writeMessage(w, record.message)
      writeInteger(w, record.deliveries.length)
      for (const delivery of record.deliveries) writeDelivery(w, delivery)
      if (record.receipt !== undefined) writeReceipt(w, record.receipt)
      if (record.willOf !== undefined) writeText(w, record.willOf)
      break
    case 'sent':
      w.u8(TAG.sent)
      writeInteger(w, record.id)
      writePacket(w, record.key, record.packetId)
      break
    case 'received':
      w.u8(TAG.received)
      writeInteger(w, record.id)
      writePacket(w, record.key, record.packetId)
      break
    case 'done':
      w.u8(TAG.done)
      writeText(w, record.key)
      writeInteger(w, record.id)
      break
    case 'released':
      w.u8(TAG.released)
      writePacket(w, record.key, record.packetId)
      break
    case 'delivery':
      w.u8(TAG.delivery)
      writeInteger(w, record.id)
      writeDelivery(w, record.delivery)
      break
    case 'receipt':
      w.u8(record.fingerprint === undefined ? TAG.receipt : TAG.receiptPrinted)
      writeReceipt(w, record)
      break
    case 'sn-client':
      w.u8(TAG.snClient)
      writeSnClient(w, record)
      break
    case 'sn-topic':
      w.u8(record.offered === undefined ? TAG.snTopic : TAG.snTopicOffered)
      writeText(w, record.clientId)
      writeInteger(w, record.topicId)
      writeText(w, record.topicName)
      if (record.offered !== undefined) writeBoolean(w, record.offered === 'again')
      break
    case 'sn-qos2':
      w.u8(TAG.snQos2)
      writeText(w, record.clientId)
      writeInteger(w, record.slot)
      writeInteger(w, record.msgId)
      w.u32(record.fingerprint)
      writeNumber(w, record.until)
      break
    case 'sn-qos2-end':
      w.u8(TAG.snQos2End)
      writeText(w, record.clientId)
      writeInteger(w, record.slot)
      break
    case 'sn-subscription':
      w.u8(TAG.snSubscription)
      writeText(w, record.clientId)
      writeText(w, record.filter)
      w.u8(record.qos)
      break
    case 'sn-subscription-end':
      w.u8(TAG.snSubscriptionEnd)
      writeText(w, record.clientId)
      writeText(w, record.filter)
      break
    case 'sn-topic-end':
      w.u8(TAG.snTopicEnd)
      writeText(w, record.clientId)
      writeInteger(w, record.topicId)
      break
    case 'sn-end':
      w.u8(TAG.snEnd)
      writeText(w, record.clientId)
      break
    case 'clock':
      w.u8(TAG.clock)
      writeNumber(w, record.at)
      writeNumber(w, record.wall)
      writeText(w, record.bootId)
      writeNumber(w, record.uptime)
      break
  }
}

/**
 * Reads one record; `undefined` if the bytes are none, with the reason in `r.error`. Never throws. Binary data is copied, so that
 * a record does not keep the whole commit in memory.
 */
export function readRecord(r: ByteReader): StoreRecord | undefined {
  const record = readTagged(r, r.u8('record type'))
  return r.error === '' ? record : undefined
}

function readTagged(r: ByteReader, tag: number): StoreRecord | undefined {
  switch (tag) {
    case TAG.session:
      return {
        type: 'session',
        key: readKey(r),
        expirySeconds: readNumber(r, 'expiry'),
        will: readWill(r),
        owner: readOwner(r),
      }
    case TAG.will:
      return { type: 'will', key: readKey(r), will: readWill(r) }
    case TAG.detached: {
      const key = readKey(r)
      const at = readNumber(r, 'time')
      return { type: 'detached', key, at, expirySeconds: readNumber(r, 'expiry'), will: readBoolean(r, 'will') }
    }
    case TAG.sessionEnd:
      return { type: 'session-end', key: readKey(r) }
    case TAG.subscribe:
      return { type: 'subscribe', key: readKey(r), filter: readText(r, 'filter'), options: readSubscription(r) }
    case TAG.unsubscribe:
      return { type: 'unsubscribe', key: readKey(r), filter: readText(r, 'filter') }
    case TAG.message:
      return readAccepted(r)
    case TAG.sent: {
      const id = readInteger(r, 'message id')
      return { type: 'sent', key: readKey(r), id, packetId: readPacketId(r) }
    }
    case TAG.receivedUnnamed:
      return { type: 'received', key: readKey(r), id: 0, packetId: readPacketId(r) }
    case TAG.received: {
      const id = readInteger(r, 'message id')
      return { type: 'received', key: readKey(r), id, packetId: readPacketId(r) }
    }
    case TAG.delivery:
      return { type: 'delivery', id: readInteger(r, 'message id'), delivery: readDelivery(r) }
    case TAG.receipt:
      return { type: 'receipt', ...readReceipt(r, false) }
    case TAG.receiptPrinted:
      return { type: 'receipt', ...readReceipt(r, true) }
    case TAG.done:
      return { type: 'done', key: readKey(r), id: readInteger(r, 'message id') }
    case TAG.released:
      return { type: 'released', key: readKey(r), packetId: readPacketId(r) }
    case TAG.snClient:
      return readSnClient(r)
    case TAG.snTopic: {
      const clientId = readClientId(r)
      return { type: 'sn-topic', clientId, topicId: readInteger(r, 'topic id'), topicName: readText(r, 'topic name') }
    }
    case TAG.snTopicOffered: {
      const [clientId, topicId] = [readClientId(r), readInteger(r, 'topic id')]
      const topicName = readText(r, 'topic name')
      return { type: 'sn-topic', clientId, topicId, topicName, offered: readBoolean(r, 'again') ? 'again' : 'first' }
    }
    case TAG.snQos2Narrow:
    case TAG.snQos2: {
      const clientId = readClientId(r)
      const slot = tag === TAG.snQos2 ? readInteger(r, 'slot') : r.u8('slot')
      const msgId = readInteger(r, 'message id')
      return { type: 'sn-qos2', clientId, slot, msgId, fingerprint: r.u32('fingerprint'), until: readNumber(r, 'time') }
    }
    case TAG.snQos2End: {
      const clientId = readClientId(r)
      return { type: 'sn-qos2-end', clientId, slot: readInteger(r, 'slot') }
    }
    case TAG.snSubscription: {
      const [clientId, filter] = [readClientId(r), readText(r, 'filter')]
      return { type: 'sn-subscription', clientId, filter, qos: qosOf(r, readFlags(r, 'QoS', 3)) }
    }
    case TAG.snSubscriptionEnd: {
      const clientId = readClientId(r)
      return { type: 'sn-subscription-end', clientId, filter: readText(r, 'filter') }
    }
    case TAG.snTopicEnd: {
      const clientId = readClientId(r)
      return { type: 'sn-topic-end', clientId, topicId: readInteger(r, 'topic id') }
    }
    case TAG.snEnd:
      return { type: 'sn-end', clientId: readClientId(r) }
    case TAG.clock: {
      const [at, wall] = [readNumber(r, 'time'), readNumber(r, 'wall clock')]
      return { type: 'clock', at, wall, bootId: readText(r, 'boot id'), uptime: readNumber(r, 'uptime') }
    }
    default:
      r.fail(`unknown record type ${tag}`)
      return undefined
  }
}

const RETAINS = 0x01
const HAS_RECEIPT = 0x02
const WAS_WILL = 0x04
const HAS_FINGERPRINT = 0x08

const messageFlags = ({ retains, receipt, willOf }: Extract<BrokerRecord, { type: 'message' }>): number =>
  (retains === true ? RETAINS : 0) |
  (receipt === undefined ? 0 : HAS_RECEIPT) |
  (receipt?.fingerprint === undefined ? 0 : HAS_FINGERPRINT) |
  (willOf === undefined ? 0 : WAS_WILL)

type Accepted = Extract<BrokerRecord, { type: 'message' }>

function readAccepted(r: ByteReader): Accepted {
  const id = readInteger(r, 'message id')
  const flags = readFlags(r, 'record flags', RETAINS | HAS_RECEIPT | WAS_WILL | HAS_FINGERPRINT)
  const record: { -readonly [K in keyof Accepted]: Accepted[K] } = {
    type: 'message',
    id,
    message: readMessage(r),
    deliveries: readList(r, 'delivery', readDelivery),
  }
  if ((flags & RETAINS) !== 0) record.retains = true
  if ((flags & HAS_RECEIPT) !== 0) record.receipt = readReceipt(r, (flags & HAS_FINGERPRINT) !== 0)
  if ((flags & WAS_WILL) !== 0) record.willOf = readKey(r)
  return record
}

const RETAIN = 0x04
const HAS_PROPERTIES = 0x08
const HAS_EXPIRY = 0x10
const HAS_SOURCE = 0x20

function writeMessage(w: ByteWriter, message: StoredMessage): void {
  const { properties, expiresAt, source } = message
  let flags: number = message.qos
  if (message.retain) flags |= RETAIN
  if (properties !== undefined) flags |= HAS_PROPERTIES
  if (expiresAt !== undefined) flags |= HAS_EXPIRY
  if (source !== undefined) flags |= HAS_SOURCE
  w.u8(flags)
  writeText(w, message.topic)
  writeText(w, message.from)
  writeBytes(w, message.payload)
  if (properties !== undefined) writeValue(w, properties, 0)
  if (expiresAt !== undefined) writeNumber(w, expiresAt)
  if (source !== undefined) writeOwner(w, source)
}

function readMessage(r: ByteReader): StoredMessage {
  const flags = readFlags(r, 'message flags', 0x3f)
  const message: { -readonly [K in keyof StoredMessage]: StoredMessage[K] } = {
    topic: readText(r, 'topic'),
    from: readText(r, 'publisher'),
    payload: readBytes(r, 'payload'),
    qos: qosOf(r, flags),
    retain: (flags & RETAIN) !== 0,
  }
  if ((flags & HAS_PROPERTIES) !== 0) message.properties = readValue(r, 0)
  if ((flags & HAS_EXPIRY) !== 0) message.expiresAt = readNumber(r, 'message expiry')
  if ((flags & HAS_SOURCE) !== 0) message.source = readOwner(r)
  return message
}

const HAS_USERNAME = 0x01
const IS_VERIFIED = 0x02
const HAS_RIGHTS = 0x04
const HAS_ADDRESS = 0x08

function writeOwner(w: ByteWriter, { username, listener, verified, rights, address }: StoredOwner): void {
  let flags = 0
  if (username !== undefined) flags |= HAS_USERNAME
  if (verified) flags |= IS_VERIFIED
  if (rights !== undefined) flags |= HAS_RIGHTS
  if (address !== undefined) flags |= HAS_ADDRESS
  w.u8(flags)
  if (username !== undefined) writeText(w, username)
  writeText(w, listener)
  if (rights !== undefined) writeText(w, rights)
  if (address !== undefined) writeText(w, address)
}

/** Consecutive sessions mostly have the same owner: the same object is returned. */
let lastOwner: StoredOwner = { username: undefined, listener: '', verified: false }

function readOwner(r: ByteReader): StoredOwner {
  const flags = readFlags(r, 'owner flags', 0x0f)
  const username = (flags & HAS_USERNAME) !== 0 ? readText(r, 'user name', lastOwner.username) : undefined
  const listener = readText(r, 'listener', lastOwner.listener)
  const rights = (flags & HAS_RIGHTS) !== 0 ? readText(r, 'rights', lastOwner.rights) : undefined
  const address = (flags & HAS_ADDRESS) !== 0 ? readText(r, 'address', lastOwner.address) : undefined
  const verified = (flags & IS_VERIFIED) !== 0
  const isSame =
    lastOwner.username === username &&
    lastOwner.listener === listener &&
    lastOwner.verified === verified &&
    lastOwner.rights === rights &&
    lastOwner.address === address
  if (isSame) return lastOwner
  lastOwner = {
    ...{ username, listener, verified },
    ...(rights !== undefined && { rights }),
    ...(address !== undefined && { address }),
  }
  return lastOwner
}

const HAS_IDENTIFIERS = 0x08
const HAS_SHARE = 0x10

function writeDelivery(w: ByteWriter, delivery: StoredDelivery): void {
  const { subscriptionIdentifiers: identifiers, share } = delivery
  let flags = delivery.qos | (delivery.retain ? RETAIN : 0)
  if (identifiers !== undefined) flags |= HAS_IDENTIFIERS
  if (share !== undefined) flags |= HAS_SHARE
  w.u8(flags)
  writeText(w, delivery.key)
  if (identifiers !== undefined) {
    writeInteger(w, identifiers.length)
    for (const identifier of identifiers) writeInteger(w, identifier)
  }
  if (share !== undefined) writeText(w, share)
}

function readDelivery(r: ByteReader): StoredDelivery {
  const flags = readFlags(r, 'delivery flags', 0x1f)
  const delivery: { -readonly [K in keyof StoredDelivery]: StoredDelivery[K] } = {
    key: readKey(r),
    qos: qosOf(r, flags),
    retain: (flags & RETAIN) !== 0,
  }
  if ((flags & HAS_IDENTIFIERS) !== 0) delivery.subscriptionIdentifiers = readList(r, 'subscription identifier', readInteger)
  if ((flags & HAS_SHARE) !== 0) delivery.share = readText(r, 'shared subscription')
  return delivery
}

function writeWill(w: ByteWriter, will: StoredWill | null): void {
  writeBoolean(w, will !== null)
  if (will === null) return
  writeNumber(w, will.delaySeconds)
  writeMessage(w, will.message)
}

function readWill(r: ByteReader): StoredWill | null {
  if (!readBoolean(r, 'will')) return null
  const delaySeconds = readNumber(r, 'will delay')
  return { delaySeconds, message: readMessage(r) }
}

type SnClient = Extract<GatewayRecord, { type: 'sn-client' }>

/** Append only, like the record types; numbered in this order. */
const SN_STATE: Readonly<Record<SnClient['state'], number>> = { active: 0, asleep: 1, disconnected: 2, lost: 3 }
const SN_STATES = Object.keys(SN_STATE) as SnClient['state'][]

function writeSnClient(w: ByteWriter, record: SnClient): void {
  writeText(w, record.clientId)
  w.u8(SN_STATE[record.state])
  writeText(w, record.route)
  writeNumber(w, record.durationSeconds)
  writeNumber(w, record.sleepSeconds)
  writeBoolean(w, record.cleanSession)
  writeWill(w, record.will)
  writeNumber(w, record.at)
}

function readSnClient(r: ByteReader): SnClient {
  const clientId = readClientId(r)
  const state = SN_STATES[r.u8('state')]
  if (state === undefined) r.fail('unknown sensor state')
  return {
    type: 'sn-client',
    clientId,
    state: state ?? 'lost',
    route: readText(r, 'route'),
    durationSeconds: readNumber(r, 'duration'),
    sleepSeconds: readNumber(r, 'sleep duration'),
    cleanSession: readBoolean(r, 'clean session'),
    will: readWill(r),
    at: readNumber(r, 'time'),
  }
}
