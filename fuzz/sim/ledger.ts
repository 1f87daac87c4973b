/** One message: who published it where, with which QoS, and which one it was. */
export interface Sent {
  readonly publisher: string
  readonly topic: string
  readonly qos: -1 | 0 | 1 | 2
  readonly text: string
  /** The publisher knows that it arrived. */
  acknowledged: boolean
  /** Clients that are owed it: they subscribed, were told so, and keep their session. */
  readonly owed: readonly string[]
}

/** A first delivery behind newer messages of its publisher with this topic and QoS. */
export interface Disorder {
  readonly receiver: string
  readonly text: string
  /** Publisher, topic and QoS. */
  readonly line: string
  readonly newer: readonly string[]
}

/** What was published, and what was received by whom: the memory against which a run is judged. */
export class Ledger {
  readonly sent = new Map<string, Sent>()
  /** Texts per receiver, in the order of arrival. */
  readonly #received = new Map<string, string[]>()
  /** What came before its receiver lost its memory, and may come once more. */
  readonly #forgotten = new Map<string, Set<string>>()
  #count = 0
  /** What was published before, of which copies may still arrive. */
  #before: Ledger | undefined

  /** `before`: the ledger that this one follows, whose texts it does not use again. */
  constructor(before?: Ledger) {
    this.#before = before
    if (before === undefined) return
    this.#count = before.#count
    before.#before = undefined
  }

  publish(publisher: string, topic: string, qos: Sent['qos'], owed: readonly string[]): Sent {
    const text = `${publisher} ${this.#count++}`
    const sent: Sent = { publisher, topic, qos, text, acknowledged: false, owed }
    this.sent.set(text, sent)
    return sent
  }

  receive(receiver: string, text: string): void {
    if (!this.sent.has(text) && this.#before?.sent.has(text)) {
      this.#before.receive(receiver, text)
      return
    }
    const texts = this.#received.get(receiver)
    if (texts === undefined) this.#received.set(receiver, [text])
    else texts.push(text)
  }

  /** The receiver has lost its memory: a QoS 2 message whose PUBREC was lost is a new one to it. */
  forgot(receiver: string): void {
    this.#before?.forgot(receiver)
    this.#forgotten.set(receiver, new Set([...(this.#forgotten.get(receiver) ?? []), ...this.received(receiver)]))
  }

  received(receiver: string): readonly string[] {
    return this.#received.get(receiver) ?? []
  }

  get deliveries(): number {
    let count = 0
    for (const texts of this.#received.values()) count += texts.length
    return count
  }

  /** Deliveries behind the first ones, and all of messages from before the ledger that this one follows, which have come before. */
  get copies(): number {
    let firsts = 0
    for (const texts of this.#received.values()) firsts += new Set(texts.filter((text) => this.sent.has(text))).size
    return this.deliveries - firsts
  }

  /** QoS 1 and 2: what was acknowledged reached everybody who is owed it. */
  missing(): string[] {
    const problems: string[] = []
    const seen = new Map<string, Set<string>>()
    for (const [receiver, texts] of this.#received) seen.set(receiver, new Set(texts))
    for (const { acknowledged, qos, text, topic, owed } of this.sent.values()) {
      if (!acknowledged || qos < 1) continue
      for (const receiver of owed)
        if (!seen.get(receiver)?.has(text)) problems.push(`${receiver} never got "${text}" (${topic}, QoS ${qos})`)
    }
    return problems
  }

  /** QoS 2 comes at most once, and QoS 0 and -1 at most once for each copy of the datagram that the network made. */
  repeated(copies: number): string[] {
    const problems = this.#before?.repeated(copies) ?? []
    for (const [receiver, texts] of this.#received) {
      const times = new Map<string, number>()
      for (const text of texts) times.set(text, (times.get(text) ?? 0) + 1)
      for (const [text, count] of times) {
        const qos = this.sent.get(text)?.qos
        if (qos === undefined) problems.push(`${receiver} got "${text}", which nobody sent`)
        else if (qos === 2 ? count > (this.#forgotten.get(receiver)?.has(text) ? 2 : 1) : qos <= 0 && count > copies)
          problems.push(`${receiver} got "${text}" (QoS ${qos}) ${count} times`)
      }
    }
    return problems
  }

  /** First deliveries of QoS 1 and 2 keep the order of their publisher, topic by topic (MQTT-4.6.0-6). */
  disordered(): string[] {
    return this.disorders().map(({ receiver, text, line }) => `${receiver} got "${text}" after a later one of ${line}`)
  }

  /** The same, with the newer messages that each came behind. */
  disorders(): Disorder[] {
    const disorders: Disorder[] = []
    for (const [receiver, texts] of this.#received) {
      const seen = new Set<string>()
      const lines = new Map<string, { highest: number; before: [number: number, text: string][] }>()
      for (const text of texts) {
        if (seen.has(text)) continue
        seen.add(text)
        const sent = this.sent.get(text)
        if (sent === undefined || sent.qos < 1) continue
        const number = Number(text.split(' ')[1])
        const line = `${sent.publisher} ${sent.topic} ${sent.qos}`
        const { highest, before } = lines.get(line) ?? { highest: -1, before: [] }
        if (number < highest) {
          const newer = before.filter(([each]) => each > number).map(([, each]) => each)
          disorders.push({ receiver, text, line, newer })
        }
        before.push([number, text])
        lines.set(line, { highest: Math.max(number, highest), before })
      }
    }
    return disorders
  }
}
