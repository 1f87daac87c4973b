import type { Notice } from '../../../src/base/notice.ts'
import { MsgType, ReturnCode } from '../../../src/mqttsn/messages.ts'
import type { Published } from '../claims.ts'
import { PLAIN } from '../setup.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** What has not left the store by then keeps nobody awake. */
const T_RETRY_MS = 10_000

/** An awake period ends when nothing waits, when the limit is reached, or when the sensor does not answer (rulings A4, A5). */
export class BacklogFirst extends SiteChecker {
  readonly name = 'backlog before PINGRESP'
  readonly #excused = new Set<string>()
  /** PINGRESP may wait for the store, behind an answer of before: what arrives meanwhile is for the next awake period. */
  readonly #waiting = new Set<string>()
  /** What each waits for since its PINGREQ, as its application would say. */
  readonly #waits = new Map<string, readonly Published[]>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message?.type === MsgType.PINGREQ) {
      this.#excused.delete(id)
      const { durable, appended } = this.site.world.store
      if (durable < appended) this.#waiting.add(id)
      else this.#waiting.delete(id)
      // Asked again in the middle of an awake period, it is the same one.
      if (!this.#waits.has(id)) this.#waits.set(id, this.#owedTo(id))
    } else if (message?.type === MsgType.CONNECT) this.#waits.delete(id)
    // It has no room for more, and is left alone until its next awake period.
    const answer = message?.type === MsgType.PUBACK || message?.type === MsgType.REGACK
    if (answer && message.returnCode === ReturnCode.CONGESTION) this.#excused.add(id)
  }

  notice({ code, client }: Notice): void {
    if (code === 'retries-exhausted' && client !== undefined) this.#excused.add(client.slice('sn:'.length))
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    if (messageOf(datagram)?.type !== MsgType.PINGRESP) return
    const { id } = this.nodeOf(sensor)
    const waits = this.#waits.get(id) ?? []
    this.#waits.delete(id)
    const client = this.site.world.server.gateway.client(id)
    // Whoever is active is told what waits for it at once, and answered at once.
    const { stalled, refuse, delayMs = 0 } = this.site.world.store
    if (client?.state !== 'asleep' || this.#excused.has(id) || stalled || refuse || delayMs >= T_RETRY_MS) return
    // What one awake period may bring, and what its port has airtime for, may be less than what waits.
    const { wakeMessages, wakeBytes, airtime } = this.site.setup
    if (wakeMessages < PLAIN.wakeMessages || wakeBytes < PLAIN.wakeBytes || airtime !== null) return
    // What an address has not earned, until it proves itself, keeps nobody awake either (ruling A20).
    if (!this.site.world.server.gateway.isProven(client.route)) return
    const { backlog } = client.link ?? { backlog: 0 }
    if (backlog > 0 && !this.#waiting.has(id)) this.tell(`PINGRESP to ${id} with ${backlog} messages left`)
    const { dropped } = this.site.claims.receivers.get(id)!
    const left = waits.filter(({ handed }) => !handed.has(id))
    if (left.length > dropped) this.tell(`PINGRESP to ${id} without ${left.map(({ text }) => `"${text}"`)}, which waited for it`)
  }

  /** Acknowledged, owed to it, and never sent to it. */
  #owedTo(id: string): Published[] {
    const { published, receivers } = this.site.claims
    const { forfeits } = receivers.get(id)!
    return [...published.values()].filter(
      ({ acknowledged, qos, owed, handed }) => acknowledged && qos > 0 && owed.get(id) === forfeits && !handed.has(id),
    )
  }

  /** The next process begins where the records are. */
  crashed(): void {
    this.#waits.clear()
  }
}
