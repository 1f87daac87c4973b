/** A message of a sensor, or for one. */
export interface RoamMessage {
  readonly number: number
  readonly text: string
  readonly topic: string
  readonly qos: 0 | 1 | 2
  /** Of the sensor. */
  readonly node: number
  readonly way: 'up' | 'down'
  readonly at: number
  /** When the publisher was told; `undefined`: it was not. */
  acknowledgedAt: number | undefined
  /** PUBLISH datagrams with it that reached a gateway, and that a gateway sent: the radio may double them. */
  arrived: number
  handed: number
  /** The cluster was made to forget the session that it had to wait in, or may have been in. */
  inDoubt: boolean
}

/** Who gets messages: a sensor, or an application at the cluster. */
export interface RoamReceiver {
  readonly id: string
  readonly way: 'up' | 'down'
  /** Of the sensor; -1 for applications, which get everything. */
  readonly node: number
  readonly qos: 1 | 2
  readonly got: { readonly text: string; readonly topic: string | undefined }[]
  /** Subscribed from then on. */
  since: number
}

/** What sensors and applications did, and what they may count on. */
export class RoamClaims {
  readonly published = new Map<string, RoamMessage>()
  readonly receivers: RoamReceiver[] = []
  /** QoS that the cluster serves at most. */
  readonly #maximumQos: 1 | 2
  /** Drops that were told. */
  dropped = 0
  #count = 0
  /** Sensors whose session is lost, and which may not be subscribed again. */
  readonly #forgotten = new Set<number>()

  constructor(maximumQos: 1 | 2) {
    this.#maximumQos = maximumQos
  }

  receiver(id: string, way: 'up' | 'down', node: number, qos: 1 | 2): RoamReceiver {
    const receiver: RoamReceiver = { id, way, node, qos, got: [], since: Number.POSITIVE_INFINITY }
    this.receivers.push(receiver)
    return receiver
  }

  publish(publisher: string, way: 'up' | 'down', node: number, topic: string, qos: 0 | 1 | 2, at: number): RoamMessage {
    const number = this.#count++
    const text = `${publisher} ${number} ${topic}`
    const one: RoamMessage = {
      number,
      text,
      topic,
      qos,
      node,
      way,
      at,
      acknowledgedAt: undefined,
      arrived: 0,
      handed: 0,
      inDoubt: this.#forgotten.has(node),
    }
    this.published.set(text, one)
    return one
  }

  /** The session of this sensor at the cluster is gone, with what waited in it. */
  forget(node: number): void {
    this.#forgotten.add(node)
    for (const one of this.published.values()) if (one.node === node) one.inDoubt = true
  }

  /** They are. */
  remember(): void {
    this.#forgotten.clear()
  }

  isFor(receiver: RoamReceiver, one: RoamMessage): boolean {
    return one.way === receiver.way && (receiver.node === -1 || receiver.node === one.node)
  }

  qosFor({ qos: most }: RoamReceiver, { qos }: RoamMessage): 0 | 1 | 2 {
    return Math.min(qos, most, this.#maximumQos) as 0 | 1 | 2
  }

  /** What this receiver is owed, and has not got, of what was acknowledged before `before`. */
  owed(receiver: RoamReceiver, before = Number.POSITIVE_INFINITY): RoamMessage[] {
    const seen = new Set(receiver.got.map(({ text }) => text))
    return [...this.published.values()].filter(
      (one) =>
        this.isFor(receiver, one) &&
        one.acknowledgedAt !== undefined &&
        one.acknowledgedAt < before &&
        one.at >= receiver.since &&
        this.qosFor(receiver, one) > 0 &&
        !(one.inDoubt && one.way === 'down') &&
        !seen.has(one.text),
    )
  }

  lost(): string[] {
    const missing = this.receivers.flatMap((receiver) =>
      this.owed(receiver).map(({ text, qos }) => `${receiver.id} never got "${text}" with QoS ${qos}`),
    )
    return missing.length <= this.dropped ? [] : missing.map((what) => `${what}, and ${this.dropped} drops were told`)
  }

  /** What comes under another topic than it was published on. */
  misrouted(): string[] {
    return this.receivers.flatMap((receiver) =>
      receiver.got.flatMap(({ text, topic }) => {
        const one = this.published.get(text)
        if (one === undefined || !this.isFor(receiver, one)) return [`${receiver.id} got "${text}", which is not for it`]
        return one.topic === topic ? [] : [`${receiver.id} got "${text}" on ${topic}`]
      }),
    )
  }

  /** QoS 2 comes once where the cluster serves it, and QoS 0 at most once. */
  repeated(): string[] {
    return this.receivers.flatMap((receiver) => {
      const times = new Map<string, number>()
      for (const { text } of receiver.got) times.set(text, (times.get(text) ?? 0) + 1)
      return [...times].flatMap(([text, count]) => {
        const one = this.published.get(text)
        if (one === undefined || count === 1) return []
        const qos = this.qosFor(receiver, one)
        const tooOften = qos === 0 ? this.#isDoubled(one, count) : one.qos === 2 && qos === 2
        return tooOften && !one.inDoubt ? [`${receiver.id} got "${text}" with QoS ${qos} ${count} times`] : []
      })
    })
  }

  /** A gateway, or the cluster, has made more of it than it got. */
  #isDoubled({ way, arrived, handed }: RoamMessage, count: number): boolean {
    return way === 'up' ? count > arrived : handed > 1
  }

  /** First deliveries keep the order of their publisher, for each topic and QoS. */
  disordered(): string[] {
    return this.receivers.flatMap((receiver) => {
      const last = new Map<string, number>()
      return [...new Set(receiver.got.map(({ text }) => text))].flatMap((text) => {
        const one = this.published.get(text)
        if (one === undefined || one.qos < 1 || one.inDoubt) return []
        const line = `${text.split(' ')[0]} ${one.topic} ${one.qos}`
        const before = last.get(line) ?? -1
        last.set(line, Math.max(before, one.number))
        return one.number < before ? [`${receiver.id} got "${text}" after a later one of ${line}`] : []
      })
    })
  }
}
