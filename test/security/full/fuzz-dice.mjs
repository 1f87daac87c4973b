// Random names, sizes and properties for the fuzzer of memory: the same ones for the same seed.
import { deep } from './memory-attacks.mjs'

const NAMES = 200

export class Dice {
  #state

  constructor(seed) {
    this.#state = seed >>> 0
  }

  next() {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return this.#state / 2 ** 32
  }

  below(count) {
    return Math.floor(this.next() * count)
  }

  oneIn(count) {
    return this.below(count) === 0
  }

  pick(list) {
    return list[this.below(list.length)]
  }

  /** One of `[weight, value]`. */
  weighted(choices) {
    let left = this.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, value] of choices) {
      left -= weight
      if (left < 0) return value
    }
    return choices.at(-1)[1]
  }

  /** Mostly small, seldom as large as it may be. */
  size(most) {
    return Math.floor(most * this.next() ** 4)
  }

  bytes(most) {
    return Buffer.alloc(this.size(most), 'x')
  }

  text(most) {
    return this.pick(['x', 'é', 'ж', 'x', 'x']).repeat(Math.floor(this.size(most) / 2))
  }

  /** A loopback address, so that the share of one address is not what stops everybody. */
  address() {
    return `127.0.0.${2 + this.below(8)}`
  }

  topic(most = 60_000) {
    return this.oneIn(4) ? deep(this.below(100_000), 1 + this.below(128)) : `${this.below(NAMES)}/${this.text(most)}`
  }

  /** A topic that many filters match. */
  busyTopic() {
    return `${this.below(NAMES)}/a`
  }

  filter() {
    return this.weighted([
      [3, this.topic()],
      [2, `${this.below(NAMES)}/+/${this.text(1000)}`],
      [3, `${this.below(NAMES)}/#`],
      [1, `${this.below(NAMES)}/+`],
      [2, `$share/${this.below(1000)}/${this.below(50)}/#`],
    ])
  }

  /** What MQTT 5 lets a message carry; a will as well. */
  messageProperties() {
    if (this.oneIn(2)) return {}
    return {
      userProperties: Array.from({ length: this.size(1000) }, () => [this.text(200), this.text(1000)]),
      ...(this.oneIn(4) && { contentType: this.text(60_000) }),
      ...(this.oneIn(4) && { responseTopic: this.topic() }),
      ...(this.oneIn(4) && { correlationData: this.bytes(60_000) }),
      ...(this.oneIn(4) && { messageExpiryInterval: 1 + this.below(100) }),
    }
  }
}
