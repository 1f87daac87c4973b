import { MsgType } from '../../../src/mqttsn/messages.ts'
import { TOPICS } from '../step.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** A message comes under an id that its sensor knows: one that it was told in this session, and has not lost with its memory [1.2 section 6.10]. */
export class KnownIds extends SiteChecker {
  readonly name = 'ids are known'
  /** When CONNECT of each sensor arrived last. */
  readonly #connected = new Map<string, number>()
  /** Ids that each was told in answer to a request since then: of one that the network has held back nobody waits for the answer any more. */
  readonly #answered = new Map<string, Set<number>>()
  /** When the server began anew: it takes what it has recorded for known, until it is told otherwise (ruling A10). */
  #beganAt = Number.NEGATIVE_INFINITY

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    if (messageOf(datagram)?.type !== MsgType.CONNECT) return
    const { id } = this.nodeOf(sensor)
    this.#connected.set(id, this.site.world.schedule.now)
    this.#answered.delete(id)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id, rebootedAt } = this.nodeOf(sensor)
    if (message?.type === MsgType.REGACK || message?.type === MsgType.SUBACK)
      this.#answered.set(id, new Set([...(this.#answered.get(id) ?? []), message.topicId]))
    if (message?.type !== MsgType.PUBLISH || message.topicIdType !== 'normal') return
    const { client } = sensor
    const connectedAt = this.#connected.get(id) ?? Number.NEGATIVE_INFINITY
    // A sensor that is not connected takes no message; its CONNECT may have left before its reboot, and come after it.
    if (client.state === 'connecting' || client.state === 'disconnected') return
    // In the middle of a request it may not know yet what the answer to it tells.
    if (connectedAt <= rebootedAt || connectedAt <= this.#beganAt || !client.idle) return
    if (this.#answered.get(id)?.has(message.topicId)) return
    if (!TOPICS.some((topic) => client.topicId(topic) === message.topicId))
      this.tell(`${id} was sent a message under ${message.topicId}, which it does not know`)
  }

  crashed(): void {
    this.#beganAt = this.site.world.schedule.now
  }
}
