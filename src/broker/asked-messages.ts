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
/** Part of that which those of one client may take, or all with QoS -1. */
const CLIENT_PART = 1 / 4

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
  /** Of those that wait, by session. */
  readonly #bytesOf = new NameMap<number>()
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
    const own = this.#bytesOf.get(session.key) ?? 0
    // One message of a client may be as large as all.
    const isTooMuch = own > 0 && own + bytes > this.#bytesMost * CLIENT_PART
    if (isTooMuch || this.#bytes + bytes > this.#bytesMost) {
      const whose = isTooMuch ? `${own} bytes of this client` : `${this.#bytes} bytes`
      return { limit: 'memory_limit', reason: `${bytes} bytes beside ${whose} that wait for the hook onPublish` }
    }
    message.own()
    const asked: Asked = { id: this.#nextId++, link, session, message, bytes }
    this.#bytes += bytes
    this.#bytesOf.set(session.key, own + bytes)
    // A stream that has ended is read on while a SUBSCRIBE takes several turns: that is what its end then abandons.
    if (link.info.kind === 'mqtt' && link.busy === '') link.busy = 'hook'
    const key = keyOf(asked)
    const queue = this.#waiting.get(key)
    if (queue !== undefined) queue.push(asked)
    else {
      const first = new Fifo<Asked>()
      first.push(asked)
      this.#waiting.set(key, first)
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
    const { link } = asked
    this.#open.delete(id)
    this.#release(asked)
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

  /** Drops the messages of a session that wait; returns their number. */
  drop(key: SessionKey): number {
    const queue = this.#waiting.size === 0 ? undefined : this.#waiting.get(key)
    if (queue === undefined) return 0
    this.#waiting.delete(key)
    for (const asked of queue) {
      this.#open.delete(asked.id)
      this.#release(asked)
    }
    return queue.length
  }

  #release({ session: { key }, bytes }: Asked): void {
    this.#bytes -= bytes
    const left = this.#bytesOf.get(key)! - bytes
    if (left === 0) this.#bytesOf.delete(key)
    else this.#bytesOf.set(key, left)
  }

  #question(asked: Asked): void {
    this.#open.set(asked.id, asked)
    this.#questions.push(asked)
  }
}

/** Whose messages it is in order with: datagrams without a connection have none, and one sender must not wait for another. */
const keyOf = ({ id, link, session }: Asked): string => (link.info.isShared === true ? `${session.key}/${id}` : session.key)
