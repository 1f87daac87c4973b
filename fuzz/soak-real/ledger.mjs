const SHOWN_MAX = 20

/** A group of clients that keep their sessions: each gets what any of them publishes to the topics of the room. */
export class Room {
  members = []

  constructor(number) {
    this.topics = [undefined, `soak/room/${number}/q1`, `soak/room/${number}/q2`]
  }
}

/**
 * What was published, acknowledged and received, packet by packet. Messages are judged and forgotten round by round; counters of packets run
 * from the beginning, each with its doubt: what a connection that broke may or may not have carried.
 */
export class Ledger {
  /** PUBLISH packets that clients sent; and of those, how many the broker may not have seen. */
  published = { certain: 0, doubt: 0, bytes: 0 }
  /** PUBLISH packets that clients received, or must have missed; and how many more the broker may have sent. */
  delivered = { certain: 0, doubt: 0, bytes: 0 }
  acknowledged = 0
  receipts = 0
  repeats = 0
  retained = new Map()
  problems = 0
  shown = []
  /** By text. */
  #messages = new Map()
  /** The last message of each publisher that a receiver had first, by receiver, publisher and topic. */
  #last = new Map()
  #count = 0

  problem(what) {
    this.problems++
    if (this.shown.length < SHOWN_MAX) this.shown.push(what)
  }

  /** A new message; gives its text. */
  publish(publisher, room, qos) {
    const text = `${publisher} ${++this.#count}`
    this.#messages.set(text, { publisher, room, qos, number: this.#count, state: 'open', got: new Map() })
    return text
  }

  acknowledge(text) {
    const message = this.#messages.get(text)
    if (message === undefined || message.state === 'acknowledged') return
    message.state = 'acknowledged'
    this.acknowledged++
  }

  /** The publisher gave up, or was refused: it may have arrived or not. */
  giveUp(text) {
    const message = this.#messages.get(text)
    if (message?.state === 'open') message.state = 'given up'
  }

  /** `qos` is that of the delivery. Gives whether this receiver had none before. */
  receive(receiver, text, qos) {
    const message = this.#messages.get(text)
    if (message === undefined) {
      this.problem(`${receiver} got "${text}", which nobody has sent, or which was settled long ago`)
      return false
    }
    const times = (message.got.get(receiver) ?? 0) + 1
    message.got.set(receiver, times)
    this.receipts++
    if (times > 1) {
      this.repeats++
      if (qos === 2) this.problem(`${receiver} got "${text}" with QoS 2 ${times} times`)
      return false
    }
    const line = `${receiver} ${message.publisher} ${message.qos}`
    if (message.number < (this.#last.get(line) ?? 0)) this.problem(`${receiver} got "${text}" after a later one`)
    else this.#last.set(line, message.number)
    return true
  }

  /** What keeps the round from being over: acknowledgements that are open, and messages that somebody has not got. */
  missing() {
    const missing = []
    for (const [text, { state, room, qos, got }] of this.#messages) {
      if (state === 'open') missing.push(`"${text}" (QoS ${qos}) was never acknowledged`)
      if (state !== 'acknowledged') continue
      for (const { id } of room.members) if (!got.has(id)) missing.push(`${id} never got "${text}" (QoS ${qos})`)
    }
    return missing
  }

  /** Everything up to here has been judged. */
  endRound() {
    for (const what of this.missing()) this.problem(what)
    this.#messages.clear()
  }
}
