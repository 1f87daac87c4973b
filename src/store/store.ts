import type { Instant } from '../base/machine.ts'

/** Log sequence number: 0 means "depends on nothing", every appended record has a higher one than the record before it. */
export type Lsn = number

/** `mqtt:<clientId>` or `sn:<clientId>`: sessions never cross kinds (ruling A32). */
export type SessionKey = string

/**
 * Milliseconds since 1970 in the store's own time, for everything that outlives the process; the rest uses `Instant`. It is not
 * affected when the wall clock is set: see `StoreClock`.
 */
export type WallTime = number

export interface StoredMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Session that published it, for No Local. */
  readonly from: SessionKey
  /** MQTT 5 properties that are forwarded with the message, as plain data. */
  readonly properties?: unknown
  readonly expiresAt?: WallTime
  /** The publisher of a retained message, whose right to publish may be checked again. */
  readonly source?: StoredOwner
}

/** The owner of a session or message, as access rules see it. */
export interface StoredOwner {
  readonly username: string | undefined
  /** Name of the listener that the client connected to. */
  readonly listener: string
  /** The user name is verified, not only claimed. */
  readonly verified: boolean
  /** Rights granted by authentication, as text of the access rules. */
  readonly rights?: string
  /** Of a session: the network that its client last connected from (`networkOf`), in whose share it counts. */
  readonly address?: string
}

export interface StoredWill {
  readonly message: StoredMessage
  readonly delaySeconds: number
}

/** One place of a message in one session's queue. */
export interface StoredDelivery {
  readonly key: SessionKey
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly subscriptionIdentifiers?: readonly number[]
  /** The shared subscription it was delivered through. */
  readonly share?: string
}

/** The records of the broker. */
export type BrokerRecord =
  /** CONNECT was accepted: the session exists from now on, with this expiry (seconds; Infinity: never) and will. */
  | {
      readonly type: 'session'
      readonly key: SessionKey
      readonly expirySeconds: number
      readonly will: StoredWill | null
      readonly owner: StoredOwner
    }
  | { readonly type: 'will'; readonly key: SessionKey; readonly will: StoredWill | null }
  /** The client disconnected, and the session expiry runs; `will`: a will waits for its delay. */
  | {
      readonly type: 'detached'
      readonly key: SessionKey
      readonly at: WallTime
      readonly expirySeconds: number
      readonly will: boolean
    }
  | { readonly type: 'session-end'; readonly key: SessionKey }
  | { readonly type: 'subscribe'; readonly key: SessionKey; readonly filter: string; readonly options: StoredSubscription }
  | { readonly type: 'unsubscribe'; readonly key: SessionKey; readonly filter: string }
  /**
   * A message accepted for these sessions. One record, so that it is complete or absent: with `receipt` it also proves that the
   * publisher's QoS 2 packet id was received, with `retains` it becomes the topic's retained message (an empty payload deletes
   * it), with `willOf` it was the will of that session, which is deleted.
   */
  | {
      readonly type: 'message'
      readonly id: number
      readonly message: StoredMessage
      readonly deliveries: readonly StoredDelivery[]
      readonly retains?: true
      readonly receipt?: StoredReceipt
      readonly willOf?: SessionKey
    }
  /** The message was sent to this session under this packet id. Id 0: nothing is in flight, but this was the last packet id. */
  | { readonly type: 'sent'; readonly key: SessionKey; readonly id: number; readonly packetId: number }
  /** PUBREC has arrived: from here on PUBREL is repeated. Id 0 in formats 2 and 3: only the packet id identifies the message. */
  | { readonly type: 'received'; readonly key: SessionKey; readonly id: number; readonly packetId: number }
  /** PUBACK or PUBCOMP has arrived, or the message was dropped: it leaves this session's queue. */
  | { readonly type: 'done'; readonly key: SessionKey; readonly id: number }
  /** The publisher's PUBREL has arrived: its packet id is free again. */
  | { readonly type: 'released'; readonly key: SessionKey; readonly packetId: number }
  /**
   * Only in rows: the message with this id, from an earlier `message` record without deliveries, is queued for one more session.
   */
  | { readonly type: 'delivery'; readonly id: number; readonly delivery: StoredDelivery }
  /** Only in rows: a QoS 2 packet id of this publisher was received. */
  | ({ readonly type: 'receipt' } & StoredReceipt)

