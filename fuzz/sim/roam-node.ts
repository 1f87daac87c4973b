import { SnClient, type SnEvent } from '../../src/mqttsn/client.ts'
import type { RoamMessage, RoamReceiver } from './roam-claims.ts'
import type { RoamSite } from './roam-site.ts'
import { AREAS, type Area, LEAVES } from './roam-step.ts'
import { bytes, textOf } from './texts.ts'
import type { Sensor } from './world.ts'

const KEEP_ALIVE_SECONDS = 120
/** Of somebody awake with 3.1.1: until the gateway that it has left gives up. */
const DIALS_PER_MOVE = 8
/** After which it tries again when nobody answers, or it was refused. */
const RECONNECT_MS = 2000
export const ROAM_WILLS = 'wills'

/** A sensor with a lasting session that moves between two gateways, and comes back by itself. */
export class RoamNode {
  readonly id: string
  readonly number: number
  readonly receiver: RoamReceiver
  readonly client: SnClient
  readonly sensors: Readonly<Record<Area, Sensor>>
  area: Area = 'a'
  /** It has gone of its own will. */
  isGone = false
  /** Since its last CONNACK it was in the area of the other gateway, or somebody has taken its session. */
  mayBeUnknown = true
  /** Its last CONNECT was accepted, and it was not told of an end since. */
  isAccepted = false
  /** What it said last of its own will: late copies of it are under way. */
  saidAt = 0
  /** Where it has subscribed, as long as it has not been elsewhere. */
  subscribedAt: Area | undefined = undefined
  /** The cluster has lost its session, and with it the subscription. */
  isForgotten = false
  /** The cluster is about to, as soon as it runs: until then it has a subscription that is not made again. */
  isBeingForgotten = false
  /** When it came to where it is. */
  movedAt = Number.NEGATIVE_INFINITY
  /** It sleeps for so long at a time; 0: not at all. */
  sleepSeconds = 0
  lastHeard = 0
  #wakes = 0
  /** When its last awake period began. */
  #wokeAt = 0
  #isSubscribed = false
  readonly #site: RoamSite
  readonly #waiting = new Map<number, RoamMessage>()

  constructor(site: RoamSite, number: number) {
    this.#site = site
    this.number = number
    this.id = `n${number}`
    this.receiver = site.claims.receiver(this.id, 'down', number, 2)
    const will = { topic: ROAM_WILLS, message: bytes(this.id), qos: 1 as const, retain: false }
    this.client = new SnClient({
      clientId: this.id,
      cleanSession: false,
      keepAliveSeconds: KEEP_ALIVE_SECONDS,
      ...(site.setup.wills && { will }),
    })
    this.sensors = { a: site.worlds.a.addSensor(this.client), b: site.worlds.b.addSensor(this.client) }
    for (const area of AREAS) {
      this.sensors[area].isAway = area !== this.area
      this.sensors[area].onEvent = (event) => this.#happened(event)
    }
  }

  get sensor(): Sensor {
    return this.sensors[this.area]
  }

  get idle(): boolean {
    return this.client.idle && (this.isGone || this.client.state === 'active' || this.client.state === 'asleep')
  }

