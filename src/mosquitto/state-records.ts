import { TopicTree } from '../broker/topic-tree.ts'
import { isReservedTopic, topicFilterError, topicNameError } from '../mqtt/topics.ts'
import type { BrokerRecord, SessionKey, StoredDelivery, StoredMessage, StoredOwner, WallTime } from '../store/store.ts'
import type { MessageNumber, SavedMessage, SavedPlace, SavedSession, SavedState, SavedSubscription } from './persistence-file.ts'

/** What was brought over, and what was not. */
export interface Moved {
  retained: number
  sessions: number
  subscriptions: number
  /** Places in queues: a message that two sessions wait for counts twice. */
  messages: number
  /** Numbers of things that were left out, by what they are: `sessions that have expired`. */
  readonly leftOut: Map<string, number>
}

export interface MoveOptions {
  /** The time at which the sessions go on, by a store that begins now. */
  readonly now: WallTime
  /** The user names in the file were verified: sessions belong to their users. */
  readonly usersVerified: boolean
  /** The payload of a message. */
  payloadOf(message: SavedMessage): Uint8Array
}

/** The records of a new store with what Mosquitto has saved, in the order in which they are to be appended. */
export class StateRecords {
  readonly moved: Moved = { retained: 0, sessions: 0, subscriptions: 0, messages: 0, leftOut: new Map() }
  readonly #state: SavedState
  readonly #options: MoveOptions
  /** Ids in the store. A message has one, and another one for each session whose queue has it out of order. */
  readonly #ids = new Map<MessageNumber, number>()
  readonly #copies: Copy[] = []
  readonly #deliveries = new Map<number, StoredDelivery[]>()
  readonly #kept: KeptSession[] = []
  #nextId = 1

  constructor(state: SavedState, options: MoveOptions) {
    this.#state = state
    this.#options = options
    if (state.strays > 0) this.#leaveOut('records of sessions that are not in the file', state.strays)
    if (state.unknown > 0) this.#leaveOut('records of unknown kinds', state.unknown)
  }

