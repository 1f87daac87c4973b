import { KEPT_TOPICS, otherSide, type PairTopic, SIDES, type Side } from './pair-step.ts'

/** A message that an application of one side has published. */
export interface PairMessage {
  readonly number: number
  readonly text: string
  readonly side: Side
  readonly topic: PairTopic
  readonly qos: 0 | 1 | 2
  acknowledged: boolean
  /** The far server was made to forget the session of the bridge, which then cannot know what had arrived there. */
  inDoubt: boolean
  /** The session of the bridge at the near server was made to end, and what waited in it for the far one with it. */
  isStranded: boolean
  /**
   * A server had no room for it, and it was sent again behind others: the other server, or its own, if the publisher lost its connection
   * before it heard that. Messages are in the order in which they are accepted.
   */
  late: boolean
  /** The near server does not send it to the far one any more, and has said so. */
  isGivenUp: boolean
  /**
   * The far server got it over a stream of MQTT 3 without the bridge bit, and sends it back once: there is no No Local before MQTT 5
   * (docs/bridge.md, What is not guaranteed).
   */
  mayEcho: boolean
}

/** Of a retained message. */
export interface Kept {
  readonly text: string
  /** It was sent again: an earlier copy may have been taken. */
  isAgain: boolean
  /** The server had no room for it, or for a copy of it. */
  refused: boolean
}

/** What one application has received. */
export interface PairReceiver {
  readonly id: string
  readonly side: Side
  readonly qos: 1 | 2
  readonly got: string[]
}

const crosses = ({ direction }: PairTopic, from: Side): boolean =>
  direction === 'both' || direction === (from === 'near' ? 'out' : 'in')

/** What the applications on both sides of a bridge did, and what they may count on. */
export class PairClaims {
  readonly published = new Map<string, PairMessage>()
  readonly receivers: PairReceiver[] = []
  /** What was retained on each topic, in order; '' is a deletion. */
  readonly #kept = new Map<PairTopic, Kept[]>()
  /** Drops that were told, by side, of messages that are not known. */
  readonly dropped: Record<Side, number> = { near: 0, far: 0 }
  /** Retained topics, by their names at the far side, on which a message came late. */
  readonly keptLate = new Set<string>()
  #isForgotten = false
  #count = 0

  receiver(id: string, side: Side, qos: 1 | 2): PairReceiver {
    const receiver: PairReceiver = { id, side, qos, got: [] }
    this.receivers.push(receiver)
    return receiver
  }

  publish(publisher: string, side: Side, topic: PairTopic, qos: 0 | 1 | 2, isStranded = false): PairMessage {
    const number = this.#count++
    const one = {
      number,
      text: `${publisher} ${number}`,
      side,
      topic,
      qos,
      acknowledged: false,
      inDoubt: this.#isForgotten || isStranded,
      isStranded,
      late: false,
      isGivenUp: false,
      mayEcho: false,
    }
    this.published.set(one.text, one)
    return one
  }

  keep(topic: PairTopic, text: string): Kept {
    const kept = { text, isAgain: false, refused: false }
    this.#kept.set(topic, [...(this.#kept.get(topic) ?? []), kept])
    return kept
  }

  /** The session of the bridge at the far side is gone, with what waited in it; what is published before there is another is in doubt too. */
  forget(): void {
    for (const one of this.published.values()) one.inDoubt = true
    this.#isForgotten = true
    this.#keepInDoubt()
  }

  /** The session of the bridge at the near server is gone. The next one begins a session at the far side as well. */
  end(): void {
    this.forget()
    for (const one of this.published.values()) one.isStranded = true
    // What is retained goes over once more, and no deletions.
    for (const { far } of KEPT_TOPICS) this.keptLate.add(far)
  }

  /** It has all of its subscriptions again. */
  remember(): void {
    this.#isForgotten = false
  }

