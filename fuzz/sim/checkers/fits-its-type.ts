import { CONTENT_TYPE } from '../kinds.ts'
import { isUnfit } from '../texts.ts'
import { SiteChecker } from './checker.ts'

/**
 * What does not fit the type of its topic reaches nobody where it is refused, and its publisher is never told that it has arrived, if its protocol can
 * say so; where it is marked, it has the mark. What fits has none. All have the content type.
 */
export class FitsItsType extends SiteChecker {
  readonly name = 'what arrives fits its type, or is marked'

  look(): void {
    const { claims, stations, setup, world } = this.site
    for (const { id, described } of stations)
      for (const { text, contentType, isMarked } of described.splice(0)) {
        if (contentType !== (setup.types === 'none' ? undefined : CONTENT_TYPE))
          this.tell(`${id} got "${text}" with content type ${contentType}`)
        if (isMarked !== (setup.types === 'mark' && isUnfit(text)))
          this.tell(`${id} got "${text}" ${isMarked ? 'with' : 'without'} a mark`)
      }
    if (setup.types !== 'refuse') return
    for (const { id, got, kept } of claims.receivers.values())
      for (const text of [...got, ...kept]) if (isUnfit(text)) this.tell(`${id} got "${text}", which is refused`)
    for (const { text, acknowledged, publisher } of claims.published.values())
      if (isUnfit(text) && acknowledged) this.tell(`${publisher} was told that "${text}" has arrived, which is refused`)
    for (const message of world.server.broker.retained.search('#'))
      if (message !== undefined && isUnfit(Buffer.from(message.payload).toString()))
        this.tell(`"${Buffer.from(message.payload)}" is retained, and was refused`)
  }
}