  *records(): Generator<BrokerRecord, void> {
    const numbers = [...this.#usable()].sort((a, b) => (a < b ? -1 : 1))
    for (const number of numbers) this.#ids.set(number, this.#nextId++)
    for (const session of this.#state.sessions.values()) this.#keep(session)
    for (const { saved, key } of this.#kept) yield* this.#session(saved, key)
    yield* this.#messages(numbers)
    for (const { saved, key, flights } of this.#kept) yield* flightRecords(saved, key, flights)
    yield* this.#received()
  }

  #leaveOut(what: string, count = 1): void {
    const { leftOut } = this.moved
    leftOut.set(what, (leftOut.get(what) ?? 0) + count)
  }

  /** Messages that can be delivered. Those that cannot count where they are missed: in a queue, or as retained. */
  *#usable(): Generator<MessageNumber> {
    for (const [number, message] of this.#state.messages) if (this.#unfit(message) === undefined) yield number
  }

  /** Why the message is not brought over. */
  #unfit(message: SavedMessage | undefined): string | undefined {
    if (message === undefined) return 'that are not in the file'
    if (message.expiresAt > 0 && message.expiresAt * 1000 <= this.#options.now) return 'that have expired'
    return topicNameError(message.topic) === '' ? undefined : 'with an invalid topic'
  }

  #keep(saved: SavedSession): void {
    const { clientId, expirySeconds, expiresAt, places, subscriptions } = saved
    if (isBridge(saved)) {
      this.#leaveOut('sessions of bridges of Mosquitto')
      if (places.length > 0) this.#leaveOut('messages in sessions of bridges of Mosquitto', places.length)
      return
    }
    const isExpired = expiresAt > 0 && expiresAt * 1000 <= this.#options.now
    if (expirySeconds === 0 || isExpired) {
      this.#leaveOut(isExpired ? 'sessions that have expired' : 'sessions that ended with their connection')
      return
    }
    const key: SessionKey = `mqtt:${clientId}`
    const flights: Flight[] = []
    this.#kept.push({ saved, key, flights })
    this.moved.sessions++
    const valid = subscriptions.filter(({ filter }) => topicFilterError(filter) === '')
    this.moved.subscriptions += valid.length
    if (valid.length < subscriptions.length)
      this.#leaveOut('subscriptions with an invalid filter', subscriptions.length - valid.length)
    let last = 0
    for (const place of places) if (place.direction === 'out') last = this.#queue(key, place, last, flights)
  }

  /**
   * Takes a message into the queue of a session, whose order is that of the ids: `last` is the id of the message before. Returns
   * its id.
   */
  #queue(key: SessionKey, place: SavedPlace, last: number, flights: Flight[]): number {
    const message = this.#state.messages.get(place.message)
    const reason = this.#unfit(message)
    if (reason !== undefined) {
      this.#leaveOut(`queued messages ${reason}`)
      return last
    }
    let id = this.#ids.get(place.message)!
    if (id <= last) {
      id = this.#nextId++
      this.#copies.push({ id, message: message! })
    }
    const { qos, retain, identifiers, packetId, state } = place
    const delivery = { key, qos, retain, ...(identifiers.length > 0 && { subscriptionIdentifiers: identifiers }) }
    const known = this.#deliveries.get(id)
    if (known === undefined) this.#deliveries.set(id, [delivery])
    else known.push(delivery)
    if (state !== 'queued' && qos > 0 && packetId > 0)
      flights.push({ id, packetId, isReleased: qos === 2 && state === 'released' })
    this.moved.messages++
    return id
  }

  *#session(saved: SavedSession, key: SessionKey): Generator<BrokerRecord> {
    const { now } = this.#options
    const { expirySeconds, expiresAt, username, subscriptions } = saved
    yield { type: 'session', key, expirySeconds, will: null, owner: this.#ownerOf(username) }
    for (const subscription of subscriptions)
      if (topicFilterError(subscription.filter) === '') yield subscribeRecord(key, subscription)
    // Connected when the file was saved, or never to expire: then it counts as away from now on.
    const at = expiresAt > 0 ? Math.min(now, (expiresAt - expirySeconds) * 1000) : now
    yield { type: 'detached', key, at, expirySeconds, will: false }
  }

  #ownerOf(username: string | undefined): StoredOwner {
    return { username, listener: '', verified: this.#options.usersVerified && username !== undefined }
  }

  *#messages(numbers: readonly MessageNumber[]): Generator<BrokerRecord> {
    const retained = this.#retained()
    for (const number of numbers) {
      const id = this.#ids.get(number)!
      const deliveries = this.#deliveries.get(id) ?? []
      const isRetained = retained.has(number)
      if (deliveries.length === 0 && !isRetained) continue
      const message = this.#stored(this.#state.messages.get(number)!, isRetained)
      yield { type: 'message', id, message, deliveries, ...(isRetained && { retains: true }) }
    }
    for (const { id, message } of this.#copies)
      yield { type: 'message', id, message: this.#stored(message, false), deliveries: this.#deliveries.get(id)! }
  }

  /** The retained messages that are brought over. */
  #retained(): Set<MessageNumber> {
    const retained = new Set<MessageNumber>()
    for (const number of this.#state.retained) {
      const message = this.#state.messages.get(number)
      const isOurs = message !== undefined && (message.payloadLength === 0 || isReservedTopic(message.topic))
      const reason = this.#unfit(message) ?? (isOurs ? "that are empty or on a broker's own topic" : undefined)
      if (reason === undefined) retained.add(number)
      else this.#leaveOut(`retained messages ${reason}`)
    }
    this.moved.retained += retained.size
    return retained
  }

  #stored(message: SavedMessage, isRetained: boolean): StoredMessage {
    const { topic, qos, retain, sourceId, sourceUsername, properties, expiresAt } = message
    const left = Math.ceil(expiresAt - this.#options.now / 1000)
    const all = expiresAt > 0 ? { ...properties, messageExpiryInterval: left } : properties
    return {
      topic,
      payload: this.#options.payloadOf(message),
      qos,
      retain: retain || isRetained,
      from: sourceId === '' ? '' : `mqtt:${sourceId}`,
      ...(Object.keys(all).length > 0 && { properties: all }),
      ...(expiresAt > 0 && { expiresAt: expiresAt * 1000 }),
      ...(isRetained && sourceId !== '' && { source: this.#ownerOf(sourceUsername) }),
    }
  }

  /**
   * Messages of QoS 2 that Mosquitto has received, and passes on when PUBREL comes. Roost passes such a message on when it comes,
   * so this does what it would have done then; their publishers find that their packet ids are taken.
   */
  *#received(): Generator<BrokerRecord> {
    let tree: TopicTree<KeptSession, SavedSubscription> | undefined
    for (const { saved, key } of this.#kept)
      for (const place of saved.places) {
        if (place.direction === 'out' || place.state === 'released' || place.packetId === 0) continue
        const message = this.#state.messages.get(place.message)
        const reason = this.#unfit(message)
        if (reason !== undefined) {
          this.#leaveOut(`received messages ${reason}`)
          continue
        }
        tree ??= this.#tree()
        const deliveries = receiversOf(tree, message!, key)
        this.moved.messages += deliveries.length
        const { retain } = message!
        if (retain && message!.payloadLength > 0) this.moved.retained++
        const receipt = { key, packetId: place.packetId }
        const stored = this.#stored(message!, retain)
        yield { type: 'message', id: this.#nextId++, message: stored, deliveries, ...(retain && { retains: true }), receipt }
      }
  }

  #tree(): TopicTree<KeptSession, SavedSubscription> {
    const tree = new TopicTree<KeptSession, SavedSubscription>()
    for (const session of this.#kept)
      for (const subscription of session.saved.subscriptions)
        if (topicFilterError(subscription.filter) === '') tree.set(subscription.filter, session, subscription)
    return tree
  }
}

interface KeptSession {
  readonly saved: SavedSession
  readonly key: SessionKey
  /** Messages that were sent, in order. */
  readonly flights: Flight[]
}

interface Flight {
  readonly id: number
  readonly packetId: number
  readonly isReleased: boolean
}

interface Copy {
  readonly id: number
  readonly message: SavedMessage
}

function* flightRecords({ lastPacketId }: SavedSession, key: SessionKey, flights: readonly Flight[]): Generator<BrokerRecord> {
  const taken = new Set<number>()
  for (const { id, packetId, isReleased } of flights) {
    // A message that shares its packet id is sent under a new one.
    if (taken.has(packetId)) continue
    taken.add(packetId)
    yield { type: 'sent', key, id, packetId }
    if (isReleased) yield { type: 'received', key, id, packetId }
  }
  // Packet ids continue behind it.
  if (lastPacketId > 0) yield { type: 'sent', key, id: 0, packetId: lastPacketId }
}

function subscribeRecord(key: SessionKey, subscription: SavedSubscription): BrokerRecord {
  const { filter, qos, noLocal, retainAsPublished, retainHandling, identifier } = subscription
  const options = {
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    ...(identifier > 0 && { subscriptionIdentifier: identifier }),
  }
  return { type: 'subscribe', key, filter, options }
}

/** One delivery for each session with a matching subscription, as the router makes them; QoS 0 does not wait for absent clients. */
function receiversOf(
  tree: TopicTree<KeptSession, SavedSubscription>,
  { topic, qos, retain }: SavedMessage,
  from: SessionKey,
): StoredDelivery[] {
  const found = new Map<SessionKey, { qos: 0 | 1 | 2; retain: boolean; subscriptionIdentifiers: number[] }>()
  tree.match(topic, (subscription, { key }) => {
    if (subscription.noLocal && key === from) return
    const one = found.get(key) ?? { qos: 0, retain: false, subscriptionIdentifiers: [] }
    one.qos = Math.max(one.qos, Math.min(qos, subscription.qos)) as 0 | 1 | 2
    one.retain ||= retain && subscription.retainAsPublished
    if (subscription.identifier > 0) one.subscriptionIdentifiers.push(subscription.identifier)
    found.set(key, one)
  })
  return [...found].flatMap(([key, { subscriptionIdentifiers: identifiers, ...delivery }]) =>
    delivery.qos === 0 ? [] : { key, ...delivery, ...(identifiers.length > 0 && { subscriptionIdentifiers: identifiers }) },
  )
}

/** A bridge has a session of its own under `local.<host>.<connection>`, and subscribes as no other client of MQTT 3.1.1 can. */
function isBridge({ clientId, subscriptions }: SavedSession): boolean {
  return /^local\..+\..+$/.test(clientId) && subscriptions.every(({ noLocal, retainAsPublished }) => noLocal && retainAsPublished)
}
