import { COST, stringBytes } from '../base/memory-costs.ts'
import { NameMap } from '../base/name-map.ts'
import type { AccessCache } from '../broker/access.ts'

/** Topics remembered with their answers, for one client. */
const TOPICS_MAX = 256
/** Longer ones cost more than to look the rules through. */
const TOPIC_MAX = 256

/** What the rules of one client have answered; devices repeat their topics. */
export class Answers {
  readonly known = new NameMap<boolean>()
  bytes = 0
}

/**
 * What the access rules keep to answer faster: their answers, and rules with the names of clients put in. In bytes by which all of it is bounded; then it
 * begins anew. What goes with its client is counted until then.
 */
export class Remembered implements AccessCache {
  bytes = 0
  most = Number.POSITIVE_INFINITY
  readonly #answers = new Set<Answers>()
  readonly #forget: () => void

  /** `forget`: lets go of what was counted with `count`. */
  constructor(forget: () => void) {
    this.#forget = forget
  }

  answered(answers: Answers, topic: string, may: boolean): void {
    if (topic.length > TOPIC_MAX) return
    if (answers.known.size >= TOPICS_MAX) this.#drop(answers)
    const bytes = COST.entry + stringBytes(topic)
    this.count(bytes)
    if (answers.bytes === 0) this.#answers.add(answers)
    answers.bytes += bytes
    answers.known.set(topic, may)
  }

  /** So many bytes more, after making room for them. */
  count(bytes: number): void {
    if (this.bytes + bytes > this.most) this.clear()
    this.bytes += bytes
  }

  clear(): void {
    for (const answers of this.#answers) this.#drop(answers)
    this.#answers.clear()
    this.bytes = 0
    this.#forget()
  }

  #drop(answers: Answers): void {
    answers.known.clear()
    this.bytes -= answers.bytes
    answers.bytes = 0
  }
}
