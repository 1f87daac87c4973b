import type { Instant } from '../base/machine.ts'
import { Publish } from '../mqtt/publish.ts'
import { hasWildcard, intersection } from '../mqtt/topics.ts'

/**
 * Topics that differ in one level, whose retained messages are not stored: the broker generates them from the state of something
 * else when a client subscribes, and sends them to subscribers when that state changes.
 */
export interface LiveSpace {
  /** The topic before the level, with its slash, and after it: `roost/sensors/` and ``. The prefix is not empty. */
  readonly prefix: string
  readonly suffix: string
  /** Whether a topic with this level is one of these, if only later: clients may not publish there. */
  owns(level: string): boolean
  /** Whether this level can only be found by a look at many. */
  isSearch(level: string): boolean
  /**
   * The levels that have a message, or only this one, and `undefined` for others that were examined: the caller may stop after any
   * of them.
   */
  find(level: string | undefined): Iterable<LiveLevel | undefined>
  /** The first subscription that matches one of the topics was added (`on`), or the last one was removed. */
  wanted(on: boolean): void
}

export interface LiveLevel {
  readonly level: string
  /** Makes its message. */
  payload(): Uint8Array
}

/** A retained message that was found. To make it takes much longer, so that is left until it is sent. */
export class FoundLive {
  readonly topic: string
  readonly #found: LiveLevel

  constructor(topic: string, found: LiveLevel) {
    this.topic = topic
    this.#found = found
  }

  make(): Publish {
    return messageOf(this.topic, this.#found.payload())
  }
}

interface Known {
  readonly space: LiveSpace
  /** Matches all its topics. */
  readonly filter: string
  /** Number of levels before the one that differs. */
  readonly depth: number
  /** Number of subscriptions that may match one of its topics. */
  subscriptions: number
}

/**
 * Retained messages that are made when they are asked for (`LiveSpace`). They have QoS 0, as everything that the broker publishes
 * itself: nothing is stored, and the next message replaces the last one.
 */
export class LiveTopics {
  /** Called with the client id of a sensor for which more or fewer messages wait; `undefined` while nobody wants to know. */
  waits: ((clientId: string) => void) | undefined = undefined
  readonly #spaces: Known[] = []
  readonly #send: (now: Instant, message: Publish) => number

  /** `send` delivers a message to its subscribers, and returns to how many. */
  constructor(send: (now: Instant, message: Publish) => number) {
    this.#send = send
  }

  /** Adds topics; before the first subscription, that is, before the replay. */
  add(space: LiveSpace): void {
    const { prefix, suffix } = space
    this.#spaces.push({ space, filter: `${prefix}+${suffix}`, depth: prefix.split('/').length - 1, subscriptions: 0 })
  }

  /** Sends the current message of a topic to subscribers; without bytes, there is none any more. Returns the number of deliveries. */
  publish(now: Instant, topic: string, payload: Uint8Array): number {
    return this.#send(now, messageOf(topic, payload))
  }

  /** Whether only the broker publishes on this topic. */
  owns(topic: string): boolean {
    for (const { space } of this.#spaces) {
      const { prefix, suffix } = space
      if (!topic.startsWith(prefix) || !topic.endsWith(suffix)) continue
      const level = topic.slice(prefix.length, topic.length - suffix.length)
      if (topic.length >= prefix.length + suffix.length && !level.includes('/') && space.owns(level)) return true
    }
    return false
  }

  /** A session has one more subscription. */
  subscribed(filter: string): void {
    for (const known of this.#spaces) if (meets(filter, known) && ++known.subscriptions === 1) known.space.wanted(true)
  }

  unsubscribed(filter: string): void {
    for (const known of this.#spaces) if (meets(filter, known) && --known.subscriptions === 0) known.space.wanted(false)
  }

  /**
   * The retained messages that a filter matches: those in `stored`, and those made now. What is stored on a topic that only the
   * broker publishes on, from before it did, is not found.
   */
  search(filter: string, stored: Iterable<Publish | undefined>): Iterable<Publish | FoundLive | undefined> {
    return this.#spaces.some((known) => meets(filter, known)) ? this.#search(filter, stored) : stored
  }

  /** Whether a search for this filter looks at many messages, although it has no wildcard. */
  isSearch(filter: string): boolean {
    return this.#spaces.some((known) => meets(filter, known) && known.space.isSearch(levelOf(filter, known)))
  }

  *#search(filter: string, stored: Iterable<Publish | undefined>): Generator<Publish | FoundLive | undefined, void> {
    for (const message of stored) yield message !== undefined && this.owns(message.topic) ? undefined : message
    for (const known of this.#spaces) if (meets(filter, known)) yield* found(filter, known)
  }
}

function* found(filter: string, known: Known): Generator<FoundLive | undefined, void> {
  const { prefix, suffix } = known.space
  const level = levelOf(filter, known)
  for (const each of known.space.find(hasWildcard(level) ? undefined : level))
    yield each && new FoundLive(prefix + each.level + suffix, each)
}

/** The level that differs, in a filter that may match one of these topics: a name or a wildcard. */
const levelOf = (filter: string, { filter: all, depth }: Known): string => intersection(filter, all)!.split('/')[depth]!

function messageOf(topic: string, payload: Uint8Array): Publish {
  const message = Publish.of(topic, payload, 0, true)
  message.owned = true
  return message
}

/** Whether the filter may match one of these topics. The first look rules out most filters, of which there may be a million. */
function meets(filter: string, { space, filter: all }: Known): boolean {
  const first = filter[0]
  return (first === '+' || first === '#' || first === space.prefix[0]) && intersection(filter, all) !== undefined
}