  /** A new will needs a stream of its own. */
  get #dialsToConnect(): number {
    const { wills, sleepers } = this.#site.setup
    if (wills) return 2
    return this.mayBeUnknown || sleepers === 'park' ? 1 : 0
  }

  connect(): void {
    this.isGone = false
    this.isAccepted = false
    this.#site.checker.dials += this.#dialsToConnect
    this.saidAt = this.#site.schedule.now
    this.#giveUp()
    this.sensor.act((sn, now) => sn.connect(now))
  }

  #happened(event: SnEvent): void {
    const { schedule } = this.#site
    this.lastHeard = schedule.now
    switch (event.event) {
      case 'connected':
        this.mayBeUnknown = false
        this.isAccepted = true
        if (!this.#isSubscribed) this.#subscribe()
        else if (this.sleepSeconds > 0) this.#sleep()
        break
      case 'subscribed':
        if (event.returnCode !== 0) {
          schedule.after(RECONNECT_MS, () => this.client.state === 'active' && !this.#isSubscribed && this.#subscribe())
          break
        }
        this.#isSubscribed = true
        this.subscribedAt = this.area
        this.receiver.since = Math.min(this.receiver.since, schedule.now)
        if (this.sleepSeconds > 0) this.#sleep()
        break
      case 'published':
        this.#published(event.msgId, event.returnCode)
        break
      case 'message': {
        const text = textOf(event.message.data)
        if (text !== '') this.receiver.got.push({ text, topic: event.topic })
        break
      }
      case 'asleep':
      case 'wakeEnded':
        if (event.event === 'wakeEnded') this.#site.checker.wakeEnded(this, this.#wokeAt)
        this.#planWake()
        break
      case 'disconnected':
        if (this.isGone) break
        this.#site.checker.disconnected(this)
        this.isAccepted = false
        this.#giveUp()
        this.#again(this.mayBeUnknown ? 0 : RECONNECT_MS)
        break
      case 'timedOut':
        this.#giveUp()
        if (this.client.state === 'asleep') this.#planWake()
        else this.#again(RECONNECT_MS)
        break
      case 'refused':
        this.isAccepted = false
        this.#again(RECONNECT_MS)
        break
      default:
    }
  }

  #again(ms: number): void {
    this.#site.schedule.after(ms, () => {
      if (!this.isGone && this.client.state === 'disconnected') this.connect()
    })
  }

  #published(msgId: number, returnCode: number): void {
    const one = this.#waiting.get(msgId)
    this.#waiting.delete(msgId)
    if (one !== undefined && returnCode === 0) one.acknowledgedAt = this.#site.schedule.now
  }

  #subscribe(): void {
    this.sensor.act((sn, now) => sn.subscribe(now, `down/${this.id}/#`, this.receiver.qos))
  }

  publish(leaf: number, qos: 0 | 1 | 2): void {
    if (this.client.state !== 'active') return
    const { claims, schedule } = this.#site
    const topic = `up/${this.id}/${LEAVES[leaf]}`
    const one = claims.publish(this.id, 'up', this.number, topic, qos, schedule.now)
    this.sensor.act((sn, now) => {
      const msgId = sn.publish(now, topic, bytes(one.text), qos)
      if (qos > 0) this.#waiting.set(msgId, one)
    })
  }

  sleep(seconds: number): void {
    const { state } = this.client
    // It can ask for another time when it is asleep again.
    if (state === 'awake') return
    this.sleepSeconds = seconds
    if ((state === 'active' || state === 'asleep') && this.#isSubscribed) this.#sleep()
  }

  #sleep(): void {
    this.saidAt = this.#site.schedule.now
    this.sensor.act((sn, now) => sn.sleep(now, this.sleepSeconds))
  }

  #planWake(): void {
    const wake = ++this.#wakes
    this.#site.schedule.after(this.sleepSeconds * 1000, () => {
      if (wake === this.#wakes) this.wake()
    })
  }

  wake(): void {
    if (this.client.state !== 'asleep') return
    if (this.#site.setup.sleepers === 'park') this.#site.checker.dials++
    this.#wokeAt = this.#site.schedule.now
    this.sensor.act((sn, now) => sn.wake(now))
  }

  /** It hears the other gateway from now on. */
  roam(): void {
    // The gateway that it leaves has still to make its subscription again, and the other one cannot.
    if (this.isBeingForgotten || (this.isForgotten && !this.#site.hasSubscription(this))) return
    this.isForgotten = false
    if (this.client.state !== 'asleep' && this.#site.setup.version === 4) this.#site.checker.dials += DIALS_PER_MOVE
    this.movedAt = this.#site.schedule.now
    this.mayBeUnknown = true
    this.subscribedAt = undefined
    this.sensor.isAway = true
    this.area = this.area === 'a' ? 'b' : 'a'
    this.sensor.isAway = false
    this.sensor.act(() => {})
  }

  /** It stays awake from now on, and connects. */
  stay(): void {
    this.sleepSeconds = 0
    this.#wakes++
    this.connect()
  }

  leave(): void {
    this.isGone = true
    this.mayBeUnknown = true
    this.saidAt = this.#site.schedule.now
    this.sleepSeconds = 0
    this.#giveUp()
    this.sensor.act((sn, now) => sn.disconnect(now))
  }

  #giveUp(): void {
    this.#waiting.clear()
  }
}
