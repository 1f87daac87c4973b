import type { Published } from '../claims.ts'
import { SiteChecker } from './checker.ts'

/** QoS 0 to 2 as promised, in order; asked of what the applications got. */
export class PromisesKept extends SiteChecker {
  readonly name = 'once, and in order'

  look(): void {
    const { claims } = this.site
    // Without a lasting session a publisher that comes back after a crash cannot know what arrived.
    // Nor one whose session has expired what arrived before.
    const exactlyOnce = ({ publisher, number }: Published): boolean => {
      const { lasting, expiredBefore } = claims.receivers.get(publisher)!
      return lasting && number > expiredBefore
    }
    for (const what of [...claims.repeated(exactlyOnce), ...claims.disordered()])
      if (!this.found.some((told) => told.endsWith(what))) this.tell(what)
  }
}
