import type { Instant } from '../base/machine.ts'

/** Log sequence number: 0 means "depends on nothing", every appended record has a higher one than the record before it. */
export type Lsn = number

/** `mqtt:<clientId>` or `sn:<clientId>`: sessions never cross kinds (ruling A32). */
export type SessionKey = string

/**
 * Milliseconds since 1970 by the store's time line, for what must outlast the process; everything else is an `Instant`. It does not follow when the wall
 * clock is set: see `StoreClock`.
 */
export type WallTime = number

export interface StoredMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Session that published it, for No Local. */
  readonly from: SessionKey
  /** MQTT 5 properties that travel with the message, as plain data. */
  readonly properties?: unknown
  readonly expiresAt?: WallTime
  /** Of a retained message: who published it, so that its right to do so can be asked about again. */
  readonly source?: StoredOwner
}

/** Whose something is, as far as access rules care. */
export interface StoredOwner {
  readonly username: string | undefined
  /** Name of the listener that the client came by. */
  readonly listener: string
  /** Somebody vouched for the user name: it was not only claimed. */
  readonly verified: boolean
  /** Rights that came with authentication, in the words of the access rules. */
  readonly rights?: string
  /** Of a session: the network that its client connected from last (`networkOf`), whose share of the sessions it is. */
  readonly address?: string
}

export interface StoredWill {
  readonly message: StoredMessage
  readonly delaySeconds: number
}

/** Where one message waits in one session's queue. */
export interface StoredDelivery {
  readonly key: SessionKey
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly subscriptionIdentifiers?: readonly number[]
  /** The shared subscription that it came by. */
  readonly share?: string
}

/** What the broker has to remember across a restart. */
export type BrokerRecord =
  /** CONNECT was accepted: the session exists from now on, with this expiry (seconds; Infinity is never) and will. */
  | {
      readonly type: 'session'
      readonly key: SessionKey
      readonly expirySeconds: number
      readonly will: StoredWill | null
      readonly owner: StoredOwner
    }
  | { readonly type: 'will'; readonly key: SessionKey; readonly will: StoredWill | null }
  /** The conversation ended and the expiry clock runs; `will` says whether the will waits for its delay. */
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
   * A message accepted for these sessions. One record, so that it is whole or absent: with `receipt` it is at once the proof
   * that the publisher's QoS 2 packet id was taken in, with `retains` it becomes the topic's retained message (an empty payload
   * clears the topic), with `willOf` it was the will of that session, which has none any more.
   */
  | {
      readonly type: 'message'
      readonly id: number
      readonly message: StoredMessage
      readonly deliveries: readonly StoredDelivery[]
      readonly retains?: true
      readonly receipt?: { readonly key: SessionKey; readonly packetId: number }
      readonly willOf?: SessionKey
    }
  /** The message left for this session under this packet id. Id 0: nothing is in flight, but this was the last packet id. */
  | { readonly type: 'sent'; readonly key: SessionKey; readonly id: number; readonly packetId: number }
  /** PUBREC came: from here on PUBREL is what is repeated. Id 0 in what formats 2 and 3 wrote: only the packet id says which message. */
  | { readonly type: 'received'; readonly key: SessionKey; readonly id: number; readonly packetId: number }
  /** PUBACK or PUBCOMP came, or the message was given up: it leaves this session's queue. */
  | { readonly type: 'done'; readonly key: SessionKey; readonly id: number }
  /** The publisher's PUBREL came: its packet id is free again. */
  | { readonly type: 'released'; readonly key: SessionKey; readonly packetId: number }
  /** Only in rows: the message with this id, whose `message` record came before and had no deliveries, waits for one more session. */
  | { readonly type: 'delivery'; readonly id: number; readonly delivery: StoredDelivery }
  /** Only in rows: the QoS 2 packet id of this publisher was taken in. */
  | { readonly type: 'receipt'; readonly key: SessionKey; readonly packetId: number }

export interface StoredSubscription {
  readonly qos: 0 | 1 | 2
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  readonly retainHandling: 0 | 1 | 2
  readonly subscriptionIdentifier?: number
}

/** What the gateway has to remember of its sensors across a restart. */
export type GatewayRecord =
  | {
      readonly type: 'sn-client'
      readonly clientId: string
      readonly state: 'active' | 'asleep' | 'disconnected' | 'lost'
      /** Opaque route key under which the sensor was last heard. */
      readonly route: string
      /** Keep alive, seconds; 0 is none. */
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
      /** The gateway chose the id for a message to the client, which never asked for it; `again`: the number has meant another topic before. */
      readonly offered?: 'first' | 'again'
    }
  /** A QoS 2 message id that the client has used: `until` is 0 from PUBLISH to PUBREL, and then when a late copy can come no more. */
  | {
      readonly type: 'sn-qos2'
      readonly clientId: string
      /** One of few places: a later record takes it over. */
      readonly slot: number
      readonly msgId: number
      readonly fingerprint: number
      readonly until: WallTime
    }
  /** What has this place is over. */
  | { readonly type: 'sn-qos2-end'; readonly clientId: string; readonly slot: number }
  /** The topic id means nothing any more; its number is not given again. */
  | { readonly type: 'sn-topic-end'; readonly clientId: string; readonly topicId: number }
  | { readonly type: 'sn-end'; readonly clientId: string }

/** What the clocks of the machine said when the store's time was `at`; the last one counts. */
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
 * One log for broker and gateway. `append` returns at once; the record is durable when the server is told
 * `{ kind: 'durable', upTo }` with `upTo >= lsn`. Records are immutable: the store may serialise them after the call.
 */
export interface Store {
  /** 'full': nothing was appended, and the caller refuses what it was about to acknowledge. */
  append(record: StoreRecord): Lsn | 'full'
  /** Highest Lsn known to be durable; Infinity in memory mode, where everything is durable at once. */
  readonly durable: Lsn
  /**
   * False while much of what was appended is not durable yet. Work that can wait, such as the ends of many sessions, is put off until then, so that
   * its records leave room for those that a client waits for.
   */
  readonly hasRoom: boolean
  /** Bytes of what was appended and is not durable yet; none if absent. */
  readonly waitingBytes?: number
  /** All records in the order of their appends; read once, before anything else is called. */
  replay(): Iterable<StoreRecord>
}

/** Memory mode: nothing survives, so nothing has to wait. */
export class MemoryStore implements Store {
  readonly durable: Lsn = Number.POSITIVE_INFINITY
  readonly hasRoom = true
  append(_record: StoreRecord): Lsn {
    return 0
  }
  replay(): Iterable<StoreRecord> {
    return []
  }
}

/** Converts between the two time lines; fixed once the store has been read. */
export interface WallClock {
  /** The store's time at instant 0. */
  readonly epoch: WallTime
}

export const wallTime = (clock: WallClock, now: Instant): WallTime => clock.epoch + now
