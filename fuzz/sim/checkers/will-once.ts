import type { Notice } from '../../../src/base/notice.ts'
import { MsgType } from '../../../src/mqttsn/messages.ts'
import type { Lsn } from '../../../src/store/store.ts'
import type { Site } from '../site.ts'
import { STATE_FILTER } from '../step.ts'
import { textOf, willText } from '../texts.ts'
import type { Sensor } from '../world.ts'
import { messageOf, SiteChecker } from './checker.ts'

/** A will that was published. */
interface Publication {
  readonly id: string
  /** A store that has this record knows of it. */
  lsn: Lsn
  /** What it may say. */
  readonly allowed: ReadonlySet<string>
  /** A crash has undone it: it may have been heard, and will be published again. */
  undone: boolean
}

/** What the wire says of the will of one sensor. */
class SensorWill {
  /** Since its connection began. */
  published: Publication[] = []
  /** It is lost, and its will not published. */
  due = false
  /** Its last CONNECT was refused: it is not connected, whatever a process that has forgotten the refusal takes it for. */
  refused = false
  /** It has said goodbye. */
  gone: 'said' | 'answered' | undefined = undefined
  /** The text that it knows to be kept. */
  kept: string | undefined = undefined
  /** Texts that it has asked to be kept instead, in order, and not been told of. */
  asked: string[] = []
  /** It will not be told of these any more. */
  readonly untold = new Set<string>()
  /** Parts of a new will that its CONNECT has brought. */
  readonly brought = new Set<MsgType>()

  get allowed(): ReadonlySet<string> {
    return new Set([...(this.kept === undefined ? [] : [this.kept]), ...this.asked, ...this.untold])
  }
}

/**
 * A will is published once for a sensor that is lost, and never for one that has said goodbye; it says what was acknowledged last, or what was under way;
 * and it arrives as often as it was published. Those of TCP clients are timed, too: see `WillInTime`.
 */
export class WillOnce extends SiteChecker {
  readonly name = 'will exactly once or not at all'
  readonly #wills = new Map<string, SensorWill>()
  readonly #publications: Publication[] = []
  #heard = 0

  constructor(site: Site) {
    super(site)
    for (const { id, will } of site.nodes) if (will !== undefined) this.#wills.set(id, new SensorWill())
  }

