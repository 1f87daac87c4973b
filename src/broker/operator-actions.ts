import type { Instant } from '../base/machine.ts'
import { memoryWords } from '../base/memory.ts'
import { Author } from '../mqtt/author.ts'
import { Publish } from '../mqtt/publish.ts'
import { ReasonCode } from '../mqtt/reason-codes.ts'
import { isReservedTopic } from '../mqtt/topics.ts'
import type { Lsn } from '../store/store.ts'
import type { ClientLink } from './client-link.ts'
import { misfitWords } from './content-check.ts'
import type { BrokerContext } from './context.ts'
import { forwardedProperties, type Publisher } from './publisher.ts'
import { pacePublisher } from './publisher-pace.ts'
import type { Work } from './requests.ts'
import { Session } from './session.ts'
import type { Sessions } from './sessions.ts'
import { storedMessage } from './stored.ts'

/** `client` of notices about an operator, and the sender of the messages, which no session can have. */
const keyOf = (user: string | undefined): string => (user === undefined ? 'http' : `http:${user}`)

/** As `keyOf`, for the program in which the broker runs. */
const LOCAL_KEY = 'local'

/** Whose rights a message is published with. */
export interface PublisherName {
  readonly clientId: string
  readonly username: string | undefined
  /** Name of the listener whose rules apply; '' for those of all listeners. */
  readonly listener: string
}

/** Deletions in one step: each is a record. */
const STEP_DELETIONS = 32
/** Cost of a deletion, in levels examined, and characters of a topic that cost as much as a level. */
const DELETION_COST = 8
const READ_CHARACTERS = 256

export type Published =
  /** `receivers`: sessions for which it was queued or to which it was sent. */
  | { readonly kind: 'accepted'; readonly lsn: Lsn; readonly receivers: number }
  /** `limit`: the configuration key of the limit, if that is why. */
  | { readonly kind: 'refused'; readonly reasonCode: number; readonly reason: string; readonly limit?: string | undefined }

/** A deletion in progress. */
export interface Deletion {
  readonly filter: string
  /** Only count what would be deleted. */
  readonly isDryRun: boolean
  messages: number
  bytes: number
  /** What was deleted so far is durable once the store has reached this. */
  lsn: Lsn
  /** The store has no room for the rest. */
  isFull: boolean
}

/**
 * What people do who manage the broker, and are no MQTT clients: access lists do not apply to them, limits do. They own no
 * session, and what they retain counts in no client's share.
 */
export class OperatorActions {
  readonly #context: BrokerContext
  readonly #publisher: Publisher

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  /** By which the broker decides who gets what. */
  get rules(): Pick<BrokerContext, 'limits' | 'access' | 'memory'> {
    return this.#context
  }

  /** The number of members of a shared subscription, by `$share/<group>/<filter>`. */
  membersOf(name: string): number {
    return this.#context.router.membersOf(name)
  }