  /** With the subscriptions come messages that are retained by then, but no deletions. */
  #keepInDoubt(): void {
    for (const { far, writer } of KEPT_TOPICS) if (writer === 'far') this.keptLate.add(far)
  }

  /** A server has no room for a message. */
  refused(side: Side, text: string): void {
    const one = this.published.get(text)
    if (one?.side === side) one.late = true
  }

  /** The near server does not send a message to the far one any more, where it has this topic. */
  giveUp(text: string, topic: string): void {
    const one = this.published.get(text)
    if (one === undefined) this.keptLate.add(topic)
    else one.isGivenUp = true
  }

  /** With which QoS it reaches the receivers of a side; `undefined` if it does not go there. */
  qosAt(one: PairMessage, side: Side): 0 | 1 | 2 | undefined {
    if (one.side === side) return one.qos
    return crosses(one.topic, one.side) ? (Math.min(one.qos, one.topic.qos) as 0 | 1 | 2) : undefined
  }

  /** What was acknowledged reaches everybody on both sides, or its drop was told. `isOwed`: to a side, by now. */
  lost(isOwed: (one: PairMessage, side: Side) => boolean = () => true): string[] {
    return SIDES.flatMap((side) => {
      const missing = this.receivers
        .filter((receiver) => receiver.side === side)
        .flatMap(({ id, got }) => {
          const seen = new Set(got)
          return (
            [...this.published.values()]
              .filter((one) => one.acknowledged && (this.qosAt(one, side) ?? 0) > 0 && !seen.has(one.text) && isOwed(one, side))
              .filter((one) => !((one.isStranded || one.isGivenUp) && one.side !== side))
              // From the far side: what waited in a session that was made to end, ended with it.
              .filter((one) => !(one.inDoubt && side === 'near' && one.side === 'far'))
              .map(({ text, topic, qos }) => `${id} never got "${text}" on ${topic[side]} with QoS ${qos}`)
          )
        })
      const told = this.dropped.near + this.dropped.far
      // One drop for the bridge is a message less for both applications.
      return missing.length <= 2 * told ? [] : missing.map((what) => `${what}, and ${told} drops were told`)
    })
  }

  /** QoS 2 comes once, and QoS 0 at most once; nothing comes that nobody published, or that does not go there. */
  repeated(): string[] {
    return this.receivers.flatMap(({ id, side, qos: most, got }) => {
      const times = new Map<string, number>()
      for (const text of got) times.set(text, (times.get(text) ?? 0) + 1)
      return [...times].flatMap(([text, count]) => {
        const one = this.published.get(text)
        const qos = one === undefined ? undefined : this.qosAt(one, side)
        if (one === undefined || qos === undefined) return [`${id} got "${text}", which does not go there`]
        // With QoS 1 it may have been published again.
        const once = one.qos !== 1 && (qos === 0 || (qos === 2 && most === 2))
        const mayCome = one.mayEcho && side === one.side ? 2 : 1
        return once && count > mayCome && !one.inDoubt ? [`${id} got "${text}" with QoS ${qos} ${count} times`] : []
      })
    })
  }

  /** First deliveries keep the order of their publisher, for each topic and QoS (MQTT-4.6.0-6). */
  disordered(): string[] {
    return this.receivers.flatMap(({ id, side, got }) => {
      const last = new Map<string, number>()
      return [...new Set(got)].flatMap((text) => {
        const one = this.published.get(text)
        if (one === undefined || (this.qosAt(one, side) ?? 0) < 1 || one.inDoubt || one.late) return []
        const line = `${text.split(' ')[0]} ${one.topic[side]} ${one.qos}`
        const before = last.get(line) ?? -1
        last.set(line, Math.max(before, one.number))
        return one.number < before ? [`${id} got "${text}" after a later one of ${line}`] : []
      })
    })
  }

  /** Both sides have retained what was retained last. */
  diverged(retained: (side: Side, topic: string) => string): string[] {
    return KEPT_TOPICS.flatMap((topic) =>
      SIDES.flatMap((side) => {
        const wanted = this.#wanted(topic, retained(topic.writer, topic[topic.writer]))
        const found = retained(side, topic[side])
        const isDropped = side !== topic.writer && this.dropped.near + this.dropped.far > 0
        // What was sent again for want of room may have been overtaken by what was retained after it.
        if (found === wanted || isDropped || this.keptLate.has(topic.far)) return []
        return [`${topic[side]} has "${found}" retained ${side}, instead of "${wanted}" as on the ${topic.writer} side`]
      }),
    )
  }

  /** What was retained last. That may be a message, `atWriter`, of which only a copy was refused. */
  #wanted(topic: PairTopic, atWriter: string): string {
    const kept = this.#kept.get(topic) ?? []
    const last = kept.findLastIndex(({ refused }) => !refused)
    const mayBe = kept.slice(last + 1).some(({ text, isAgain }) => isAgain && text === atWriter)
    return mayBe ? atWriter : (kept[last]?.text ?? '')
  }

  /** Whether a message that was published on this side may go to the other one. */
  mayCross(one: PairMessage): boolean {
    return this.qosAt(one, otherSide(one.side)) !== undefined
  }
}
