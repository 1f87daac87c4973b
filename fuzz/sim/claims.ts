import { topicMatches } from '../topic-matches.ts'
import { unfit } from './texts.ts'

export type QoS = -1 | 0 | 1 | 2

/** One message that an application published. */
export interface Published {
  readonly number: number
  readonly text: string
  readonly publisher: string
  readonly topic: string
  readonly qos: QoS
  readonly retain: boolean
  /** The publisher was told that it has arrived. */
  acknowledged: boolean
  /** Copies of its datagram that reached the server; a stream has one. */
  arrived: number
  /**
   * No copy of it reached the server before a later message of its publisher on the same topic did: its publisher had given it up, by connecting
   * again while it was on its way. To the server it is the later one.
   */
  overtaken: boolean
  /** Its publisher was told at least once that it is not taken. */
  refused: boolean
  /** It may have been, where the version of its publisher has no word for that: its acknowledgement says nothing. */
  refusedSilently: boolean
  /** It was sent together with others, which the network may let overtake it. */
  inBurst: boolean
  /** It was published again, with DUP. */
  resent: boolean
  /** How often it went out to whom. */
  readonly handed: Map<string, number>
  /** Who is owed it, and how often each had given up its claims by then. */
  readonly owed: ReadonlyMap<string, number>
}

const LONG = 'and what else there is to say'

/** Lets messages with an even number through; `fulfils` says the same. */
export const CONDITION = 'string(payload).matches("^[^ ]+ [0-9]*[02468]( |$)")'
export const fulfils = (text: string): boolean => /^[^ ]+ \d*[02468]( |$)/.test(text)

/** Whether a receiver has subscribed to such a message. */
export const wants = ({ granted, conditional }: Receiver, topic: string, text: string): boolean =>
  [...granted].some((filter) => topicMatches(filter, topic)) && (!conditional || fulfils(text))

/** What one application may count on. */
export interface Receiver {
  readonly id: string
  /** Its session outlasts its connections. */
  readonly lasting: boolean
  /** The only QoS with which it ever subscribes. */
  readonly qos: 0 | 1 | 2
  /** It says so, or will: it never gets what it has published itself, and sees RETAIN as it was published. */
  bridge: boolean
  /** Number of the first message that was published when it had said so. */
  bridgeSince: number
  /** All its subscriptions have `CONDITION`: it wants what fulfils it, and nothing else. */
  readonly conditional: boolean
  /** Filters that it was told are granted. */
  readonly granted: Set<string>
  /** How often it gave up what it was owed: by unsubscribing, or by beginning anew. */
  forfeits: number
  /** Number of the last message that was published before it lost its memory. */
  forgotBefore: number
  /** Number of the last message that was published before the server forgot its session. */
  expiredBefore: number
  /** Texts in the order of arrival. */
  readonly got: string[]
  /** Of retained messages, which come again with every subscription. */
  readonly kept: string[]
  /** Texts in the order in which they were first sent to it, if that is another than the order of arrival. */
  readonly sent: string[] | undefined
  /** Messages for it that were dropped, by what was told of that. */
  dropped: number
  /** A frame for it found no room at its port. */
  overflowed: boolean
  /** Texts that it has not taken; a late copy of one may come when it would take it. */
  readonly turnedAway: Set<string>
  /** A message for it was dropped, and the store could not be told: a new process may deliver it after all. */
  revives: boolean
}

/** Whose order counts: one publisher, topic and QoS. */
const lineOf = ({ publisher, topic, qos }: Published): string => `${publisher} ${topic} ${qos}`

/**
 * What the applications of a site did, and what follows from it that they may count on. This is the model against which the server is held: it
 * knows the promises of MQTT, and nothing of how they are kept.
 */
export class Claims {
  readonly published = new Map<string, Published>()
  readonly receivers = new Map<string, Receiver>()
  /** Number of the latest message that has reached the server, by its line. */
  readonly #latest = new Map<string, number>()
  #count = 0

  /** Messages that were published so far. */
  get count(): number {
    return this.#count
  }

  /** `window`: messages that may be on their way to it at once, over a network that reorders. */
  receiver(id: string, lasting: boolean, qos: 0 | 1 | 2, window = 1, conditional = false): Receiver {
    const receiver: Receiver = {
      id,
      lasting,
      qos,
      conditional,
      bridge: false,
      bridgeSince: Number.POSITIVE_INFINITY,
      granted: new Set<string>(),
      forfeits: 0,
      forgotBefore: -1,
      expiredBefore: -1,
      got: [],
      kept: [],
      sent: window > 1 ? [] : undefined,
      dropped: 0,
      overflowed: false,
      turnedAway: new Set<string>(),
      revives: false,
    }
    this.receivers.set(id, receiver)
    return receiver
  }

