import { type Message, MsgType } from '../../../src/mqttsn/messages.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

const T_RETRY_MS = 10_000
const N_RETRY = 3

/** What a sensor asks, and what ends it. */
const ANSWERS: ReadonlyMap<MsgType, readonly MsgType[]> = new Map<MsgType, readonly MsgType[]>([
  [MsgType.CONNECT, [MsgType.CONNACK]],
  [MsgType.REGISTER, [MsgType.REGACK]],
  [MsgType.PUBLISH, [MsgType.PUBACK, MsgType.PUBREC]],
  [MsgType.PUBREL, [MsgType.PUBCOMP]],
  [MsgType.SUBSCRIBE, [MsgType.SUBACK]],
  [MsgType.UNSUBSCRIBE, [MsgType.UNSUBACK]],
  [MsgType.PINGREQ, [MsgType.PINGRESP]],
  [MsgType.DISCONNECT, [MsgType.DISCONNECT]],
  [MsgType.WILLTOPICUPD, [MsgType.WILLTOPICRESP]],
  [MsgType.WILLMSGUPD, [MsgType.WILLMSGRESP]],
])

interface Exchange {
  /** As said, without DUP. */
  readonly key: string
  readonly type: MsgType
  readonly msgId: number
  /** By the sensor's clock. */
  saidAt: number
  times: number
}

/** One exchange at a time of each sensor, too; repeated not before T_retry by its own clock, and at most N_retry times [1.2 section 6.13]. */
export class OwnExchange extends SiteChecker {
  readonly name = 'one exchange of its own at a time, retried in time'
  readonly #open = new Map<string, Exchange>()

  said(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message === undefined || !ANSWERS.has(message.type) || (message.type === MsgType.PUBLISH && message.qos <= 0)) return
    // Of a burst, or kept over its connections.
    if (msgIdOf(message) >= 0x8000) return
    const { id } = this.nodeOf(sensor)
    const now = Math.ceil(this.site.world.schedule.now * sensor.rate)
    const key = JSON.stringify({ ...message, dup: false })
    const open = this.#open.get(id)
    // CONNECT and a goodbye give up what was open, and so does the application when all tries are used up.
    const anew = message.type === MsgType.CONNECT || (message.type === MsgType.DISCONNECT && message.duration === undefined)
    const givenUp = open !== undefined && open.times === N_RETRY + 1 && now - open.saidAt >= T_RETRY_MS
    // A sleeper whose PINGREQ was not answered sleeps on, and wakes again.
    const wakesAgain = givenUp && message.type === MsgType.PINGREQ
    if (open?.key === key && !wakesAgain) this.#again(id, open, now)
    else {
      // Whoever has moved is answered as a stranger is, with the same DISCONNECT that grants its sleep.
      const mayBeAnswered = open?.type === MsgType.DISCONNECT
      if (open !== undefined && !anew && !givenUp && !mayBeAnswered) this.tell(`${id} said ${key} while ${open.key} is open`)
      this.#open.set(id, { key, type: message.type, msgId: msgIdOf(message), saidAt: now, times: 1 })
    }
  }

  #again(id: string, open: Exchange, now: number): void {
    // Its application may connect again whenever it wants.
    const waited = now - open.saidAt
    if (waited < T_RETRY_MS && !isBeginning(open.type)) this.tell(`${id} said ${open.key} again after ${waited} ms`)
    open.times = waited < T_RETRY_MS ? 1 : open.times + 1
    open.saidAt = now
    if (open.times > N_RETRY + 1 && !isBeginning(open.type)) this.tell(`${id} said ${open.key} ${open.times} times`)
  }

  heard(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const open = this.#open.get(id)
    if (message === undefined || open === undefined) return
    const answers = ANSWERS.get(open.type)!.includes(message.type) && msgIdOf(message) === open.msgId
    // A gateway that does not know it ends whatever it has begun.
    if (answers || message.type === MsgType.DISCONNECT) this.#open.delete(id)
  }
}

const msgIdOf = (message: Message): number => ('msgId' in message ? message.msgId : 0)
/** What the application says again itself. */
const isBeginning = (type: MsgType): boolean => type === MsgType.CONNECT || type === MsgType.DISCONNECT
