import type { Notice } from '../../../src/base/notice.ts'
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
  /** Of a REGISTER. */
  readonly topicId: number
  readonly topicName: string
  /** The sensor has asked for the id itself: the gateway may have ended the REGISTER by now. */
  needless: boolean
  /** The sensor has acknowledged a message from before a crash, which may be the one that this REGISTER is for. */
  mayBeOver?: boolean
  sentAt: number
  times: number
}

/**
 * As many exchanges at a time towards each sensor as its setup allows, by default one [1.2 section 6.13]; repeated not before T_retry, and at most
 * N_retry times. Of several, any answer begins the retries of all anew (ruling A15). A REGISTER is over when the sensor is told the id otherwise,
 * acknowledges the message that it is for, or has proved its address otherwise; what is not answered to the end by a sensor that is heard is given up (ruling A28).
 */
export class OneExchange extends SiteChecker {
  readonly name = 'one exchange at a time, retried in time'
  readonly #open = new Map<string, Exchange[]>()
  /** When a sensor answered with congestion: it is left alone for T_WAIT, or until it begins anew [1.2 sections 6.5, 6.6]. */
  readonly #congested = new Map<string, number>()
  readonly #heardAt = new Map<string, number>()
  /** PUBLISHes that each sensor has still to acknowledge, by message id. It may do so while the topic is being registered again. */
  readonly #published = new Map<string, Set<number>>()
  /** Those from before a crash: the next process sends them again, under the same message id or another. */
  readonly #before = new Map<string, Set<number>>()
  /** Those that it has acknowledged with PUBREC, which a crash may lose. */
  readonly #received = new Map<string, Set<number>>()
  /** PUBREL that PUBCOMP has still to answer, by sensor and message id. */
  readonly #released = new Set<string>()

