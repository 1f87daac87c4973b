import { Random } from '../../fuzz/sim/random.ts'
import type { GatewayRecord, StoredMessage, StoredWill, StoreRecord } from '../../src/store/store.ts'
import { COUNTER, type Contents } from './ledger.ts'

const SESSIONS = Array.from({ length: 12 }, (_, i) => (i % 4 === 3 ? `sn:s${i}` : `mqtt:c${i}`))
const SENSORS = Array.from({ length: 6 }, (_, i) => `s${i}`)
const OWNER = { username: 'u', listener: 'tcp', verified: true }
/** Messages of a session above which more leave its queue than come. */
const QUEUE_MAX = 40
/** Longest payloads, bytes. */
const SHORT_PAYLOAD = 2000
const LONG_PAYLOAD = 40_000
/** 2026-01-01 */
const TODAY = 1_767_225_600_000

export type Growth = 'grows' | 'shrinks'

/** Records of all kinds that fit to what a store holds, the same for the same seed. */
export class Traffic {
  readonly #random: Random
  #count = 0
  #messageId = 0

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  /** Those of the sessions and sensors that all else is about that are not there: at first, and where the store has lost the end of a step. */
  missing({ sessions, sensors }: Contents): StoreRecord[] {
    const records = [
      ...SESSIONS.filter((key) => !sessions.has(key)).map((key) => this.#session(key)),
      ...[...SENSORS, COUNTER].filter((clientId) => !sensors.has(clientId)).map((clientId) => this.#sensor(clientId)),
    ]
    return records.length === 0 ? [] : [...records, this.#counted()]
  }

  /** A few records, the last of which is counted. `contents` is what the store holds. */
  next(contents: Contents, growth?: Growth): StoreRecord[] {
    const random = this.#random
    const shrinks = growth === 'shrinks' || (growth === undefined && random.chance(0.6))
    const kind = random.next()
    let records: StoreRecord[]
    if (kind < 0.5) records = shrinks ? this.#oneLess(contents) : [this.#message(contents)]
    else if (kind < 0.75) records = this.#ofSession(contents, random.pick(SESSIONS), shrinks)
    else if (kind < 0.77) records = this.#cleanStart(random.pick(SESSIONS))
    else records = this.#ofSensor(contents, random.pick(SENSORS), shrinks)
    return [...records, this.#counted()]
  }

  #counted(): StoreRecord {
    const [count, msgId] = [++this.#count, this.#count % 0x10000]
    return { type: 'sn-qos2', clientId: COUNTER, slot: 0, msgId, fingerprint: count, until: 0 }
  }

  #session(key: string): StoreRecord {
    const expirySeconds = this.#random.pick([0, 60, Number.POSITIVE_INFINITY])
    return { type: 'session', key, expirySeconds, will: null, owner: OWNER }
  }

  #cleanStart(key: string): StoreRecord[] {
    return [{ type: 'session-end', key }, this.#session(key)]
  }

  #payload(): Uint8Array {
    const { next } = this.#random
    // Some are longer than a page.
    const length = Math.floor(next() ** 3 * (next() < 0.04 ? LONG_PAYLOAD : SHORT_PAYLOAD))
    const payload = new Uint8Array(length)
    for (let i = 0; i < length; i++) payload[i] = next() * 256
    return payload
  }

  #stored(topic: string): StoredMessage {
    const random = this.#random
    return {
      topic,
      payload: this.#payload(),
      qos: random.pick([1, 2]),
      retain: random.chance(0.5),
      from: random.pick(SESSIONS),
      ...(random.chance(0.3) ? { properties: { contentType: 'text', userProperties: [['k', 'v']] } } : {}),
      ...(random.chance(0.3) ? { expiresAt: TODAY + random.between(0, 100_000) } : {}),
      ...(random.chance(0.3) ? { source: { ...OWNER, rights: 'all' } } : {}),
    }
  }

  #message(contents: Contents): StoreRecord {
    const random = this.#random
    const room = SESSIONS.filter((key) => contents.sessions.get(key)!.queue.size < QUEUE_MAX)
    const some = room.filter(() => random.chance(0.2))
    const retains = random.chance(0.3) || some.length === 0
    return {
      type: 'message',
      id: ++this.#messageId,
      message: this.#stored(`t/${random.between(1, 40)}`),
      deliveries: some.map((key) => ({
        key,
        qos: random.pick([1, 2]),
        retain: false,
        ...(random.chance(0.2) ? { subscriptionIdentifiers: [random.between(1, 300)] } : {}),
        ...(random.chance(0.1) ? { share: 'group' } : {}),
      })),
      ...(retains ? { retains } : {}),
      ...(random.chance(0.3) ? { receipt: { key: random.pick(SESSIONS), packetId: random.between(1, 200) } } : {}),
      ...(random.chance(0.1) ? { willOf: random.pick(SESSIONS) } : {}),
    }
  }

