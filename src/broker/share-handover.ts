import type { Instant } from '../base/machine.ts'
import type { BrokerContext } from './context.ts'
import type { Publisher } from './publisher.ts'
import type { Session } from './session.ts'
import { Queued } from './session-queue.ts'
import { candidates } from './targets.ts'

/** What passing messages on may cost in one turn, in levels and members looked at: a few milliseconds. */
const PASSED_PER_TURN = 2048
/** What a message that is passed on costs in addition to the search for its receiver, and one that is not passed on. */
const PASSED_LOOKS = 4
const ENTRY_LOOKS = 1 / 4

/** Hands messages of shared subscriptions over from a session that ends to another member of the group [5.0 section 4.8.2]. */
export class ShareHandover {
  readonly #context: BrokerContext
  readonly #publisher: Publisher
  /** What has been passed on in this turn has cost, in levels and members looked at. */
  #passed = 0

  constructor(context: BrokerContext, publisher: Publisher) {
    this.#context = context
    this.#publisher = publisher
  }

  /**
   * A session ended: what waited for it as a member of shared subscriptions goes to another member, QoS 1 in flight included. QoS
   * 2 that has left stays with the one it was sent to (MQTT-4.8.2-5), and so is gone. 'full': the store has no room; 'more': the
   * turn has had its share. Then the rest is still in the session, and is passed on by another call.
   */
  passOn(now: Instant, session: Session): 'done' | 'more' | 'full' {
    for (const inflight of session.inflight?.values() ?? []) {
      const { queued, departed } = inflight
      if (this.#passed >= PASSED_PER_TURN) return 'more'
      // [MQTT-4.8.2-5]
      if ((queued.qos === 1 || !departed) && !this.#passOn(now, session, queued)) return 'full'
      session.complete(inflight)
    }
    const { queue } = session
    for (let entry = queue?.peek(); entry !== undefined; entry = queue?.peek()) {
      if (this.#passed >= PASSED_PER_TURN) return 'more'
      if (entry instanceof Queued && entry.qos > 0 && !this.#passOn(now, session, entry)) return 'full'
      this.#passed += ENTRY_LOOKS
      queue?.shift()
    }
    return 'done'
  }

  /** The turn is over. */
  endTurn(): void {
    this.#passed = 0
  }

  #passOn(now: Instant, from: Session, { message: sent, share }: Queued): boolean {
    if (share === undefined) return true
    const { store, router, deliveryHook } = this.#context
    const message = deliveryHook?.originalOf(sent) ?? sent
    if (!store.hasRoom) return false
    const before = router.looked
    const shared = router.route(message.topic).shared.find(({ group }) => group.name === share)
    const members = shared === undefined ? [] : candidates(this.#context.conditions, shared, message, now)
    const target = shared?.group.pick(members, message, this.#publisher.room)
    this.#passed += router.looked - before + PASSED_LOOKS
    if (target === undefined) {
      this.#context.stats.publishDropped++
      const reason = `message on ${message.topic}: no member of ${share} is left that it is for`
      this.#context.notice({ code: 'message-dropped', level: 'info', reason })
      return true
    }
    if (this.#publisher.deliverCopy(now, target, message) === 'full') return false
    // The end of this session may take many turns: after a crash in between it must not have what another one has got.
    if (from.persistent && message.id !== 0) store.append({ type: 'done', key: from.key, id: message.id })
    return true
  }
}
