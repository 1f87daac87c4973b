import { isOwnListener } from '../mqtt/link.ts'
import type { Publish } from '../mqtt/publish.ts'
import type { BrokerContext } from './context.ts'
import type { DeliveryFacts, Hooks } from './hooks.ts'
import { Inflight, type Session } from './session.ts'
import { Queued } from './session-queue.ts'

type Parts = Pick<BrokerContext, 'store' | 'stats' | 'notice' | 'limits'>

/**
 * The hook `onDeliver`: asked once for each message and client, when the message is about to be sent for the first time in this
 * process. What it returns is what is in flight from then on, so a message that is sent again is the same.
 */
export class DeliveryHook {
  readonly #parts: Parts
  readonly #hook: NonNullable<Hooks['onDeliver']>
  /** What it has been asked about and is still in flight. */
  readonly #seen = new WeakSet<Queued>()
  /** What was published, by what was sent in place of it. */
  readonly #originals = new WeakMap<Publish, Publish>()

  constructor(parts: Parts, hook: NonNullable<Hooks['onDeliver']>) {
    this.#parts = parts
    this.#hook = hook
  }

  /** The message as it is to be sent to this client; `undefined` if it was dropped. */
  plain(session: Session, message: Publish): Publish | undefined {
    return this.#changed(session, message, message.qos, false)
  }

  /** The same for one that is in the queue with its own QoS; the object is another if it was changed. */
  queued(session: Session, entry: Queued): Queued | undefined {
    if (this.#seen.has(entry)) return entry
    const { qos, retain, subscriptionIdentifiers, share } = entry
    const message = this.#changed(session, entry.message, qos, retain)
    if (message === undefined) return undefined
    const sent = message === entry.message ? entry : new Queued(message, qos, retain, subscriptionIdentifiers, share)
    this.#seen.add(sent)
    return sent
  }

  /** The same for one that was in flight when its session was resumed, perhaps by a process before this one. */
  resent(session: Session, inflight: Inflight): Inflight | undefined {
    const { queued, packetId, lsn, departed } = inflight
    const sent = this.queued(session, queued)
    if (sent === queued) return inflight
    session.complete(inflight)
    if (sent === undefined) return undefined
    const changed = new Inflight(sent, packetId, lsn)
    changed.departed = departed
    session.join(changed)
    return changed
  }

  /** The message as it was published: another client may be sent it. */
  originalOf(sent: Publish): Publish {
    return this.#originals.get(sent) ?? sent
  }

  #changed(session: Session, message: Publish, qos: Queued['qos'], retain: boolean): Publish | undefined {
    const { kind, clientId, username, listener } = session
    if (isOwnListener(listener)) return message
    const { topic, payload, properties, from } = message
    const facts: DeliveryFacts = { kind, clientId, username, listener, topic, payload, qos, retain, properties, from }
    const answer = this.#hook(facts)
    if (answer === undefined) return message
    if (answer === 'drop') {
      this.#drop(session, message)
      return undefined
    }
    const changed = message.copy()
    changed.held = undefined
    // As the store knows the message, and what it must wait for.
    changed.id = message.id
    changed.receiptLsn = message.receiptLsn
    changed.change(topic, answer.payload ?? payload, answer.properties ?? properties)
    this.#originals.set(changed, message)
    return changed
  }

  #drop({ key, persistent }: Session, { id, topic }: Publish): void {
    const { store, stats, notice } = this.#parts
    stats.publishDropped++
    if (persistent && id !== 0) store.append({ type: 'done', key, id })
    notice({ code: 'message-dropped', level: 'debug', client: key, reason: `by the hook onDeliver on ${topic}` })
  }
}
