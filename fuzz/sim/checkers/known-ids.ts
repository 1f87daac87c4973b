import { MsgType } from '../../../src/mqttsn/messages.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** A message comes under an id that its sensor was told since it connected: what it knew before, its CONNECT may have made it forget (ruling A10). */
export class KnownIds extends SiteChecker {
  readonly name = 'ids are known'
  readonly #told = new Map<string, Set<number>>()
  /** Since its last CONNECT arrived, which may come to nothing: `wants` is what the dialogue about its will still lacks. */
  readonly #since = new Map<string, { readonly ids: Set<number>; wants: MsgType | undefined }>()
  /** The server has begun anew: it takes what it has recorded for known, until it is told otherwise (ruling A10). */
  readonly #trusting = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const since = this.#since.get(id)
    if (message?.type === MsgType.CONNECT) {
      this.#since.set(id, { ids: new Set(), wants: message.will ? MsgType.WILLTOPIC : undefined })
      // A dialogue that comes to nothing changes nothing, but answers that waited for the store are gone.
      if (message.will) this.#trusting.add(id)
    } else if (message !== undefined && since?.wants === message.type)
      since.wants = message.type === MsgType.WILLTOPIC ? MsgType.WILLMSG : undefined
    else if (message?.type === MsgType.REGACK && message.returnCode === 0) this.#note(id, message.topicId)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message?.type === MsgType.SUBACK || message?.type === MsgType.REGACK) this.#note(id, message.topicId)
    else if (message?.type === MsgType.CONNACK && message.returnCode === 0) this.#connected(id)
    if (message?.type !== MsgType.PUBLISH || message.topicIdType !== 'normal') return
    // Of QoS 1 and 2 the sensor would say that it does not.
    if (message.qos > 0 && this.#trusting.has(id)) return
    if (this.#told.get(id)?.has(message.topicId) !== true)
      this.tell(`${id} was sent a message under ${message.topicId}, which it was not told`)
  }

  /** Unless its CONNECT came to the process before, or to nothing: then CONNACK is only said again, if it was said before. */
  #connected(id: string): void {
    const since = this.#since.get(id)
    // Said again by a process that began anew, of a connection whose CONNACK the process before had not said.
    if (since === undefined && !this.#told.has(id)) this.#told.set(id, new Set())
    if (since === undefined || (since.wants !== undefined && this.#told.has(id))) return
    this.#told.set(id, new Set(since.ids))
    this.#trusting.delete(id)
  }

  #note(id: string, topicId: number): void {
    for (const told of [this.#told.get(id), this.#since.get(id)?.ids]) told?.add(topicId)
  }

  crashed(): void {
    this.#since.clear()
    for (const { id } of this.site.nodes) this.#trusting.add(id)
  }
}