/** A QoS 2 packet id that was received and not released. */
export interface StoredReceipt {
  readonly key: SessionKey
  readonly packetId: number
  /** Of the message of a bridge: its remote broker may have lost its session unheard, and use the packet id for another message. */
  readonly fingerprint?: number
}

export interface StoredSubscription {
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier?: number
  /** What a message must fulfil, as its client wrote it. */
  readonly condition?: string
}

/** The records of the gateway. */
export type GatewayRecord =
  | {
      readonly type: 'sn-client'
      readonly clientId: string
      readonly state: 'active' | 'asleep' | 'disconnected' | 'lost'
      /** Opaque route key of the last datagram from the sensor. */
      readonly route: string
      /** Keep alive, seconds; 0: none. */
      readonly durationSeconds: number
      /** Sleep duration, seconds; 0 when not asleep. */
      readonly sleepSeconds: number
      readonly cleanSession: boolean
      readonly will: StoredWill | null
      readonly at: WallTime
    }
  | {
      readonly type: 'sn-topic'
      readonly clientId: string
      readonly topicId: number
      readonly topicName: string
      /**
       * The gateway assigned the id to send a message, without a request of the client; `again`: the number had another topic
       * before.
       */
      readonly offered?: 'first' | 'again'
    }
  /**
   * A QoS 2 message id of the client: `until` is 0 from PUBLISH to PUBREL, and then the time after which no late duplicate can
   * arrive.
   */
  | {
      readonly type: 'sn-qos2'
      readonly clientId: string
      /** One of few slots: a later record replaces it. */
      readonly slot: number
      readonly msgId: number
      readonly fingerprint: number
      readonly until: WallTime
    }
  /** The slot is free again. */
  | { readonly type: 'sn-qos2-end'; readonly clientId: string; readonly slot: number }
  /** The topic id is no longer valid; its number is not assigned again. */
  | { readonly type: 'sn-topic-end'; readonly clientId: string; readonly topicId: number }
  /**
   * Upstream mode: the client is subscribed at the cluster, which may lose its session while the client believes in its subscriptions.
   * A later record replaces it.
   */
  | { readonly type: 'sn-subscription'; readonly clientId: string; readonly filter: string; readonly qos: 0 | 1 | 2 }
  | { readonly type: 'sn-subscription-end'; readonly clientId: string; readonly filter: string }
  | { readonly type: 'sn-end'; readonly clientId: string }

/** The machine's clocks at the store's time `at`; the last record applies. */
export interface ClockRecord {
  readonly type: 'clock'
  readonly at: WallTime
  /** Milliseconds since 1970 by the wall clock. */
  readonly wall: number
  /** Changes with each boot of the machine; empty where the system has none. */
  readonly bootId: string
  /** Milliseconds since that boot. */
  readonly uptime: number
}

export type StoreRecord = BrokerRecord | GatewayRecord | ClockRecord

/**
 * One log for broker and gateway. `append` returns immediately; the record is durable when the server receives `{ kind:
 * 'durable', upTo }` with `upTo >= lsn`. Records are immutable: the store may serialise them after the call.
 */
export interface Store {
  /** 'full': nothing was appended; the caller must refuse what it was about to acknowledge. */
  append(record: StoreRecord): Lsn | 'full'
  /** Highest Lsn known to be durable; Infinity in memory mode, where everything is durable immediately. */
  readonly durable: Lsn
  /**
   * False while many records are not durable yet. Work that can wait, such as the ends of many sessions, is postponed until then,
   * so that room is left for records that a client waits for.
   */
  readonly hasRoom: boolean
  /** Nothing is stored: messages need no records, nor ids. */
  readonly isMemory?: boolean
  /** Bytes of records that are not durable yet; absent: none. */
  readonly waitingBytes?: number
  /** All records in the order of their appends; read once, before anything else is called. */
  replay(): Iterable<StoreRecord>
}

/** Memory mode: nothing is stored, so nothing has to wait. */
export class MemoryStore implements Store {
  readonly durable: Lsn = Number.POSITIVE_INFINITY
  readonly hasRoom = true
  readonly isMemory: boolean = true
  append(_record: StoreRecord): Lsn {
    return 0
  }
  replay(): Iterable<StoreRecord> {
    return []
  }
}

/** Converts between `Instant` and the store's time; fixed once the store has been read. */
export interface WallClock {
  /** The store's time at instant 0. */
  readonly epoch: WallTime
  /** The wall clock at instant 0, where it is known to differ. */
  readonly wallEpoch?: number
}

export const wallTime = (clock: WallClock, now: Instant): WallTime => clock.epoch + now
