import { COST, stringBytes } from '../base/memory-costs.ts'
import { NameMap } from '../base/name-map.ts'
import type { AccessCache } from '../broker/access.ts'

/** Maximum number of remembered topics per client. */
const TOPICS_MAX = 256
/** Maximum length of a remembered topic. Remembering a longer one costs more than evaluating the rules. */
const TOPIC_MAX = 256

/** Remembered answers of the rules of one client; devices repeat their topics. */
export class Answers {
  readonly known = new NameMap<boolean>()
  bytes = 0
}

/**
 * Cache of the access rules: answers, and rules with the names of clients inserted. Its memory is limited; when the
 * limit is reached, everything is dropped. Data that is freed together with its client stays counted until then.
 */
export class Remembered implements AccessCache {
  bytes = 0
  most = Number.POSITIVE_INFINITY
  readonly #answers = new Set<Answers>()
  readonly #forget: () => void

  /** `forget`: drops the data that was counted with `count`. */
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

  /** Counts `bytes` more, after making room for them. */
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