  datagramIn(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    const open = this.#open.get(id) ?? []
    if (message === undefined) return
    this.#heardAt.set(id, this.site.world.schedule.now)
    if (message.type === MsgType.REGISTER || (message.type === MsgType.SUBSCRIBE && message.topicIdType === 'normal'))
      for (const each of open) each.needless ||= each.isRegister && each.topicName === message.topicName
    const answered = 'msgId' in message ? open.findIndex(({ msgId }) => msgId === message.msgId) : -1
    const answer = message.type === MsgType.REGACK || message.type === MsgType.PUBACK || message.type === MsgType.PUBCOMP
    // A sensor that connects, wakes or leaves begins anew, and so may the gateway. One that is active only keeps alive with PINGREQ.
    const isAlive = message.type === MsgType.PINGREQ && this.#isActive(id)
    const anew = [MsgType.CONNECT, MsgType.PINGREQ, MsgType.DISCONNECT].includes(message.type as never) && !isAlive
    // Any other answer says that there is room again.
    if (answer || message.type === MsgType.PUBREC) this.#congested.delete(id)
    if (anew) {
      this.#open.delete(id)
      this.#congested.delete(id)
    } else if (answered >= 0 && (answer || message.type === MsgType.PUBREC)) {
      const isTaken =
        message.type === MsgType.PUBREC || (message.type === MsgType.PUBACK && message.returnCode === ReturnCode.ACCEPTED)
      if (isTaken) this.#acknowledged(id, message)
      const [{ isRegister, needless } = { isRegister: false, needless: false }] = open.splice(answered, 1)
      for (const each of open) each.times = 1
      const { now } = this.site.world.schedule
      const fits = message.type === (isRegister ? MsgType.REGACK : MsgType.PUBACK)
      if (fits && message.returnCode === ReturnCode.CONGESTION && !needless) this.#congested.set(id, now)
    } else if (message.type === MsgType.PUBCOMP) {
      this.#received.get(id)?.delete(message.msgId)
      if (this.#released.delete(`${id} ${message.msgId}`)) for (const each of open) each.times = 1
    } else if (
      message.type === MsgType.PUBREC ||
      (message.type === MsgType.PUBACK && message.returnCode === ReturnCode.ACCEPTED)
    ) {
      if (this.#acknowledged(id, message)) this.#end(id, ({ isRegister }) => isRegister)
    }
  }

  /** PUBACK or PUBREC. False if the sensor has said so before. */
  #acknowledged(id: string, { type, msgId }: { readonly type: number; readonly msgId: number }): boolean {
    const isFirst = this.#published.get(id)?.delete(msgId) === true
    const wasBefore = this.#before.get(id)?.delete(msgId) === true
    if (wasBefore) for (const each of this.#open.get(id) ?? []) each.mayBeOver = each.isRegister
    if ((isFirst || wasBefore) && type === MsgType.PUBREC)
      this.#received.set(id, (this.#received.get(id) ?? new Set()).add(msgId))
    return isFirst
  }

  #isActive(id: string): boolean {
    return this.site.world.server.gateway.client(id)?.state === 'active'
  }

  #end(id: string, isOver: (exchange: Exchange) => boolean): void {
    const open = this.#open.get(id)
    if (open !== undefined)
      this.#open.set(
        id,
        open.filter((each) => !isOver(each)),
      )
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    const { id } = this.nodeOf(sensor)
    if (message === undefined) return
    // PINGRESP ends an awake period, with whatever was open.
    if ((message.type === MsgType.PINGRESP && !this.#isActive(id)) || message.type === MsgType.DISCONNECT) this.#open.delete(id)
    if ((message.type === MsgType.SUBACK || message.type === MsgType.REGACK) && message.returnCode === ReturnCode.ACCEPTED)
      // An id that the sensor may take for another topic is replaced by another when it asks.
      this.#end(id, ({ isRegister, topicId, needless }) => isRegister && (topicId === message.topicId || needless))
    if (message.type === MsgType.PUBREL) this.#released.add(`${id} ${message.msgId}`)
    if (message.type !== MsgType.REGISTER && message.type !== MsgType.PUBLISH) return
    const { now } = this.site.world.schedule
    // A clock of milliseconds in floating point.
    const rested = now - (this.#congested.get(id) ?? Number.NEGATIVE_INFINITY) + 1e-6
    // What has begun to wait for airtime, or for a slow disk, before it is on its way.
    const { world, setup } = this.site
    const leavesAtOnce = setup.airtime === null && world.store.delayMs === COMMIT_MS && !world.store.stalled
    if (rested < T_WAIT_MS && leavesAtOnce) this.tell(`${id} was sent more ${rested} ms after it was congested`)
    // Everything that was open begins anew, under other message ids.
    if (rested >= T_WAIT_MS && this.#congested.delete(id)) this.#open.delete(id)
    // A REGISTER of an id that the sensor knows was only to prove its address, which something else has done since.
    const isProven = setup.addresses === 'unproven' && world.server.gateway.isProven(sensor.route)
    if (message.type === MsgType.PUBLISH && message.topicIdType === 'normal' && isProven)
      this.#end(id, ({ isRegister, topicId }) => isRegister && topicId === message.topicId)
    if (message.type === MsgType.PUBLISH && message.qos <= 0) return
    const key = Buffer.from(datagram)
      .toString('hex')
      .replace(/^(..0c)[89a-f]/, (_, head: string) => `${head}*`)
      .replace(/^(..0c)[0-7]/, '$1*')
    if (message.type === MsgType.PUBLISH) {
      const published = this.#published.get(id) ?? new Set()
      this.#published.set(id, published.add(message.msgId))
    }
    const heardAt = this.#heardAt.get(id) ?? Number.NEGATIVE_INFINITY
    // Or it has left the same unanswered in its conversations before this one.
    const isGivenUp = ({ sentAt, times }: Exchange): boolean =>
      heardAt > sentAt || now - sentAt + 1e-6 >= T_RETRY_MS * this.site.setup.backoff ** (times - 1)
    // A sleeper asks again by PINGREQ, which is answered by the next attempt.
    const isLast = ({ times }: Exchange): boolean =>
      times > N_RETRY || this.site.world.server.gateway.client(id)?.state === 'awake'
    this.#end(id, (each) => each.key !== key && (each.mayBeOver === true || (isLast(each) && isGivenUp(each))))
    const open = this.#open.get(id) ?? []
    this.#open.set(id, open)
    const again = open.find((each) => each.key === key)
    if (again === undefined) {
      const { inflightMessages } = this.site.setup
      if (open.length >= inflightMessages) this.tell(`${id} was sent ${key} while ${open.map((each) => each.key)} is open`)
      // What is begun is repeated together with the others, which begin anew with it.
      for (const each of open) each.times = 1
      const isRegister = message.type === MsgType.REGISTER
      const { topicId, topicName } = isRegister ? message : { topicId: 0, topicName: '' }
      open.push({ key, msgId: message.msgId, isRegister, topicId, topicName, needless: false, sentAt: now, times: 1 })
      return
    }
    const waited = now - again.sentAt
    // What waits for airtime may leave behind the answer that begins its retries anew.
    const { airtime, addresses, backoff } = this.site.setup
    if (waited + 1e-6 < T_RETRY_MS * (airtime === null ? backoff : 1) ** (again.times - 1))
      this.tell(`${key} was sent to ${id} again after ${waited} ms`)
    // Whoever is heard is asked in rounds, of which some attempts may find no airtime, or are more than an unproven address may be sent.
    const mayMissSome = airtime !== null || addresses === 'unproven'
    if ((again.times > N_RETRY || mayMissSome) && heardAt > again.sentAt) again.times = 0
    if (++again.times > N_RETRY + 1) this.tell(`${key} was sent to ${id} ${again.times} times`)
    again.sentAt = now
  }

  /** What is given up is over, however many attempts have found no room on their way. */
  notice(notice: Notice): void {
    const id = this.site.clientOf(notice) ?? ''
    if (notice.code === 'retries-exhausted') this.#open.delete(id)
    // REGACK or SUBACK made a REGISTER needless, and has not left.
    else if (notice.limit === 'sn_max_queued_frames') this.#end(id, ({ isRegister }) => isRegister)
  }

  crashed(): void {
    for (const ids of [this.#published, this.#received])
      for (const [id, msgIds] of ids) this.#before.set(id, new Set([...(this.#before.get(id) ?? []), ...msgIds]))
    this.#published.clear()
    this.#received.clear()
    this.#open.clear()
    this.#congested.clear()
  }
}