  /** A message on its way out of a queue. */
  #oneLess(contents: Contents): StoreRecord[] {
    const random = this.#random
    const waiting = SESSIONS.filter((key) => contents.sessions.get(key)!.queue.size > 0)
    if (waiting.length === 0) return [{ type: 'released', key: random.pick(SESSIONS), packetId: random.between(1, 200) }]
    const key = random.pick(waiting)
    const { queue, flights, last = 0 } = contents.sessions.get(key)!
    const id = random.pick([...queue.keys()])
    const flight = flights.get(id)
    const packetId = (last % 0xffff) + 1
    if (flight === undefined) return [{ type: 'sent', key, id, packetId }]
    if (queue.get(id)!.qos === 1 || flight.received !== undefined) return [{ type: 'done', key, id }]
    return [{ type: 'received', key, id, packetId: flight.sent.packetId }]
  }

  #ofSession(contents: Contents, key: string, shrinks: boolean): StoreRecord[] {
    const random = this.#random
    const { subscriptions, receipts } = contents.sessions.get(key)!
    if (shrinks) {
      const [filter] = subscriptions.keys()
      const [packetId] = receipts
      if (filter !== undefined && random.chance(0.3)) return [{ type: 'unsubscribe', key, filter }]
      if (packetId !== undefined && random.chance(0.5)) return [{ type: 'released', key, packetId }]
      if (random.chance(0.3)) return [this.#session(key)]
      return [{ type: 'detached', key, at: TODAY + random.next(), expirySeconds: random.between(0, 100), will: false }]
    }
    if (random.chance(0.3)) return [{ type: 'will', key, will: this.#will() }]
    const options = { qos: random.pick([0, 1, 2] as const), noLocal: random.chance(0.5), retainAsPublished: true } as const
    return [{ type: 'subscribe', key, filter: `f/${random.between(1, 30)}/#`, options: { ...options, retainHandling: 1 } }]
  }

  #will(): StoredWill | null {
    return this.#random.chance(0.3) ? null : { delaySeconds: 5, message: this.#stored('will') }
  }

  #sensor(clientId: string): GatewayRecord {
    const random = this.#random
    return {
      type: 'sn-client',
      clientId,
      state: random.pick(['active', 'asleep', 'disconnected', 'lost']),
      route: `udp:127.0.0.1:${random.between(1024, 65535)}`,
      durationSeconds: 60,
      sleepSeconds: 0,
      cleanSession: false,
      will: random.chance(0.2) ? this.#will() : null,
      at: TODAY + random.between(0, 1000),
    }
  }

  #ofSensor(contents: Contents, clientId: string, shrinks: boolean): StoreRecord[] {
    const random = this.#random
    const { topics } = contents.sensors.get(clientId)!
    const [topicId] = topics.keys()
    if (shrinks) {
      if (topicId !== undefined && random.chance(0.4)) return [{ type: 'sn-topic-end', clientId, topicId }]
      if (random.chance(0.2)) return [{ type: 'sn-qos2-end', clientId, slot: random.between(0, 7) }]
      if (random.chance(0.2)) return [{ type: 'sn-subscription-end', clientId, filter: `f/${random.between(1, 9)}` }]
      if (random.chance(0.05)) return [{ type: 'sn-end', clientId }, this.#sensor(clientId)]
      return [this.#sensor(clientId)]
    }
    if (random.chance(0.5))
      return [{ type: 'sn-topic', clientId, topicId: random.between(1, 50), topicName: `n/${random.between(1, 9)}` }]
    if (random.chance(0.3))
      return [{ type: 'sn-subscription', clientId, filter: `f/${random.between(1, 9)}`, qos: random.pick([0, 1, 2]) }]
    const [slot, msgId, fingerprint] = [random.between(0, 7), random.between(1, 65535), random.between(0, 2 ** 32 - 1)]
    return [{ type: 'sn-qos2', clientId, slot, msgId, fingerprint, until: random.chance(0.5) ? 0 : TODAY }]
  }
}