  /** Publishes a message, as PUBLISH of a client does; its topic name is valid. `user`: who does it, for notices. */
  publish(now: Instant, user: string | undefined, message: Publish): Published {
    const from = new Session('mqtt', '', this.#context.holdings, undefined, keyOf(user))
    // Without an owner: the message has no rights that could be revoked later.
    from.author = new Author(from.key, undefined)
    return this.#publish(now, from, message, true)
  }

  /** The same for the program in which the broker runs. */
  publishLocally(now: Instant, message: Publish): Published {
    const from = new Session('mqtt', '', this.#context.holdings, undefined, LOCAL_KEY)
    from.author = new Author(LOCAL_KEY, undefined)
    return this.#publish(now, from, message, true)
  }

  /** Publishes a message as a client would, with its rights; it need not be connected, or have a session. */
  publishAs(now: Instant, { clientId, username, listener }: PublisherName, message: Publish, sessions: Sessions): Published {
    const session = sessions.get('mqtt', clientId)
    const isNamed = username !== undefined || listener !== ''
    if (session !== undefined && !isNamed) return this.#publish(now, session, message, false)
    const owner = { username, listener, verified: username !== undefined }
    const from = new Session('mqtt', clientId, this.#context.holdings, owner)
    from.username = username
    from.listener = listener
    return this.#publish(now, from, message, false)
  }

  /** After a message was accepted: pauses its publisher, who has this link, as that of a client. */
  pace(now: Instant, link: ClientLink): void {
    pacePublisher(this.#context, now, this.#publisher, link)
  }

  #publish(now: Instant, from: Session, message: Publish, isOperator: boolean): Published {
    const { limits, stats, live, access } = this.#context
    stats.publishReceived++
    if (message.retain && !limits.retainAvailable)
      return this.#refused(from, message, ReasonCode.RETAIN_NOT_SUPPORTED, 'nothing is retained here', 'retain_available')
    const isOwn = isReservedTopic(message.topic) || live.owns(message.topic)
    const isForbidden = isOwn || !(isOperator || access.publish(from, message.topic, message))
    const reasonCode = isForbidden ? ReasonCode.NOT_AUTHORIZED : this.#refusal(now, from, message)
    if (reasonCode !== 0) {
      const limit = this.#publisher.refusedBy(message, reasonCode)
      const reason =
        limit !== undefined
          ? 'beyond a limit'
          : reasonCode === ReasonCode.PAYLOAD_FORMAT_INVALID
            ? misfitWords(this.#publisher.misfit!)
            : reasonCode !== ReasonCode.NOT_AUTHORIZED
              ? 'the topic name is too long'
              : isOwn
                ? 'only the broker publishes there'
                : 'not allowed'
      return this.#refused(from, message, reasonCode, reason, limit)
    }
    forwardedProperties(message)
    const before = this.#publisher.work
    const lsn = this.#publisher.accept(now, from, message, 0)
    if (lsn !== 'full') return { kind: 'accepted', lsn, receivers: this.#publisher.work - before }
    const { over } = this.#publisher
    const why = over === undefined ? 'the store is full' : memoryWords(over)
    return this.#refused(from, message, ReasonCode.QUOTA_EXCEEDED, why, over?.limit)
  }

  #refusal(now: Instant, from: Session, message: Publish): number {
    return this.#publisher.limitRefusal(now, from, message) || this.#publisher.contentRefusal(now, from, message)
  }

  #refused(from: Session, { topic }: Publish, reasonCode: number, reason: string, limit: string | undefined): Published {
    const what = `${reason}: ${topic}: reason code 0x${reasonCode.toString(16)}`
    const more = limit === undefined ? {} : { limit }
    this.#context.notice({ code: 'publish-refused', level: 'info', client: from.key, reason: what, ...more })
    return { kind: 'refused', reasonCode, reason, limit }
  }

  /**
   * Deletes the retained message of a topic. Subscribers are not told, as when it expires: whoever wants that publishes an empty one.
   * Returns the Lsn that the answer must wait for, 'full' if the store has no room, and undefined if there is no such message.
   */
  deleteRetained(topic: string): Lsn | 'full' | undefined {
    const { retained, store, clock } = this.#context
    if (retained.get(topic) === undefined) return undefined
    const cleared = Publish.of(topic, EMPTY, 0, true)
    const id = this.#publisher.nextMessageId()
    const lsn = store.append({ type: 'message', id, message: storedMessage(clock, cleared), deliveries: [], retains: true })
    if (lsn !== 'full') retained.delete(topic)
    return lsn
  }

  /**
   * Deletes all retained messages that a valid filter matches, or only counts them. Yields what each step cost, in levels examined,
   * and Infinity while the store has no room for the moment.
   */
  *deleteMatching(deletion: Deletion): Work<void> {
    const { retained, store } = this.#context
    const { filter, isDryRun } = deletion
    let steps = 0
    for (const message of retained.search(filter)) {
      if (message === undefined) {
        yield 1
        continue
      }
      if (!isDryRun) {
        if (++steps % STEP_DELETIONS === 0) while (!store.hasRoom) yield Number.POSITIVE_INFINITY
        // Another request may have deleted or replaced it meanwhile.
        if (retained.get(message.topic) !== message) continue
        const lsn = this.deleteRetained(message.topic)
        deletion.isFull = lsn === 'full'
        if (lsn === 'full') return
        deletion.lsn = lsn ?? deletion.lsn
      }
      deletion.messages++
      deletion.bytes += message.weight
      yield isDryRun ? 1 : DELETION_COST + Math.floor(message.topic.length / READ_CHARACTERS)
    }
  }
}

const EMPTY = new Uint8Array(0)
