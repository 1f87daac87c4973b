import { isoTime } from '../base/iso-time.ts'
import type { Instant } from '../base/machine.ts'
import type { LiveLevel, LiveSpace, LiveTopics } from '../broker/live-topics.ts'
import type { Bridge } from '../upstream/bridge.ts'
import { type BridgeQueue, versionOf } from './bridge-figures.ts'
import { levelOf } from './names.ts'

/** What the presence of bridges is made of. */
export interface BridgeSurroundings {
  readonly all: readonly Bridge[]
  queueOf(bridge: Bridge): BridgeQueue
}

/** Milliseconds between two looks for what has changed. */
const LOOK_MS = 1000
const ENCODER = new TextEncoder()

/**
 * A retained JSON message for each bridge under `$SYS`, which is made when a client subscribes, and sent when it says something
 * else, at most once a second. There are few bridges, so all of them are looked at, but only while somebody subscribes.
 */
export class BridgePresence implements LiveSpace {
  readonly prefix = '$SYS/broker/roost/bridges/'
  readonly suffix = ''
  readonly #around: BridgeSurroundings
  readonly #live: LiveTopics
  readonly #wallEpoch: () => number
  /** What subscribers know, by name. */
  readonly #said = new Map<string, string>()
  #isWanted = false
  #lookAt: Instant = 0

  /** `wallEpoch`: the wall clock at instant 0, in milliseconds since 1970. */
  constructor(around: BridgeSurroundings, live: LiveTopics, wallEpoch: () => number) {
    this.#around = around
    this.#live = live
    this.#wallEpoch = wallEpoch
    live.add(this)
  }

  owns(): boolean {
    return true
  }

  isSearch(): boolean {
    return false
  }

  *find(level: string | undefined): Iterable<LiveLevel> {
    for (const bridge of this.#around.all) {
      const own = levelOf(bridge.options.name)
      if (level === undefined || level === own) yield { level: own, payload: () => ENCODER.encode(this.#textOf(bridge)) }
    }
  }

  wanted(on: boolean): void {
    this.#isWanted = on
    // The subscription itself finds what there is now.
    for (const bridge of this.#around.all) this.#said.set(bridge.options.name, on ? this.#textOf(bridge) : '')
  }

  handleTimeout(now: Instant): void {
    if (!this.#isWanted || now < this.#lookAt) return
    this.#lookAt = now + LOOK_MS
    for (const bridge of this.#around.all) {
      const { name } = bridge.options
      const text = this.#textOf(bridge)
      if (this.#said.get(name) === text) continue
      this.#said.set(name, text)
      this.#live.publish(now, this.prefix + levelOf(name), ENCODER.encode(text))
    }
  }

  nextTimeout(): Instant | undefined {
    return this.#isWanted ? this.#lookAt : undefined
  }

  /** Some 250 bytes. Fields that do not apply are left out, and later versions may add others. */
  #textOf(bridge: Bridge): string {
    const { options, state, since, remote } = bridge
    const { target, version, dials, connects, roundTripMs, lastError } = remote.status
    const { messages, bytes, since: waitsSince } = this.#around.queueOf(bridge)
    const time = (instant: Instant): string => isoTime(this.#wallEpoch() + instant)
    return JSON.stringify({
      ...{ name: options.name, state, since: time(since), target, version: versionOf(version) },
      ...{ waiting_messages: messages, waiting_bytes: bytes },
      waiting_since: waitsSince === undefined ? undefined : time(waitsSince),
      ...{ dials, connects },
      round_trip_ms: roundTripMs === undefined ? undefined : Math.round(roundTripMs),
      last_error: state === 'connected' || lastError === '' ? undefined : lastError,
    })
  }
}
