import { assert } from '../base/assert.ts'
import { TokenBucket } from '../base/token-bucket.ts'
import type { Link, LinkId, RestingLink, RestingLinks, RestingSession, Waiting } from '../mqtt/link.ts'
import type { Will } from '../mqtt/packets.ts'
import type { SessionKey } from '../store/store.ts'
import { ClientLink, type LinkOwner } from './client-link.ts'
import type { BrokerContext } from './context.ts'
import { giveUpRoom } from './queue-room.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

type Parts = Pick<BrokerContext, 'limits' | 'expiry' | 'memory'>

/**
 * The sessions whose links rest. In place of its own link such a session has `#mark`, which stands for all of them: it is
 * connected, but does not listen, and is never ready. So queueing, wills, takeover and all counts need not know of links at rest;
 * whatever needs the link itself asks `linkOf`.
 */
export class RestingClients implements RestingLinks {
  needed: (session: RestingSession) => void = () => {}
  readonly #owner: LinkOwner
  readonly #parts: Parts
  readonly #sessions: Sessions
  readonly #links: Map<LinkId, ClientLink>
  readonly #mark: ClientLink
  #count = 0

  constructor(owner: LinkOwner, parts: Parts, sessions: Sessions, links: Map<LinkId, ClientLink>) {
    this.#owner = owner
    this.#parts = parts
    this.#sessions = sessions
    this.#links = links
    this.#mark = new ClientLink(0, { kind: 'sn', peer: '', listener: '' }, owner)
    this.#mark.listening = false
    // As if it were on the ready list, so that it never gets there.
    this.#mark.ready = true
  }

  /** The number of sessions that have a link of their own. */
  get connected(): number {
    return this.#sessions.connected - this.#count
  }

  stateOf(id: LinkId, will: Will | undefined): RestingLink | undefined {
    const link = this.#links.get(id)
    return link?.isIdle === true && link.client !== undefined && link.client.will === will ? link : undefined
  }

  rest(id: LinkId): RestingSession {
    const link = this.#links.get(id)
    const session = link?.client
    assert(link?.isIdle === true && session !== undefined, 'a link that rests is idle')
    session.link = this.#mark
    giveUpRoom(this.#parts, session)
    link.client = undefined
    this.#links.delete(id)
    this.#count++
    return session
  }

  resume(resting: RestingSession, { id, info, window, resumed, windowTold, patienceMs, lookups }: RestingLink): Link {
    // The owner has it from `rest`, and must not know more of it: a look-up by key would take 1 us of a wake.
    const session = resting as Session
    assert(session.link === this.#mark, 'a link that is resumed rests')
    const link = new ClientLink(id, info, this.#owner)
    link.client = session
    link.listening = false
    link.window = window
    link.windowBytes = this.#parts.limits.maxInflightBytes
    link.resumed = resumed
    link.windowTold = windowTold
    link.patienceMs = patienceMs
    if (lookups !== undefined)
      link.lookups = new TokenBucket(this.#parts.limits.maxRetainedLookupsPerSecond, lookups.tokens, lookups.filledAt)
    session.link = link
    this.#links.set(id, link)
    this.#count--
    return link
  }

  waiting(of: SessionKey | RestingSession): Waiting | undefined {
    const session = typeof of === 'string' ? this.#sessions.byKey(of) : (of as Session)
    if (session === undefined) return undefined
    const { queueLength, queuedBytes, inflight, inflightWeight } = session
    return { messages: queueLength + (inflight?.size ?? 0), bytes: queuedBytes + inflightWeight }
  }

  /** The link of a session, which is resumed first if it rests. */
  linkOf(session: Session): ClientLink | undefined {
    if (session.link === this.#mark) this.needed(session)
    assert(session.link !== this.#mark, 'a link that is needed is resumed')
    return session.link
  }
}
