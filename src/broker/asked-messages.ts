import { Fifo } from '../base/fifo.ts'
import type { Instant } from '../base/machine.ts'
import type { Memory, OverMemory } from '../base/memory.ts'
import { COST, stringBytes } from '../base/memory-costs.ts'
import { NameMap } from '../base/name-map.ts'
import { type Publish, propertyMemory } from '../mqtt/publish.ts'
import type { SessionKey } from '../store/store.ts'
import type { ClientLink } from './client-link.ts'
import type { PublishAnswer, PublishQuestion } from './hooks.ts'
import type { Session } from './session.ts'

/** Part of the memory limit that messages may take while they wait for a hook. */
const ASKED_PART = 1 / 8

/** A message that was read, and is neither accepted nor refused. */
export interface Asked {
  readonly id: number
  /** Where it came from; closed, or that of another session, if the client has left since. */
  readonly link: ClientLink
  readonly session: Session
  readonly message: Publish
  readonly bytes: number
}

/**
 * Messages that wait for the answer of the hook `onPublish`. Of each client one is asked about at a time, and the next one only
 * when it has been answered: so their order is kept, and an MQTT client is not read meanwhile, as while it is verified. A client
 * that leaves does not take back what was read from it.
 */
export class AskedMessages {
  /** Receives the answers, in the order of each client's messages. */
  answer: (now: Instant, asked: Asked, answer: PublishAnswer) => void = () => {}
  /** By session: the first of each is asked about. A sensor may have several, and a stream that has ended. */
  readonly #waiting = new NameMap<Fifo<Asked>>()
  readonly #open = new Map<number, Asked>()
  readonly #questions = new Fifo<Asked>()
  readonly #bytesMost: number
  #bytes = 0
  #nextId = 1

  constructor(memory: Memory) {
    this.#bytesMost = memory.limits.memoryLimit * ASKED_PART
    memory.count('receive_buffers', () => this.#bytes)
  }

  /** The number of messages that wait. */
  get size(): number {
    let count = 0
    for (const [, queue] of this.#waiting) count += queue.length
    return count
  }

  /** Has the hook asked about a message. If too much waits already, does nothing and returns the limit. */
  ask(link: ClientLink, session: Session, message: Publish): OverMemory | undefined {
    const bytes = COST.message + stringBytes(message.topic) + message.payloadLength + propertyMemory(message.properties)
    if (this.#bytes + bytes > this.#bytesMost)
      return { limit: 'memory_limit', reason: `${bytes} bytes beside ${this.#bytes} bytes that wait for the hook onPublish` }
    message.own()
    const asked: Asked = { id: this.#nextId++, link, session, message, bytes }
    this.#bytes += bytes
    if (link.info.kind === 'mqtt') link.busy = 'hook'
    const key = keyOf(asked)
    const queue = this.#waiting.get(key)
    if (queue !== undefined) queue.push(asked)
    else {
      const own = new Fifo<Asked>()
      own.push(asked)
      this.#waiting.set(key, own)
      this.#question(asked)
    }
    return undefined
  }

  /** The next question for the shell; its answer is `answered`. */
  nextQuestion(): PublishQuestion | undefined {
    for (let asked = this.#questions.shift(); asked !== undefined; asked = this.#questions.shift()) {
      // It was dropped in the meantime.
      if (!this.#open.has(asked.id)) continue
      const { kind, clientId, username, listener } = asked.session
      const { topic, payload, qos, retain, properties } = asked.message
      return { id: asked.id, kind, clientId, username, listener, topic, payload, qos, retain, properties }
    }
    return undefined
  }

  /** The answer to a question; ignored if its message no longer waits. */
  answered(now: Instant, id: number, answer: PublishAnswer): void {
    const asked = this.#open.get(id)
    if (asked === undefined) return
    const { link, bytes } = asked
    this.#open.delete(id)
    this.#bytes -= bytes
    const key = keyOf(asked)
    const queue = this.#waiting.get(key)!
    queue.shift()
    const next = queue.peek()
    if (next === undefined) this.#waiting.delete(key)
    else this.#question(next)
    if (link.busy === 'hook') link.busy = ''
    this.answer(now, asked, answer)
    if (link.client !== undefined) link.wake()
  }

  /** Whether messages of this session wait. */
  has(key: SessionKey): boolean {
    return this.#waiting.size > 0 && this.#waiting.get(key) !== undefined
  }

  /** Drops the messages of a session that wait; returns their number. */
  drop(key: SessionKey): number {
    const queue = this.#waiting.size === 0 ? undefined : this.#waiting.get(key)
    if (queue === undefined) return 0
    this.#waiting.delete(key)
    for (const { id, bytes } of queue) {
      this.#open.delete(id)
      this.#bytes -= bytes
    }
    return queue.length
  }

  #question(asked: Asked): void {
    this.#open.set(asked.id, asked)
    this.#questions.push(asked)
  }
}

/** Whose messages it is in order with: datagrams without a connection have none, and one sender must not wait for another. */
const keyOf = ({ id, link, session }: Asked): string => (link.info.isShared === true ? `${session.key}/${id}` : session.key)
