import type { BrokerRecord, GatewayRecord, Lsn, StoreRecord } from '../../src/store/store.ts'
import type { DelayedStore } from './delayed-store.ts'

export interface SessionView {
  readonly filters: Set<string>
  /** Packet ids under which QoS 2 messages left, with the message's id, until it is done. */
  readonly sent: Map<number, number>
  /** Those of them for which PUBREC came. */
  readonly received: Set<number>
  /** Packet ids of QoS 2 messages that came in and were not released. */
  readonly receipts: Set<number>
}

/**
 * What a new process would find on the disk at this very moment, kept up to date record by record: the oracle for "nothing leaves before it is
 * durable". It reads records by itself and asks nothing of the code that wrote them.
 */
export class DurableView {
  readonly sessions = new Map<string, SessionView>()
  /** Payload texts of all messages that were ever made durable. */
  readonly messages = new Set<string>()
  readonly sensors = new Map<string, Extract<GatewayRecord, { type: 'sn-client' }>>()
  /** Topic names by client and id: `s1 1025`. */
  readonly topics = new Map<string, string>()
  #upTo: Lsn = 0

  /** Takes in what has become durable since the last call. */
  update(store: DelayedStore): void {
    for (const record of store.records(this.#upTo, store.durable)) this.#apply(record)
    this.#upTo = store.durable
  }

  /** A new process reads what the old one has left. */
  restart(store: DelayedStore): void {
    this.sessions.clear()
    this.sensors.clear()
    this.topics.clear()
    for (const record of store.replay()) this.#apply(record)
    this.#upTo = store.durable
  }

  #apply(record: StoreRecord): void {
    if (record.type === 'sn-client') this.sensors.set(record.clientId, record)
    else if (record.type === 'sn-topic') this.topics.set(`${record.clientId} ${record.topicId}`, record.topicName)
    else if (record.type === 'sn-topic-end') this.topics.delete(`${record.clientId} ${record.topicId}`)
    else if (record.type === 'sn-end') this.#forgetSensor(record.clientId)
    else if (record.type === 'sn-qos2' || record.type === 'sn-qos2-end' || record.type === 'clock') return
    else if (record.type === 'sn-subscription' || record.type === 'sn-subscription-end') return
    else this.#applyBroker(record)
  }

  #forgetSensor(clientId: string): void {
    this.sensors.delete(clientId)
    for (const key of [...this.topics.keys()]) if (key.startsWith(`${clientId} `)) this.topics.delete(key)
  }

  #applyBroker(record: BrokerRecord): void {
    if (record.type === 'message') {
      this.messages.add(Buffer.from(record.message.payload).toString())
      if (record.receipt !== undefined) this.#session(record.receipt.key).receipts.add(record.receipt.packetId)
      return
    }
    // The rest of a message that was checkpointed, session by session.
    if (record.type === 'delivery') return
    if (record.type === 'session-end') {
      this.sessions.delete(record.key)
      return
    }
    const session = this.#session(record.key)
    if (record.type === 'subscribe') session.filters.add(record.filter)
    else if (record.type === 'unsubscribe') session.filters.delete(record.filter)
    else if (record.type === 'sent') {
      // Id 0 is only there to say which packet id was the last.
      if (record.id === 0) return
      session.sent.set(record.packetId, record.id)
      session.received.delete(record.packetId)
    } else if (record.type === 'done') {
      for (const [packetId, message] of session.sent) if (message === record.id) session.sent.delete(packetId)
    } else if (record.type === 'received') session.received.add(record.packetId)
    else if (record.type === 'receipt') session.receipts.add(record.packetId)
    else if (record.type === 'released') session.receipts.delete(record.packetId)
  }

  #session(key: string): SessionView {
    let session = this.sessions.get(key)
    if (session === undefined) {
      session = { filters: new Set(), sent: new Map(), received: new Set(), receipts: new Set() }
      this.sessions.set(key, session)
    }
    return session
  }
}
