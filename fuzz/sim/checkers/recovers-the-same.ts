import type { Notice } from '../../../src/base/notice.ts'
import type { Session } from '../../../src/broker/session.ts'
import { messageOf, qosOf } from '../../../src/broker/session-queue.ts'
import type { Publish } from '../../../src/mqtt/publish.ts'
import type { Lsn } from '../../../src/store/store.ts'
import { dropsTold } from '../drops-told.ts'
import { BRIDGE } from '../station.ts'
import { stateTopic, TOPICS } from '../step.ts'
import { textOf } from '../texts.ts'
import type { World } from '../world.ts'
import { SiteChecker } from './checker.ts'

/** What has to be there again, each thing as a line. */
type Kept = Map<string, string>

/**
 * A new process that finds all records of the one before has its state: sessions with what they subscribe to, what waits for them and how far each
 * exchange has come; retained messages; sensors, their topic ids and wills. Of streams nothing is left, and QoS 0 waits for nobody.
 */
export class RecoversTheSame extends SiteChecker {
  readonly name = 'a restart changes nothing'
  #before: Kept | undefined = undefined

  crashed(survived: Lsn, appended: Lsn, refused: boolean): void {
    // What the store has refused is in no record.
    this.#before = survived === appended && !refused && !isBehind(this.site.world) ? this.#kept() : undefined
  }

  /** A will that it publishes at once may find no room in a queue, in which what was in flight waits again. */
  notice(notice: Notice): void {
    if (notice.client !== undefined && dropsTold(notice) > 0) this.#before?.delete(notice.client)
  }

  recovered(): void {
    const before = this.#before
    if (before === undefined) return
    const after = this.#kept()
    for (const [what, was] of before) {
      const is = after.get(what)
      if (is !== was) this.tell(`${what} was ${was}, and is ${is ?? 'gone'}`)
    }
    this.#before = undefined
  }

  #kept(): Kept {
    const { broker, gateway } = this.site.world.server
    const kept = new Map<string, string>()
    for (const { id } of this.site.nodes) {
      const client = gateway.client(id)
      // Whoever is in the middle of a change is recorded as it was before.
      if (client?.link === undefined || (client.state !== 'active' && client.state !== 'asleep') || client.setup.isUnderWay)
        continue
      const { state, durationSeconds, sleepSeconds, cleanSession, will, registry } = client
      const ids = TOPICS.map((topic) => registry.idOf(topic) ?? 0)
      kept.set(`sensor ${id}`, `${state} ${durationSeconds} ${sleepSeconds} ${cleanSession}, ids ${ids}`)
      kept.set(`will of ${id}`, will === undefined ? 'none' : textOf(will.payload))
      const session = broker.sessions.get('sn', id)
      if (session !== undefined)
        kept.set(
          session.key,
          sessionLine(session, (message) => this.#mayDiffer(message)),
        )
    }
    for (const { id } of this.site.stations) {
      const session = broker.sessions.get('mqtt', id)
      if (session !== undefined && session.expirySeconds > 0)
        kept.set(
          session.key,
          sessionLine(session, (message) => this.#mayDiffer(message)),
        )
    }
    for (const topic of TOPICS) {
      const message = broker.retained.get(topic)
      kept.set(`retained on ${topic}`, message === undefined || this.#hasExpired(message) ? '' : textOf(message.payload))
    }
    return kept
  }

  /** It may leave, or it is what a new process says itself: that a bridge is lost. */
  #mayDiffer(message: Publish): boolean {
    return message.topic === stateTopic(BRIDGE) || this.#hasExpired(message)
  }

  /** It may leave at any moment. */
  #hasExpired({ expiresAt }: Publish): boolean {
    return expiresAt !== undefined && expiresAt <= this.site.world.schedule.now
  }
}

/** A session without what belongs to its conversation, and without messages of QoS 1 that may leave or come at any moment. */
export function sessionLine(session: Session, mayDiffer: (message: Publish) => boolean = () => false): string {
  const { subscriptions, inflight, receipts, expirySeconds } = session
  const filters = [...(subscriptions?.values() ?? [])].map(
    ({ filter, qos, noLocal, retainAsPublished }) => `${filter} ${qos} ${noLocal} ${retainAsPublished}`,
  )
  const waiting: string[] = []
  for (const entry of session.queue ?? []) {
    const message = messageOf(entry)
    if (message.id !== 0 && qosOf(entry) > 0 && !mayDiffer(message)) waiting.push(textOf(message.payload))
  }
  const exchanges: string[] = []
  for (const { queued, packetId, released } of inflight?.values() ?? []) {
    const counts = queued.message.id !== 0 && (queued.qos === 2 || !mayDiffer(queued.message))
    if (!released && counts) waiting.push(textOf(queued.message.payload))
    // The id of QoS 1 has no record.
    if (queued.qos === 2) exchanges.push(`${packetId}${released ? ' released' : ''}`)
  }
  const parts = [filters, waiting, exchanges, receipts?.packetIds ?? []]
  return `expiry ${expirySeconds}, subscribed to, waiting, under way, received: ${parts.map((part) => `[${part.sort()}]`).join(' ')}`
}

/** A will or an end of a session is due and waits for room in the store: the next process finds room. */
export const isBehind = ({ server, schedule }: World): boolean =>
  [...server.broker.sessions].some(({ timers }) =>
    timers.some(({ armed, deadline, owner }) => armed && owner.about !== 'grant' && deadline <= schedule.now),
  )
