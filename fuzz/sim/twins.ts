import type { TcpClient } from './tcp-client.ts'
import { bytes, textOf } from './texts.ts'
import { type Sensor, World } from './world.ts'

export const TOPICS = ['room/a', 'room/b/c', 'pre/one', 'xy', 'a/$x', 'room/'] as const
export const FILTERS = ['room/a', 'room/#', '+/one', 'xy', '#', 'room/+', '+', '+/+/#', 'a/$x', '$share/*/room/a'] as const
type QoS = 0 | 1 | 2
/** Each twin has a group of its own, and all of its messages. */
const filterOf = (number: number, who: string): string => FILTERS[number]!.replace('*', who)

/** What both twins do. */
export type Deed =
  | { readonly do: 'subscribe'; readonly filter: number; readonly qos: QoS }
  | { readonly do: 'unsubscribe'; readonly filter: number }
  /** Somebody else publishes; an empty payload takes the retained message away. */
  | { readonly do: 'hear'; readonly topic: number; readonly qos: QoS; readonly retain: boolean; readonly empty: boolean }
  /** Each twin publishes. */
  | { readonly do: 'say'; readonly topic: number; readonly qos: QoS; readonly retain: boolean }
  | { readonly do: 'leave' | 'vanish' | 'come' | 'restart' | 'crash' | 'nap' }
  /** Long enough for a keep alive to run out, or for a session to end. */
  | { readonly do: 'pass'; readonly hours: number }

const SECOND = 1000
const HOUR = 3600 * SECOND
const SESSION_SECONDS = 3600
const KEEP_ALIVE_SECONDS = 60
/** Always the same, so that nothing is reordered. */
const DELAY_MS = 20
/** Longer than anything takes on a network that loses nothing. */
const QUIET_MS = 5 * SECOND
const WILL = 'is gone'

/** A message as an application sees it, whichever of the twins has sent it. */
type Seen = string

const seen = (topic: string, payload: Uint8Array, qos: number, retain: boolean): Seen =>
  `${topic} "${textOf(payload).replaceAll(/sensor|station/g, 'twin')}" QoS ${qos}${retain ? ' retained' : ''}`

/**
 * An MQTT client and an MQTT-SN client that do the same, on a network that loses nothing, and a watcher who sees what each of them publishes. What the
 * two see, and what is seen of them, has to be the same.
 */
export class Twins {
  readonly heard = { sensor: [] as Seen[], station: [] as Seen[] }
  /** What the watcher got of each, wills included. */
  readonly told = { sensor: [] as Seen[], station: [] as Seen[] }
  readonly #world: World
  readonly #sensor: Sensor
  readonly #station: TcpClient
  readonly #watcher: TcpClient
  readonly #lasting: boolean
  readonly #hasWill: boolean
  #count = 0
  #cut = false
  #awaySince = Number.POSITIVE_INFINITY

