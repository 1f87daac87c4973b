import { MsgType } from '../../../src/mqttsn/messages.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

const T_RETRY_MS = 10_000
const N_RETRY = 3

interface Exchange {
  /** As sent, without DUP. */
  readonly key: string
  readonly msgId: number
  sentAt: number
  times: number
}

/** One exchange at a time towards each sensor [1.2 section 6.13]; repeated not before T_retry, and at most N_retry times. */
export class OneExchange extends SiteChecker {
  readonly name = 'one exchange at a time, retried in time'
  readonly #open = new Map<string, Exchange>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const open = this.#open.get(id)
    if (open === undefined || message === undefined) return
    const answers = 'msgId' in message && message.msgId === open.msgId
    const answer = message.type === MsgType.REGACK || message.type === MsgType.PUBACK || message.type === MsgType.PUBCOMP
    // A sensor that connects, wakes, pings or leaves begins anew, and so may the gateway.
    const anew = [MsgType.CONNECT, MsgType.PINGREQ, MsgType.DISCONNECT].includes(message.type as never)
    if (anew || (answers && (answer || message.type === MsgType.PUBREC))) this.#open.delete(id)
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message === undefined) return
    // PINGRESP ends an awake period, with whatever was open.
    if (message.type === MsgType.PINGRESP || message.type === MsgType.DISCONNECT) this.#open.delete(id)
    const exchange = message.type === MsgType.REGISTER || (message.type === MsgType.PUBLISH && message.qos > 0)
    if (!exchange) return
    const { now } = this.site.world.schedule
    const key = Buffer.from(datagram)
      .toString('hex')
      .replace(/^(..0c)[89a-f]/, (_, head: string) => `${head}*`)
      .replace(/^(..0c)[0-7]/, '$1*')
    const open = this.#open.get(id)
    if (open === undefined) {
      this.#open.set(id, { key, msgId: message.msgId, sentAt: now, times: 1 })
      return
    }
    if (open.key !== key) {
      this.tell(`${id} was sent ${key} while ${open.key} is open`)
      return
    }
    if (now - open.sentAt < T_RETRY_MS) this.tell(`${key} was sent to ${id} again after ${now - open.sentAt} ms`)
    if (++open.times > N_RETRY + 1) this.tell(`${key} was sent to ${id} ${open.times} times`)
    open.sentAt = now
  }

  crashed(): void {
    this.#open.clear()
  }
}
