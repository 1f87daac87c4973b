import { type Message, MsgType, type SnPublish } from '../../src/mqttsn/messages.ts'
import type { Published, QoS, Receiver } from './claims.ts'
import { movedTo } from './hook.ts'
import { KeptExchanges } from './kept-exchanges.ts'
import { isConditional, PLAIN } from './setup.ts'
import type { Site } from './site.ts'
import { type Cut, WILL_TOPIC } from './step.ts'
import { bytes, isWill, textOf, willText } from './texts.ts'
import type { Sensor } from './world.ts'

export interface NodeWill {
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** An application on a sensor. */
export class Node {
  readonly id: string
  readonly sensor: Sensor
  readonly receiver: Receiver
  readonly will: NodeWill | undefined
  #willUpdates = 0
  readonly #site: Site
  readonly #waiting = new Map<number, Published>()
  readonly #subscribing: (string | undefined)[] = []
  /** Of what was said in bursts, by message id. */
  readonly #burst = new Map<number, Published>()
  #lastBurstId = BURST_IDS
  readonly #kept: KeptExchanges
  /** Behind what it connects again, the next time. */
  cut: Cut | undefined = undefined

  constructor(site: Site, id: string, lasting: boolean, qos: 0 | 1 | 2, rate: number, will?: NodeWill) {
    this.#site = site
    this.id = id
    this.will = will
    this.receiver = site.claims.receiver(id, lasting, qos, site.setup.inflightMessages, isConditional(site.setup, id))
    this.sensor = site.world.addSensor({
      clientId: id,
      cleanSession: !lasting,
      keepAliveSeconds: 120,
      ...(will !== undefined && { will: { topic: WILL_TOPIC, message: bytes(willText(id)), ...will } }),
    })
    this.#kept = new KeptExchanges((message) => this.sensor.say(message))
    this.sensor.rate = rate
    this.sensor.onEvent = (event) => {
      if (event.event === 'published') {
        const one = this.#waiting.get(event.msgId)
        if (one !== undefined && event.returnCode === 0) one.acknowledged = true
        this.#waiting.delete(event.msgId)
      } else if (event.event === 'subscribed') {
        const filter = this.#subscribing.shift()
        if (filter !== undefined && event.returnCode === 0) this.receiver.granted.add(filter)
      } else if (event.event === 'message') {
        // What is retained comes again with every subscription.
        const text = textOf(event.message.data)
        const { got, kept } = this.receiver
        if (text !== '' && !isWill(text)) (event.message.retain ? kept : got).push(text)
      } else if (event.event === 'connected') {
        this.#kept.resume()
      } else if (event.event === 'disconnected' || event.event === 'timedOut' || event.event === 'refused') this.#giveUp()
    }
  }

  get known(): boolean {
    return this.sensor.client.state !== 'disconnected'
  }

  connect(): void {
    const { receiver } = this
    if (!receiver.lasting) {
      this.#site.claims.forfeit(receiver)
      this.#site.claims.forget(receiver)
      this.#kept.forget()
    }
    this.#giveUp()
    this.sensor.act((sn, now) => sn.connect(now))
  }

  disconnect(): void {
    if (!this.known) return
    this.#giveUp()
    this.sensor.act((sn, now) => sn.disconnect(now))
  }

  publish(topic: string, qos: QoS, retain: boolean, long = false, isUnfit = false): void {
    const { state } = this.sensor.client
    if (qos >= 0 && state !== 'active') return
    if (qos === -1 && topic !== 'pre/one' && topic !== 'xy') return
    const one = this.#site.claims.publish(this.id, movedTo(this.#site.setup.hook, topic), qos, long, retain, isUnfit)
    this.sensor.act((sn, now) => {
      const msgId = sn.publish(now, qos === -1 ? anonymous(topic) : topic, bytes(one.text), qos, retain)
      if (qos > 0) this.#waiting.set(msgId, one)
    })
  }

  /** Several messages at once, as clients do that have a window of their own. Their ids are not those of its client. */
  burst(times: number): void {
    if (this.sensor.client.state !== 'active') return
    for (let i = 0; i < times; i++) {
      const one = this.#site.claims.publish(this.id, movedTo(this.#site.setup.hook, 'xy'), 1)
      one.inBurst = true
      const msgId = ++this.#lastBurstId
      this.#burst.set(msgId, one)
      this.sensor.say(publishOf(one.text, 1, msgId))
    }
  }

  /** A QoS 2 message that it keeps over its connections. */
  keep(): void {
    if (this.sensor.client.state !== 'active') return
    const one = this.#site.claims.publish(this.id, movedTo(this.#site.setup.hook, 'xy'), 2)
    // What is sent again later may be overtaken.
    one.inBurst = true
    this.#kept.begin(one, (msgId) => publishOf(one.text, 2, msgId))
  }

  /** It has sent this, or it arrives. Gives whether it connects again. */
  passed(message: Message, way: Cut['way']): boolean {
    // Where the broker takes no more, another message gets the place of one that was not released for T_retry (ruling A15).
    const isScarce = this.#site.setup.receiveMaximum < PLAIN.receiveMaximum
    if (isScarce && way === 'up' && message.type === MsgType.PUBLISH && message.qos > 0) this.#kept.forget(message.msgId)
    if (way !== this.cut?.way || message.type !== MsgType[this.cut.behind]) return false
    if (message.type === MsgType.PUBLISH && message.qos !== 2) return false
    this.cut = undefined
    this.#site.world.schedule.after(0, () => this.connect())
    return true
  }

  /** A datagram that answers a message of a burst, or one that it keeps, whatever its client makes of it. */
  heard(message: Message): void {
    // What comes before CONNACK belongs to the connection before.
    if (this.sensor.client.state === 'active') this.#kept.heard(message)
    if (message.type !== MsgType.PUBACK) return
    const one = this.#burst.get(message.msgId)
    if (one !== undefined && message.returnCode === 0) one.acknowledged = true
  }

  subscribe(filter: string): void {
    if (this.sensor.client.state !== 'active') return
    this.#subscribing.push(filter)
    this.sensor.act((sn, now) => sn.subscribe(now, filter, this.receiver.qos))
  }

  unsubscribe(filter: string): void {
    if (this.sensor.client.state !== 'active') return
    this.forfeit()
    this.sensor.act((sn, now) => sn.unsubscribe(now, filter))
  }

  /** Its subscriptions end. One that it has asked for and not heard of may have been granted before that. */
  forfeit(): void {
    this.#site.claims.forfeit(this.receiver)
    this.#subscribing.fill(undefined)
  }

  updateWill(): void {
    this.sensor.act((sn, now) => sn.updateWillMessage(now, bytes(willText(this.id, ++this.#willUpdates))))
  }

  /** Loses everything but its name. */
  reboot(): void {
    this.#site.claims.forget(this.receiver)
    this.#giveUp()
    this.#kept.forget()
    this.sensor.act((sn) => sn.reboot())
  }

  #giveUp(): void {
    this.#waiting.clear()
    this.#subscribing.length = 0
  }
}

const BURST_IDS = 0x8000

const publishOf = (text: string, qos: 1 | 2, msgId: number): SnPublish => ({
  type: MsgType.PUBLISH,
  dup: false,
  qos,
  retain: false,
  ...(anonymous('xy') as { topicIdType: 'short'; topicId: number }),
  msgId,
  data: bytes(text),
})

const anonymous = (topic: string): { topicIdType: 'predefined' | 'short'; topicId: number } =>
  topic === 'pre/one' ? { topicIdType: 'predefined', topicId: 1 } : { topicIdType: 'short', topicId: 0x7879 }