  constructor(lasting: boolean, willQos: QoS | undefined, willRetain: boolean) {
    this.#lasting = lasting
    this.#hasWill = willQos !== undefined
    this.#world = new World(1, {
      sessionExpirySeconds: SESSION_SECONDS,
      predefinedTopics: [{ pattern: '*', topics: new Map([[1, 'pre/one']]) }],
    })
    this.#world.carrier = { carry: (_link, _octets, deliver) => this.#cut || this.#world.schedule.after(DELAY_MS, deliver) }
    const will = (who: string) => ({ topic: 'will', message: bytes(`${who} ${WILL}`), qos: willQos!, retain: willRetain })
    this.#sensor = this.#world.addSensor({
      clientId: 'sensor',
      cleanSession: !lasting,
      keepAliveSeconds: KEEP_ALIVE_SECONDS,
      ...(willQos !== undefined && { will: will('sensor') }),
    })
    this.#sensor.onEvent = (event) => {
      if (event.event !== 'message') return
      const { data, qos, retain, topicIdType } = event.message
      const topic = topicIdType === 'predefined' ? 'pre/one' : topicIdType === 'short' ? 'xy' : event.topic!
      this.heard.sensor.push(seen(topic, data, qos, retain))
    }
    this.#station = this.#world.addTcpClient({
      clientId: 'station',
      cleanStart: !lasting,
      properties: { sessionExpiryInterval: lasting ? SESSION_SECONDS : 0 },
      keepAliveSeconds: KEEP_ALIVE_SECONDS,
      ...(willQos !== undefined && { will: { ...will('station'), payload: will('station').message, properties: {} } }),
    })
    this.#station.onEvent = (event) => {
      if (event.event !== 'message') return
      const { topic, payload, qos, retain } = event.message
      this.heard.station.push(seen(topic, payload, qos, retain))
    }
    this.#watcher = this.#watch()
    this.come()
  }

  #watch(): TcpClient {
    const properties = { sessionExpiryInterval: SESSION_SECONDS * 1000 }
    const watcher = this.#world.addTcpClient({ clientId: 'watcher', cleanStart: false, keepAliveSeconds: 0, properties })
    watcher.onEvent = (event) => {
      if (event.event === 'disconnected') this.#world.schedule.after(SECOND, () => watcher.connect())
      if (event.event !== 'message') return
      const { topic, payload, qos, retain } = event.message
      const who = textOf(payload).split(' ')[0] as 'sensor' | 'station' | 'other'
      if (who !== 'other') this.told[who]?.push(seen(topic, payload, qos, retain))
    }
    watcher.connect()
    this.#quiet()
    watcher.act((mqtt, now) => mqtt.subscribe(now, [{ filter: '#', qos: 2, retainAsPublished: true }]))
    return watcher
  }

  do(deed: Deed): void {
    const [sensor, station] = [this.#sensor, this.#station]
    const isThere = station.client.state === 'connected'
    switch (deed.do) {
      case 'subscribe':
        if (!isThere) return
        sensor.act((sn, now) => sn.subscribe(now, filterOf(deed.filter, 'sensor'), deed.qos))
        station.act((mqtt, now) => mqtt.subscribe(now, [{ filter: filterOf(deed.filter, 'station'), qos: deed.qos }]))
        break
      case 'unsubscribe':
        if (!isThere) return
        sensor.act((sn, now) => sn.unsubscribe(now, filterOf(deed.filter, 'sensor')))
        station.act((mqtt, now) => mqtt.unsubscribe(now, [filterOf(deed.filter, 'station')]))
        break
      case 'hear':
        this.#hear(deed)
        break
      case 'say':
        if (isThere) this.#say(deed)
        break
      case 'leave':
        if (!isThere) return
        this.#awaySince = this.#world.schedule.now
        sensor.act((sn, now) => sn.disconnect(now))
        station.act((mqtt, now) => mqtt.disconnect(now))
        break
      case 'vanish':
        if (isThere) this.#vanish()
        break
      case 'come':
        this.come()
        break
      case 'nap':
        // A clean CONNECT after the sleep would end its session.
        if (isThere && this.#lasting) this.#nap()
        break
      case 'pass':
        this.#world.schedule.runUntil(this.#world.schedule.now + deed.hours * HOUR)
        break
      default:
        this.#restart(deed.do)
    }
    this.#quiet()
  }

  come(): void {
    const { now } = this.#world.schedule
    // MQTT tells whether there is a session, MQTT-SN does not: who has been away for so long begins anew.
    if (now - this.#awaySince > SESSION_SECONDS * SECOND) this.#sensor.act((sn) => sn.reboot())
    this.#awaySince = Number.POSITIVE_INFINITY
    this.#station.connect()
    if (this.#sensor.client.state === 'disconnected') this.#sensor.act((sn) => sn.connect(now))
    this.#quiet()
  }

  #hear({ topic, qos, retain, empty }: Extract<Deed, { do: 'hear' }>): void {
    const payload = bytes(empty ? '' : `other ${this.#count++}`)
    this.#watcher.act((mqtt, now) => mqtt.publish(now, { topic: TOPICS[topic]!, payload, qos, retain }))
  }

  /** One after the other, so that the order in which the watcher and they themselves hear of it is the same. */
  #say({ topic, qos, retain }: Extract<Deed, { do: 'say' }>): void {
    const name = TOPICS[topic]!
    const number = this.#count++
    const reference =
      name === 'pre/one'
        ? ({ topicIdType: 'predefined', topicId: 1 } as const)
        : name === 'xy'
          ? ({ topicIdType: 'short', topicId: 0x7879 } as const)
          : name
    this.#sensor.act((sn, now) => sn.publish(now, reference, bytes(`sensor ${number}`), qos, retain))
    this.#quiet()
    this.#station.act((mqtt, now) => mqtt.publish(now, { topic: name, payload: bytes(`station ${number}`), qos, retain }))
  }

  /** The sensor is silent until its keep alive has run out; the stream just breaks. */
  #vanish(): void {
    this.#cut = true
    this.#awaySince = this.#world.schedule.now
    this.#sensor.act((sn) => sn.reboot())
    this.#station.breakStream()
    this.#world.schedule.runUntil(this.#world.schedule.now + 3 * KEEP_ALIVE_SECONDS * SECOND)
    this.#cut = false
  }

  /** The sensor sleeps while three messages are published, and fetches them; the stream gets them at once. */
  #nap(): void {
    this.#sensor.act((sn, now) => sn.sleep(now, 600))
    this.#quiet()
    for (const qos of [0, 1, 2] as const) this.#hear({ do: 'hear', topic: 0, qos, retain: false, empty: false })
    this.#quiet()
    this.#sensor.act((sn, now) => sn.wake(now))
    this.#quiet()
    this.#sensor.act((sn, now) => sn.connect(now))
  }

  /**
   * A stream breaks with the process, which ends a clean session and may publish a will; a lasting one comes back at once. A sensor does not notice,
   * whatever it has: with those, the two are not the same, and should not be.
   */
  #restart(how: 'restart' | 'crash'): void {
    if (!this.#lasting || this.#hasWill) return
    const wasThere = this.#station.client.state === 'connected'
    if (how === 'crash') this.#world.crash()
    else this.#world.stopAndStart()
    this.#quiet()
    if (wasThere) this.#station.connect()
  }

  #quiet(): void {
    this.#world.schedule.runUntil(this.#world.schedule.now + QUIET_MS)
  }
}
