import { MsgType } from '../../../src/mqttsn/messages.ts'
import type { Sensor, World } from '../world.ts'
import { type Checker, messageOf } from './checker.ts'

/** What a sensor hears in answer to what it says, awake or not; DISCONNECT may answer anything (ruling A8). */
const ANSWERS: ReadonlyMap<MsgType, readonly MsgType[]> = new Map<MsgType, readonly MsgType[]>([
  [MsgType.REGISTER, [MsgType.REGACK]],
  [MsgType.PUBLISH, [MsgType.PUBACK, MsgType.PUBREC]],
  [MsgType.PUBREC, [MsgType.PUBREL]],
  [MsgType.PUBREL, [MsgType.PUBCOMP]],
  [MsgType.SUBSCRIBE, [MsgType.SUBACK]],
  [MsgType.UNSUBSCRIBE, [MsgType.UNSUBACK]],
  [MsgType.WILLTOPICUPD, [MsgType.WILLTOPICRESP]],
  [MsgType.WILLMSGUPD, [MsgType.WILLMSGRESP]],
  [MsgType.PINGREQ, [MsgType.PINGRESP]],
])
const nameOf = (type: MsgType): string => Object.entries(MsgType).find(([, value]) => value === type)![0]

type Asked = typeof MsgType.PINGREQ | typeof MsgType.DISCONNECT | typeof MsgType.CONNECT

/** What answers CONNECT: see `SetupAnswers`. */
const SETTING_UP: ReadonlySet<MsgType> = new Set([MsgType.CONNACK, MsgType.WILLTOPICREQ, MsgType.WILLMSGREQ])

/** When a sensor listens, as far as the wire tells. */
class Radio {
  /** From its CONNECT until its DISCONNECT, with a duration or without, is answered. */
  on = false
  /** A full store could not record that it is gone, or a slow one has not yet: a new process takes it for connected. */
  unrecorded = false
  /** It has said that it goes, and the store can remember that: nothing new is begun. */
  leaving = false
  /** PINGREQ and DISCONNECT that are not answered, and CONNECT behind such a one, in order, as answers are. */
  asked: Asked[] = []
  /** Answers that are due, by type and message id. */
  readonly #due = new Map<string, number>()

  /** Whoever is about to leave still hears what was said before, but no new message. */
  hears(type: MsgType): boolean {
    const isMessage = type === MsgType.PUBLISH || type === MsgType.REGISTER
    return (this.on && !(this.leaving && isMessage)) || this.asked.includes(MsgType.PINGREQ)
  }

  owe(what: string): void {
    this.#due.set(what, (this.#due.get(what) ?? 0) + 1)
  }

  pay(what: string): boolean {
    const count = this.#due.get(what) ?? 0
    if (count > 0) this.#due.set(what, count - 1)
    return count > 0
  }

  answered(type: Asked): boolean {
    const at = this.asked.indexOf(type)
    this.asked.splice(0, at + 1)
    return at >= 0
  }
}

/**
 * A sleeper hears nothing but answers to what it says itself, from the answer to its DISCONNECT until its next CONNECT or PINGREQ arrives; PINGRESP
 * ends the awake period that PINGREQ began [1.2 section 6.14]. Looks at the wire only.
 */
export class RadioSilence implements Checker {
  readonly name = 'radio silence'
  readonly found: string[] = []
  readonly #world: World
  readonly #strictSleep: boolean
  readonly #radios = new Map<string, Radio>()

  /** `strictSleep`: in an awake period DISCONNECT may answer a request that needs CONNECT, and the period goes on. */
  constructor(world: World, strictSleep = false) {
    this.#world = world
    this.#strictSleep = strictSleep
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array, route: string): void {
    const message = messageOf(datagram)
    if (message === undefined) return
    const radio = this.#radioOf(sensor)
    const msgId = 'msgId' in message ? message.msgId : 0
    for (const answer of ANSWERS.get(message.type) ?? []) radio.owe(`${answer} ${msgId}`)
    // What comes from where it was before opens a way to there, where nobody listens.
    if (route !== sensor.route) return
    const { store } = this.#world
    if (message.type === MsgType.CONNECT) {
      // An answer to what it said before may still wait for airtime.
      const asked = radio.asked.includes(MsgType.DISCONNECT) ? [...radio.asked, message.type] : []
      Object.assign(radio, { on: true, unrecorded: false, leaving: false, asked })
    } else if (message.type === MsgType.PINGREQ) {
      // Awake already, it is not answered again, unless the answer before waits for the store.
      if (store.durable < store.appended || radio.asked.at(-1) !== message.type) radio.asked.push(message.type)
    } else if (message.type === MsgType.DISCONNECT) {
      radio.asked.push(message.type)
      // What waited for the store, or for airtime, before it still goes before its answer; a full store cannot grant sleep.
      const { queuedFrames } = this.#world.server.gateway.ports
      radio.leaving = store.durable === store.appended && !store.stalled && !store.refuse && queuedFrames === 0
    }
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const message = messageOf(datagram)
    if (message === undefined) return
    const radio = this.#radioOf(sensor)
    const { type } = message
    const msgId = 'msgId' in message ? message.msgId : 0
    const isAnswer = radio.pay(`${type} ${msgId}`)
    if (type === MsgType.DISCONNECT) {
      if (this.#strictSleep && radio.asked.includes(MsgType.PINGREQ) && !radio.asked.includes(type)) return
      // One that answers no DISCONNECT tells a stranger to connect, whatever else it asked.
      if (!radio.answered(type)) radio.asked = []
      if (!radio.asked.includes(MsgType.CONNECT)) this.#gone(radio)
      return
    }
    if (type === MsgType.PINGRESP) radio.answered(MsgType.PINGREQ)
    if (type === MsgType.CONNACK) radio.answered(MsgType.CONNECT)
    const listens = radio.hears(type) || SETTING_UP.has(type)
    if (!listens && !isAnswer) this.#tell(`${sensor.client.clientId} sleeps or is gone, and was sent ${nameOf(type)}`)
  }

  /** The store does not stand in the way: an awake period is answered once, however often it was asked for. */
  look(): void {
    const { store } = this.#world
    if (store.durable < store.appended) return
    for (const radio of this.#radios.values()) if (radio.asked.length > 1) radio.asked = radio.asked.slice(-1)
  }

  /** The next process knows nothing of awake periods, and of nobody who was going. */
  crashed(): void {
    for (const radio of this.#radios.values()) {
      Object.assign(radio, { on: radio.on || radio.unrecorded, unrecorded: false, leaving: false, asked: [] })
    }
  }

  #gone(radio: Radio): void {
    const { store } = this.#world
    radio.unrecorded ||= radio.on && (store.refusals > 0 || store.durable < store.appended)
    radio.on = false
  }

  #tell(what: string): void {
    this.found.push(`${this.#world.schedule.now} ms: ${what}`)
  }

  #radioOf(sensor: Sensor): Radio {
    const { clientId } = sensor.client
    let radio = this.#radios.get(clientId)
    if (radio === undefined) {
      radio = new Radio()
      this.#radios.set(clientId, radio)
    }
    return radio
  }
}
