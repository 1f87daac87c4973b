import { fulfils } from '../claims.ts'
import { SiteChecker } from './checker.ts'

/** Whose subscriptions all have a condition gets nothing that does not fulfil it: live, retained, from the queue, after restarts and crashes. */
export class ConditionsHold extends SiteChecker {
  readonly name = 'a condition holds'

  look(): void {
    const { claims } = this.site
    for (const { id, conditional, got, kept } of claims.receivers.values()) {
      if (!conditional) continue
      const wrong = [...got, ...kept].find((text) => claims.published.has(text) && !fulfils(text))
      if (wrong !== undefined && this.found.length === 0) this.tell(`${id} got "${wrong}", which its condition excludes`)
    }
  }
}
