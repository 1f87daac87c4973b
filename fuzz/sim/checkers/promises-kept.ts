import { MsgType, ReturnCode } from '../../../src/mqttsn/messages.ts'
import type { Published } from '../claims.ts'
import { textOf } from '../texts.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** QoS 0 to 2 as promised, in order; asked of what the applications got. */
export class PromisesKept extends SiteChecker {
  readonly name = 'once, and in order'
  /** What each sensor has heard, by its message id. */
  readonly #heard = new Map<string, string>()

  heard(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type === MsgType.PUBLISH) this.#heard.set(`${this.nodeOf(sensor).id} ${message.msgId}`, textOf(message.data))
  }

  said(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type !== MsgType.PUBACK || message.returnCode === ReturnCode.ACCEPTED) return
    const { id } = this.nodeOf(sensor)
    const text = this.#heard.get(`${id} ${message.msgId}`)
    if (text !== undefined) this.site.claims.receivers.get(id)?.turnedAway.add(text)
  }

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
