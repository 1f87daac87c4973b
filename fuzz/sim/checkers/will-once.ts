import type { Notice } from '../../../src/base/notice.ts'
import { MsgType } from '../../../src/mqttsn/messages.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** A will is published once for a sensor that is lost, and never for one that has said goodbye. */
export class WillOnce extends SiteChecker {
  readonly name = 'will exactly once or not at all'
  /** Published, by client, since its connection began. */
  readonly #published = new Map<string, number>()
  /** Lost, and not published. */
  readonly #due = new Set<string>()
  /** Has said goodbye; `true` once that was answered. */
  readonly #gone = new Map<string, boolean>()

  look(): void {
    for (const id of this.#due) this.tell(`${id} was lost, and its will was not published`)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message?.type === MsgType.CONNECT) {
      this.#published.delete(id)
      this.#gone.delete(id)
    }
    const { server, store } = this.site.world
    // Of an address that it has not connected from nobody knows who it is; and a full disk cannot remember that it left.
    const known = server.gateway.client(id)?.route === sensor.route && !store.refuse
    if (message?.type === MsgType.DISCONNECT && message.duration === undefined && known) this.#gone.set(id, false)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const { id } = this.nodeOf(sensor)
    if (messageOf(datagram)?.type === MsgType.DISCONNECT && this.#gone.has(id)) this.#gone.set(id, true)
  }

  notice({ code, client }: Notice): void {
    if (client === undefined) return
    const id = client.slice(client.indexOf(':') + 1)
    const hasWill = client.startsWith('sn:') && this.site.nodes.find((node) => node.id === id)?.hasWill === true
    if (code === 'client-lost' && hasWill) this.#due.add(id)
    // Refused by a full disk, and told.
    if (code === 'will-refused') this.#due.delete(id)
    if (code !== 'will-published') return
    this.#due.delete(id)
    const count = (this.#published.get(id) ?? 0) + 1
    this.#published.set(id, count)
    if (count > 1) this.tell(`the will of ${id} was published ${count} times`)
    if (this.#gone.has(id)) this.tell(`the will of ${id} was published although it had said goodbye`)
  }

  /** What was not durable has not happened: neither that a will was published, nor a goodbye that was not answered. */
  crashed(): void {
    this.#published.clear()
    this.#due.clear()
    for (const [id, answered] of this.#gone) if (!answered) this.#gone.delete(id)
  }
}
