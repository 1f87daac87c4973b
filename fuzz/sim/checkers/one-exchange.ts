import { MsgType, ReturnCode } from '../../../src/mqttsn/messages.ts'
import { COMMIT_MS, type Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

const T_RETRY_MS = 10_000
const N_RETRY = 3
const T_WAIT_MS = 300_000

interface Exchange {
  /** As sent, without DUP. */
  readonly key: string
  readonly msgId: number
  readonly isRegister: boolean
  sentAt: number
  times: number
}

/**
 * As many exchanges at a time towards each sensor as its setup allows, by default one [1.2 section 6.13]; repeated not before T_retry, and at most
 * N_retry times. Of several, any answer begins the retries of all anew (ruling A15).
 */
export class OneExchange extends SiteChecker {
  readonly name = 'one exchange at a time, retried in time'
  readonly #open = new Map<string, Exchange[]>()
  /** When a sensor answered with congestion: it is left alone for T_WAIT, or until it begins anew [1.2 sections 6.5, 6.6]. */
  readonly #congested = new Map<string, number>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const open = this.#open.get(id) ?? []
    if (message === undefined) return
    const answered = 'msgId' in message ? open.findIndex(({ msgId }) => msgId === message.msgId) : -1
    const answer = message.type === MsgType.REGACK || message.type === MsgType.PUBACK || message.type === MsgType.PUBCOMP
    // A sensor that connects, wakes, pings or leaves begins anew, and so may the gateway.
    const anew = [MsgType.CONNECT, MsgType.PINGREQ, MsgType.DISCONNECT].includes(message.type as never)
    // Any other answer says that there is room again.
    if (answer || message.type === MsgType.PUBREC) this.#congested.delete(id)
    if (anew) {
      this.#open.delete(id)
      this.#congested.delete(id)
    } else if (answered >= 0 && (answer || message.type === MsgType.PUBREC)) {
      const [{ isRegister } = { isRegister: false }] = open.splice(answered, 1)
      for (const each of open) each.times = 1
      const { now } = this.site.world.schedule
      const fits = message.type === (isRegister ? MsgType.REGACK : MsgType.PUBACK)
      if (fits && message.returnCode === ReturnCode.CONGESTION) this.#congested.set(id, now)
    } else if (message.type === MsgType.PUBCOMP) for (const each of open) each.times = 1
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message === undefined) return
    // PINGRESP ends an awake period, with whatever was open.
    if (message.type === MsgType.PINGRESP || message.type === MsgType.DISCONNECT) this.#open.delete(id)
    if (message.type !== MsgType.REGISTER && message.type !== MsgType.PUBLISH) return
    const { now } = this.site.world.schedule
    const rested = now - (this.#congested.get(id) ?? Number.NEGATIVE_INFINITY)
    // What has begun to wait for airtime, or for a slow disk, before it is on its way.
    const { world, setup } = this.site
    const leavesAtOnce = setup.airtime === null && world.store.delayMs === COMMIT_MS && !world.store.stalled
    if (rested < T_WAIT_MS && leavesAtOnce) this.tell(`${id} was sent more ${rested} ms after it was congested`)
    if (message.type === MsgType.PUBLISH && message.qos <= 0) return
    const key = Buffer.from(datagram)
      .toString('hex')
      .replace(/^(..0c)[89a-f]/, (_, head: string) => `${head}*`)
      .replace(/^(..0c)[0-7]/, '$1*')
    const open = this.#open.get(id) ?? []
    this.#open.set(id, open)
    const again = open.find((each) => each.key === key)
    if (again === undefined) {
      const { inflightMessages } = this.site.setup
      if (open.length >= inflightMessages) this.tell(`${id} was sent ${key} while ${open.map((each) => each.key)} is open`)
      // What is begun is repeated together with the others, which begin anew with it.
      for (const each of open) each.times = 1
      open.push({ key, msgId: message.msgId, isRegister: message.type === MsgType.REGISTER, sentAt: now, times: 1 })
      return
    }
    const waited = now - again.sentAt
    // A clock of milliseconds in floating point.
    if (waited + 1e-6 < T_RETRY_MS * this.site.setup.backoff ** (again.times - 1))
      this.tell(`${key} was sent to ${id} again after ${waited} ms`)
    if (++again.times > N_RETRY + 1) this.tell(`${key} was sent to ${id} ${again.times} times`)
    again.sentAt = now
  }

  crashed(): void {
    this.#open.clear()
    this.#congested.clear()
  }
}