  look(): void {
    const late = this.storeMayWait()
    for (const [id, { due }] of this.#wills) if (due && !late) this.tell(`${id} was lost, and its will was not published`)
    const { wills } = this.site.collector
    for (; this.#heard < wills.length; this.#heard++) {
      const text = wills[this.#heard]!
      if (!this.#publications.some(({ allowed }) => allowed.has(text))) this.tell(`"${text}" is not the will of anybody`)
    }
  }

  settled(): void {
    const { collector, nodes, stations } = this.site
    let missing = 0
    for (const { id, will } of [...nodes, ...stations]) {
      if (will === undefined || !this.#isHeard(id)) continue
      const published = this.#publications.filter((each) => each.id === id)
      const certain = published.filter(({ undone }) => !undone).length
      const arrived = collector.wills.filter((text) => text.startsWith(id)).length
      if (will.qos > 0) missing += Math.max(0, certain - arrived)
      // With QoS 1 it may come again.
      if (will.qos !== 1 && arrived > published.length)
        this.tell(`the will of ${id} was published ${published.length} times, and came ${arrived} times`)
    }
    if (missing > collector.receiver.dropped) this.tell(`${missing} wills were published, and never came`)
  }

  /** The collector hears of it; where subscriptions are scarce it may not hear of the state of a bridge. */
  #isHeard(id: string): boolean {
    const { collector, stations } = this.site
    const isState = stations.some((station) => station.id === id && station.notifies)
    return !isState || collector.receiver.granted.has(STATE_FILTER)
  }

  datagramIn(sensor: Sensor, datagram: Uint8Array, route: string): void {
    const will = this.#wills.get(this.nodeOf(sensor).id)
    const message = messageOf(datagram)
    if (will === undefined || message === undefined) return
    switch (message.type) {
      case MsgType.CONNECT:
        Object.assign(will, { published: [], gone: undefined })
        will.brought.clear()
        for (const text of will.asked.splice(0)) will.untold.add(text)
        return
      case MsgType.WILLTOPIC:
      case MsgType.WILLMSG:
        will.brought.add(message.type)
        if (message.type === MsgType.WILLMSG) will.untold.add(textOf(message.message))
        return
      case MsgType.WILLMSGUPD:
        will.asked.push(textOf(message.message))
        return
      case MsgType.DISCONNECT: {
        // Of an address that it has not connected from, or has left, nobody knows who it is.
        const known = this.site.world.server.gateway.client(sensor.client.clientId)?.route === route
        // A will that waits for room was due before.
        if (message.duration === undefined && known && !will.due) will.gone = 'said'
        return
      }
      default:
    }
  }

  datagramOut(sensor: Sensor, datagram: Uint8Array): void {
    const { id } = this.nodeOf(sensor)
    const will = this.#wills.get(id)
    const message = messageOf(datagram)
    if (will === undefined || message === undefined) return
    // A will that waited for the store was published before.
    if (message.type === MsgType.CONNACK && message.returnCode === 0) will.published = []
    if (message.type === MsgType.CONNACK) will.refused = message.returnCode !== 0
    if (message.type === MsgType.DISCONNECT && will.gone !== undefined) will.gone = 'answered'
    else if (message.type === MsgType.CONNACK && message.returnCode === 0 && will.brought.size === 2) {
      // Over a slow radio it may answer an earlier CONNECT, and an update may have come in between.
      if (will.kept !== undefined) will.untold.add(will.kept)
      will.kept = willText(id)
      will.brought.clear()
    } else if (message.type === MsgType.WILLMSGRESP) {
      const text = will.asked.shift()
      if (message.returnCode !== 0 || text === undefined) return
      will.kept = text
      will.untold.clear()
    }
  }

  notice({ code, client, reason }: Notice): void {
    if (client === undefined) return
    const id = client.slice(client.indexOf(':') + 1)
    const will = client.startsWith('sn:') ? this.#wills.get(id) : undefined
    if (code === 'client-lost' && will?.refused === false) will.due = true
    // The broker has broken it off: what the sensor says now changes nothing.
    if (code === 'store-full' && reason === 'its will waits for room' && will?.gone === undefined && will !== undefined)
      will.due = true
    // Refused at a bound, and told.
    if (code === 'will-refused' && will !== undefined) will.due = false
    if (code !== 'will-published') return
    const { store } = this.site.world
    // The record by which it is a message, or nobody's any more, has just been made.
    const publication = { id, lsn: store.appended, allowed: will?.allowed ?? new Set([willText(id)]), undone: false }
    this.#publications.push(publication)
    if (will === undefined) return
    will.due = false
    will.published.push(publication)
    if (will.published.length > 1) this.tell(`the will of ${id} was published ${will.published.length} times`)
    if (will.gone !== undefined) this.tell(`the will of ${id} was published although it had said goodbye`)
  }

  /** What was not durable has not happened: neither that a will was published, nor a goodbye that was not answered. */
  crashed(survived: Lsn): void {
    for (const publication of this.#publications) {
      if (publication.lsn > survived) publication.undone = true
      // The next process counts its records anew.
      publication.lsn = 0
    }
    for (const will of this.#wills.values()) {
      will.due = false
      will.published = will.published.filter(({ undone }) => !undone)
      if (will.gone === 'said') will.gone = undefined
      // Of a dialogue that has begun the next process knows nothing.
      will.brought.clear()
      for (const text of will.asked.splice(0)) will.untold.add(text)
    }
  }
}
