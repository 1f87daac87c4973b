import { MsgType } from '../../../src/mqttsn/messages.ts'
import { topicMatches } from '../../topic-matches.ts'
import { textOf } from '../texts.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** Filters of one sensor, as far as the wire tells. */
interface Asked {
  /** Since the CONNECT that was answered last. */
  filters: Set<string>
  /** Since the first CONNECT that is not answered. */
  next: Set<string> | undefined
}

/** With Clean Session a sensor gets only what it has subscribed to since its CONNECT: the session before is over [1.2 section 6.3]. */
export class BeginsAnew extends SiteChecker {
  readonly name = 'a clean session begins anew'
  readonly #asked = new Map<string, Asked>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const asked = this.#of(sensor)
    const message = messageOf(datagram)
    if (message?.type === MsgType.CONNECT) asked.next ??= new Set()
    else if (message?.type === MsgType.SUBSCRIBE)
      for (const filters of [asked.filters, asked.next]) filters?.add(message.topicName)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const { id, receiver } = this.nodeOf(sensor)
    const message = messageOf(datagram)
    if (receiver.lasting) return
    const asked = this.#of(sensor)
    if (message?.type === MsgType.CONNACK && message.returnCode === 0 && asked.next !== undefined) {
      asked.filters = asked.next
      asked.next = undefined
    }
    if (message?.type !== MsgType.PUBLISH) return
    const text = textOf(message.data)
    // A late copy of a message may have arrived under an id that means another topic by then.
    const named = this.site.world.server.gateway.client(id)?.registry.nameOf(message.topicId)
    const topics = [this.site.claims.published.get(text)?.topic, named].filter((topic) => topic !== undefined)
    const isAsked = (topic: string): boolean => [...asked.filters].some((filter) => topicMatches(filter, topic))
    if (topics.length > 0 && !topics.some(isAsked))
      this.tell(`${id} was sent "${text}" on ${topics[0]}, to which it has not subscribed since its CONNECT`)
  }

  /** Of a CONNECT that was not answered the next process knows nothing. */
  crashed(): void {
    for (const asked of this.#asked.values()) asked.next = undefined
  }

  #of(sensor: Sensor): Asked {
    const { clientId } = sensor.client
    const asked = this.#asked.get(clientId) ?? { filters: new Set(), next: undefined }
    this.#asked.set(clientId, asked)
    return asked
  }
}
