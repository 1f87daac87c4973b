import { MsgType } from '../../../src/mqttsn/messages.ts'
import { TOPICS } from '../step.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** Both ends mean the same topic by the same id, whenever no REGISTER is under way. */
export class SameTopicIds extends SiteChecker {
  readonly name = 'topic ids agree'
  /** A late copy of its CONNECT has ended their session, and they will learn of that when they use an id. */
  readonly #beyond = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type !== MsgType.CONNECT) return
    const { id } = this.nodeOf(sensor)
    if (message.cleanSession && sensor.client.state !== 'connecting') this.#beyond.add(id)
    else this.#beyond.delete(id)
  }

  look(): void {
    const { gateway } = this.site.world.server
    for (const { id, sensor } of this.site.nodes) {
      const { client } = sensor
      const ours = gateway.client(id)
      if (ours === undefined || this.#beyond.has(id) || !client.idle || (client.state !== 'active' && client.state !== 'asleep'))
        continue
      if (ours.state !== 'active' && ours.state !== 'asleep') continue
      for (const topic of TOPICS) {
        const theirs = client.topicId(topic)
        if (theirs === undefined) continue
        const known = ours.registry.nameOf(theirs)
        if (known !== topic) this.tell(`${id} calls ${topic} ${theirs}, which is ${known ?? 'nothing'} to the gateway`)
      }
    }
  }
}
