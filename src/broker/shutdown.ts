import type { Instant } from '../base/machine.ts'
import type { LinkId } from '../mqtt/link.ts'
import type { Pace } from '../store/pace.ts'
import type { ClientLink } from './client-link.ts'
import { willDelaySeconds } from './session-clocks.ts'
import type { SessionWills } from './session-wills.ts'

/** What the shutdown needs of the broker. */
export interface ShutdownOwner {
  close(now: Instant, link: ClientLink, reasonCode: number): void
}

/**
 * The end of the process, in two steps over as many turns as they take: the wills of MQTT clients are published, then their
 * connections closed.
 */
export class Shutdown {
  readonly #links: ReadonlyMap<LinkId, ClientLink>
  readonly #pace: Pace
  readonly #wills: SessionWills
  readonly #owner: ShutdownOwner
  /** Links that the current step has not reached yet. */
  #left: Iterator<ClientLink> | undefined

  constructor(links: ReadonlyMap<LinkId, ClientLink>, pace: Pace, wills: SessionWills, owner: ShutdownOwner) {
    this.#links = links
    this.#pace = pace
    this.#wills = wills
    this.#owner = owner
  }

  /**
   * Publishes the wills of MQTT clients, because the server closes their connections [5.0 section 3.1.2.5]. Sensors keep their
   * state, and continue after the restart. Returns false if there are more: call again. A will that the store has no room for is
   * published by the next process.
   */
  publishWills(now: Instant): boolean {
    return this.#each(now, ({ client }) => {
      if (client !== undefined && willDelaySeconds(client) === 0) this.#wills.fire(now, client)
    })
  }

  /**
   * MQTT 5 clients get DISCONNECT with this reason code, 3.x connections are closed. Returns false if there are more: call again.
   */
  closeAll(now: Instant, reasonCode: number): boolean {
    return this.#each(now, (link) => this.#owner.close(now, link, reasonCode))
  }

  #each(now: Instant, action: (link: ClientLink) => void): boolean {
    this.#left ??= this.#links.values()
    const links = this.#left
    const done = this.#pace.run(now, () => {
      const link = links.next().value
      if (link?.info.kind === 'mqtt') action(link)
      return link !== undefined
    })
    if (done) this.#left = undefined
    return done
  }
}