  publish(publisher: string, topic: string, qos: QoS, long = false, retain = false, isUnfit = false): Published {
    const number = this.#count++
    const said = `${publisher} ${number}${long ? ` ${LONG}` : ''}`
    const text = isUnfit ? unfit(said) : said
    const owed = new Map<string, number>()
    for (const receiver of this.receivers.values()) {
      const { id, lasting, qos: most, forfeits, bridge } = receiver
      if (bridge && id === publisher) continue
      if (lasting && most > 0 && wants(receiver, topic, text)) owed.set(id, forfeits)
    }
    const one: Published = {
      number,
      text,
      publisher,
      topic,
      qos,
      retain,
      acknowledged: false,
      arrived: 0,
      overtaken: false,
      refused: false,
      refusedSilently: false,
      inBurst: false,
      resent: false,
      handed: new Map(),
      owed,
    }
    this.published.set(one.text, one)
    return one
  }

  /** A copy of it reaches the server. */
  arrive(one: Published): void {
    const line = lineOf(one)
    const latest = this.#latest.get(line) ?? -1
    if (one.arrived++ === 0) one.overtaken = one.number < latest
    this.#latest.set(line, Math.max(latest, one.number))
  }

  /** A datagram or a stream carries it to a receiver. */
  hand(text: string, id: string): void {
    const one = this.published.get(text)
    const receiver = this.receivers.get(id)
    if (one === undefined || receiver === undefined) return
    one.handed.set(id, (one.handed.get(id) ?? 0) + 1)
    receiver.sent?.push(text)
  }

  /** It forgets what it has received: what was published by now may come again. */
  forget(receiver: Receiver): void {
    receiver.forgotBefore = this.#count - 1
  }

  /** Its session is over, and was kept for as long as promised. */
  expired(receiver: Receiver): void {
    this.forfeit(receiver)
    this.forget(receiver)
    receiver.expiredBefore = this.#count - 1
  }

  forfeit(receiver: Receiver): void {
    receiver.forfeits++
    receiver.granted.clear()
  }

  /** QoS 1 and 2: what was acknowledged reaches everybody who is owed it, at least once, across crashes, or its drop was told. */
  lost(): string[] {
    return [...this.receivers.values()].flatMap(({ id, forfeits, got, dropped }) => {
      const seen = new Set(got)
      const missing = [...this.published.values()].filter(
        ({ text, qos, acknowledged, owed }) => acknowledged && qos > 0 && owed.get(id) === forfeits && !seen.has(text),
      )
      return missing.length <= dropped
        ? []
        : missing.map(
            ({ text, topic, qos }) => `${id} never got "${text}" on ${topic} with QoS ${qos}, and ${dropped} drops were told`,
          )
    })
  }

  /** QoS 2 comes once; QoS 0 and -1 at most once for each datagram that arrived; nothing comes that nobody sent. */
  repeated(exactlyOnce: (one: Published) => boolean): string[] {
    return [...this.receivers.values()].flatMap(({ id, qos: most, got, forgotBefore }) => {
      const times = new Map<string, number>()
      for (const text of got) times.set(text, (times.get(text) ?? 0) + 1)
      return [...times].flatMap(([text, count]) => {
        const one = this.published.get(text)
        if (one === undefined) return [`${id} got "${text}", which nobody published`]
        // The network may double what is on its way to a sensor: then it is what was sent to it that counts.
        const handed = one.handed.get(id) ?? count
        if (one.qos <= 0 && handed > one.arrived) {
          return [`${id} was given "${text}" ${handed} times, and it arrived ${one.arrived} times`]
        }
        const once = one.qos === 2 && most === 2 && exactlyOnce(one) && one.number > forgotBefore
        return once && count > 1 ? [`${id} got "${text}" with QoS 2 ${count} times`] : []
      })
    })
  }

  /**
   * First deliveries keep the order of their publisher, topic by topic (MQTT-4.6.0-6). Of several datagrams on their way at once one may be lost, and
   * come again behind the others: then it is the order in which they left (ruling A15).
   */
  disordered(): string[] {
    return [...this.receivers.values()].flatMap(
      ({ id, bridge, forfeits, got, sent, dropped, overflowed, turnedAway, revives }) => {
        // Of several, one that found no room has not left, and comes again behind the others.
        if ((sent !== undefined && overflowed) || revives) return []
        const last = new Map<string, number>()
        return [...new Set(sent ?? got)].flatMap((text) => {
          const one = this.published.get(text)
          // What was refused, and comes again all the same, comes late.
          if (one === undefined || one.qos < 1 || one.refused || one.refusedSilently || one.inBurst) return []
          if (one.overtaken || turnedAway.has(text)) return []
          // So does what was dropped for want of room, and was said again because its acknowledgement was lost.
          // And what a receiver was not owed when it was said, but has subscribed to by the time that a copy comes.
          if ((one.resent || one.arrived > 1) && (dropped > 0 || !one.owed.has(id))) return []
          // A bridge may see first with a subscription what is retained.
          if (bridge && one.retain && (dropped > 0 || one.owed.get(id) !== forfeits)) return []
          const line = lineOf(one)
          const before = last.get(line) ?? -1
          last.set(line, Math.max(before, one.number))
          return one.number < before ? [`${id} got "${text}" after a later one of ${one.publisher} on ${one.topic}`] : []
        })
      },
    )
  }
}
