import { SiteChecker } from './checker.ts'

/** A client id that is in use on one protocol keeps nobody out on the other (ruling A32). */
export class NobodyKeptOut extends SiteChecker {
  readonly name = 'nobody is kept out'

  look(): void {
    for (const clientId of this.site.namesakes.refused.splice(0)) this.tell(`a TCP client ${clientId} was refused for its name`)
  }
}
