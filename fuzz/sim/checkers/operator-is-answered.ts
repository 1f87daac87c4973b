import { textOf } from '../texts.ts'
import { SiteChecker } from './checker.ts'

/** What was deleted over HTTP, and answered, stays so, crash or not; and lists have everybody who is there. */
export class OperatorIsAnswered extends SiteChecker {
  readonly name = 'what an operator is answered holds'
  #told = 0

  look(): void {
    const { operator, world } = this.site
    for (const what of operator.found.slice(this.#told)) this.tell(what)
    this.#told = operator.found.length
    for (const [text, topic] of operator.deleted) {
      const message = world.server.broker.retained.get(topic)
      if (message !== undefined && textOf(message.payload) === text)
        this.tell(`"${text}" on ${topic} was deleted, and is retained`)
    }
  }
}
