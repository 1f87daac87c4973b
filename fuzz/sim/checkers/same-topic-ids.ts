import { MsgType } from '../../../src/mqttsn/messages.ts'
import { PLAIN } from '../setup.ts'
import { TOPICS } from '../step.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** Both ends mean the same topic by the same id, whenever no REGISTER is under way. */
export class SameTopicIds extends SiteChecker {
  readonly name = 'topic ids agree'
  /** A late copy of its CONNECT has ended their session, and they will learn of that when they use an id. */
  readonly #beyond = new Set<string>()
  /** Ids that were told in this session, and in earlier ones: `s2 1025 room/a`. A REGISTER that the network has held back may come in the next one, and nothing in it says so. */
  readonly #told = new Set<string>()
  readonly #toldBefore = new Set<string>()

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type === MsgType.REGISTER) this.#told.add(`${this.nodeOf(sensor).id} ${message.topicId} ${message.topicName}`)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message?.type !== MsgType.CONNECT) return
    const { id } = this.nodeOf(sensor)
    if (message.cleanSession && sensor.client.state !== 'connecting') this.#beyond.add(id)
    else this.#beyond.delete(id)
    if (!message.cleanSession) return
    for (const each of this.#told) {
      if (!each.startsWith(`${id} `)) continue
      this.#told.delete(each)
      this.#toldBefore.add(each)
    }
  }

  look(): void {
    const { gateway } = this.site.world.server
    for (const { id, sensor } of this.site.nodes) {
      // CONNACK does not say that the session is another one: the sensor learns it when it uses an id.
      if (this.site.operator.ended.has(`sn:${id}`)) continue
      const { client } = sensor
      const ours = gateway.client(id)
      if (ours === undefined || this.#beyond.has(id) || !client.idle || (client.state !== 'active' && client.state !== 'asleep'))
        continue
      if (ours.state !== 'active' && ours.state !== 'asleep') continue
      for (const topic of TOPICS) {
        const theirs = client.topicId(topic)
        if (theirs === undefined) continue
        const known = ours.registry.nameOf(theirs)
        // An id that was used least recently gives way where there are too many, and no other topic gets it (ruling A27).
        const { topicsPerClient, lastTopicId, memoryLimit } = this.site.setup
        const areScarce =
          topicsPerClient < PLAIN.topicsPerClient || lastTopicId < PLAIN.lastTopicId || memoryLimit < PLAIN.memoryLimit
        if (known === undefined && areScarce) continue
        const told = `${id} ${theirs} ${topic}`
        if (this.#toldBefore.has(told)) continue
        // So may a late copy of the REGISTER with which the number was given before.
        if (lastTopicId < PLAIN.lastTopicId && this.#told.has(told)) continue
        // A number that is given again means nothing until its REGISTER is acknowledged.
        if (ours.registry.isDoubtful(theirs)) continue
        if (known !== topic) this.tell(`${id} calls ${topic} ${theirs}, which is ${known ?? 'nothing'} to the gateway`)
      }
    }
  }
}
