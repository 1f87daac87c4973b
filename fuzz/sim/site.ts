import { decodeMessage, isMalformed } from '../../src/mqttsn/decode.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { Claims, type Published, type QoS, type Receiver } from './claims.ts'
import { type Fate, TapeNetwork } from './tape-network.ts'
import { type Sensor, type TcpClient, World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** For which the gateway keeps the session of a sensor that is gone. */
const SESSION_SECONDS = 7 * 24 * 3600
const SHORT_SECONDS = 30
/** Between two steps: less than an exchange takes, so that things happen in the middle of it. */
const STEP_MS = 30

/** `pre/one` is predefined with id 1, `xy` is a short name, the others have to be registered. */
export const TOPICS = ['room/a', 'room/b/c', 'pre/one', 'xy'] as const
export const FILTERS = ['room/a', 'room/#', '+/one', 'xy', 'pre/one'] as const
export const WILL_TOPIC = 'gone'

/** One thing that happens, as plain data: a failing run is a list of these in a file. */
export type Step =
  | {
      readonly do: 'connect' | 'disconnect' | 'wake' | 'ping' | 'roam' | 'reboot' | 'will' | 'break' | 'partition'
      readonly who: number
    }
  | { readonly do: 'sleep'; readonly who: number; readonly seconds: number }
  | { readonly do: 'register'; readonly who: number; readonly topic: number }
  | { readonly do: 'publish'; readonly who: number; readonly topic: number; readonly qos: QoS; readonly retain: boolean }
  | { readonly do: 'subscribe' | 'unsubscribe'; readonly who: number; readonly filter: number }
  | { readonly do: 'tape'; readonly who: number; readonly up: boolean; readonly fates: readonly Fate[] }
  | { readonly do: 'heal' | 'stall' | 'unstall' | 'fill' | 'empty' | 'restart' }
  | { readonly do: 'crash'; readonly survivors: number; readonly torn: boolean }
  | { readonly do: 'advance'; readonly ms: number }

const bytes = (text: string): Uint8Array => Buffer.from(text)
const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString()

/** An application on a sensor. */
export class Node {
  readonly id: string
  readonly sensor: Sensor
  readonly receiver: Receiver
  readonly hasWill: boolean
  readonly #site: Site
  readonly #waiting = new Map<number, Published>()
  readonly #subscribing: string[] = []

  constructor(site: Site, id: string, lasting: boolean, qos: 0 | 1 | 2, withWill: boolean, rate: number) {
    this.#site = site
    this.id = id
    this.hasWill = withWill
    this.receiver = site.claims.receiver(id, lasting, qos)
    this.sensor = site.world.addSensor({
      clientId: id,
      cleanSession: !lasting,
      keepAliveSeconds: 120,
      ...(withWill && { will: { topic: WILL_TOPIC, message: bytes(`${id} is gone`), qos: 1, retain: false } }),
    })
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
        if (text !== '' && !text.endsWith('gone')) (event.message.retain ? kept : got).push(text)
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
    }
    this.#giveUp()
    this.sensor.act((sn, now) => sn.connect(now))
  }

  disconnect(): void {
    if (!this.known) return
    this.#giveUp()
    this.sensor.act((sn, now) => sn.disconnect(now))
  }

  publish(topic: string, qos: QoS, retain: boolean): void {
    const { state } = this.sensor.client
    if (qos >= 0 && state !== 'active') return
    if (qos === -1 && topic !== 'pre/one' && topic !== 'xy') return
    const one = this.#site.claims.publish(this.id, topic, qos)
    this.sensor.act((sn, now) => {
      const msgId = sn.publish(now, qos === -1 ? anonymous(topic) : topic, bytes(one.text), qos, retain)
      if (qos > 0) this.#waiting.set(msgId, one)
    })
  }

  subscribe(filter: string): void {
    if (this.sensor.client.state !== 'active') return
    this.#subscribing.push(filter)
    this.sensor.act((sn, now) => sn.subscribe(now, filter, this.receiver.qos))
  }

  unsubscribe(filter: string): void {
    if (this.sensor.client.state !== 'active') return
    this.#site.claims.forfeit(this.receiver)
    this.sensor.act((sn, now) => sn.unsubscribe(now, filter))
  }

  /** Loses everything but its name. */
  reboot(): void {
    this.#site.claims.forget(this.receiver)
    this.#giveUp()
    this.sensor.act((sn) => sn.reboot())
  }

  #giveUp(): void {
    this.#waiting.clear()
    this.#subscribing.length = 0
  }
}

const anonymous = (topic: string): { topicIdType: 'predefined' | 'short'; topicId: number } =>
  topic === 'pre/one' ? { topicIdType: 'predefined', topicId: 1 } : { topicIdType: 'short', topicId: 0x7879 }

/** An application on a TCP connection. */
export class Station {
  readonly id: string
  readonly tcp: TcpClient
  readonly receiver: Receiver
  readonly #site: Site
  readonly #waiting = new Map<number, Published>()
  readonly #subscribing = new Map<number, string>()
  readonly #unsubscribing = new Map<number, string>()
  /** Wills that it has heard of. */
  readonly wills: string[] = []

  constructor(site: Site, id: string, lasting: boolean, qos: 0 | 1 | 2) {
    this.#site = site
    this.id = id
    this.receiver = site.claims.receiver(id, lasting, qos)
    this.tcp = site.world.addTcpClient({
      clientId: id,
      cleanStart: false,
      keepAliveSeconds: 60,
      // One that does not last may still be there when its client is back soon: nothing is promised of it.
      properties: { sessionExpiryInterval: lasting ? SESSION_SECONDS : SHORT_SECONDS },
    })
    this.tcp.onEvent = (event) => {
      if (event.event === 'published') {
        const one = this.#waiting.get(event.packetId)
        if (one !== undefined && event.reasonCode < 0x80) one.acknowledged = true
        this.#waiting.delete(event.packetId)
      } else if (event.event === 'subscribed') {
        const filter = this.#subscribing.get(event.packetId)
        if (filter !== undefined && event.reasonCodes[0]! < 0x80) this.receiver.granted.add(filter)
        this.#subscribing.delete(event.packetId)
      } else if (event.event === 'connected' && !event.sessionPresent) {
        site.claims.forfeit(this.receiver)
        site.claims.forget(this.receiver)
      } else if (event.event === 'message') {
        const text = textOf(event.message.payload)
        if (event.message.topic === WILL_TOPIC) this.wills.push(text)
        else if (text !== '') (event.message.retain ? this.receiver.kept : this.receiver.got).push(text)
      } else if (event.event === 'unsubscribed') this.#unsubscribing.delete(event.packetId)
      else if (event.event === 'disconnected') {
        this.#subscribing.clear()
        this.#unsubscribing.clear()
      }
    }
  }

  connect(): void {
    this.tcp.connect()
  }

  published(packetId: number): Published | undefined {
    return this.#waiting.get(packetId)
  }

  subscribing(packetId: number): string | undefined {
    return this.#subscribing.get(packetId) ?? this.#unsubscribing.get(packetId)
  }

  publish(topic: string, qos: 0 | 1 | 2, retain: boolean): void {
    if (this.tcp.client.state !== 'connected') return
    const one = this.#site.claims.publish(this.id, topic, qos)
    // A stream loses nothing while it lasts, and repeats nothing.
    one.arrived = 1
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.publish(now, { topic, payload: bytes(one.text), qos, retain })
      if (qos > 0 && packetId !== undefined) this.#waiting.set(packetId, one)
    })
  }

  /** Takes the retained message of a topic away. */
  clear(topic: string): void {
    this.tcp.act((mqtt, now) => mqtt.publish(now, { topic, payload: bytes(''), qos: 1, retain: true }))
  }

  subscribe(filter: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.subscribe(now, [{ filter, qos: this.receiver.qos }])
      this.#subscribing.set(packetId, filter)
    })
  }

  unsubscribe(filter: string): void {
    if (this.tcp.client.state !== 'connected') return
    this.#site.claims.forfeit(this.receiver)
    this.tcp.act((mqtt, now) => {
      const packetId = mqtt.unsubscribe(now, [filter])
      this.#unsubscribing.set(packetId, filter)
    })
  }

  disconnect(): void {
    this.tcp.act((mqtt, now) => mqtt.disconnect(now))
  }
}

/** Sensors and TCP clients around the production server, to which steps happen. */
export class Site {
  readonly world: World
  readonly network: TapeNetwork
  readonly claims = new Claims()
  readonly nodes: readonly Node[]
  readonly stations: readonly Station[]
  /** Subscribes to everything with QoS 2 and never goes away for long: sees the wills. */
  readonly collector: Station

  constructor() {
    this.world = new World(1, { sessionExpirySeconds: SESSION_SECONDS, maxIdleMs: HOUR, predefinedTopics: [PREDEFINED] })
    this.network = new TapeNetwork(this.world.schedule)
    this.world.carrier = this.network
    this.world.observers.push({
      datagramIn: (_sensor, datagram) => {
        const message = decodeMessage(datagram)
        if (isMalformed(message) || message.type !== MsgType.PUBLISH) return
        const one = this.claims.published.get(textOf(message.data))
        if (one !== undefined) one.arrived++
      },
      datagramOut: (sensor, datagram) => {
        const message = decodeMessage(datagram)
        // What is retained comes again with every subscription.
        if (isMalformed(message) || message.type !== MsgType.PUBLISH || message.retain) return
        const handed = this.claims.published.get(textOf(message.data))?.handed
        const { clientId } = sensor.client
        handed?.set(clientId, (handed.get(clientId) ?? 0) + 1)
      },
    })
    this.nodes = [
      new Node(this, 's0', true, 2, true, 1),
      new Node(this, 's1', true, 1, false, 1.003),
      new Node(this, 's2', false, 2, true, 0.997),
    ]
    this.collector = new Station(this, 'collector', true, 2)
    this.stations = [this.collector, new Station(this, 'm1', true, 1), new Station(this, 'm2', false, 2)]
    this.collector.connect()
    this.run(SECOND)
    this.collector.subscribe('#')
    this.run(SECOND)
  }

  /** What a station has published under this packet id and waits to be told of. */
  stationPublished(id: string, packetId: number): Published | undefined {
    return this.stations.find((station) => station.id === id)?.published(packetId)
  }

  stationSubscribing(id: string, packetId: number): string | undefined {
    return this.stations.find((station) => station.id === id)?.subscribing(packetId)
  }

  /** Time passes. The collector comes back by itself. */
  run(ms: number): void {
    const { schedule } = this.world
    const until = schedule.now + ms
    while (schedule.now < until) {
      if (this.collector.tcp.client.state === 'closed') this.collector.connect()
      schedule.runUntil(Math.min(until, schedule.now + 10 * SECOND))
    }
  }

  /** Whether the step means anything now. */
  allows(step: Step): boolean {
    return !('who' in step) || step.who < this.nodes.length || SPOKEN_BY_STATIONS.has(step.do)
  }

  take(step: Step): void {
    if ('who' in step) this.#takeOf(step)
    else this.#takeOfServer(step)
    this.run(step.do === 'advance' ? step.ms : STEP_MS)
  }

  #takeOf(step: Extract<Step, { who: number }>): void {
    const node = this.nodes[step.who]
    if (node === undefined) this.#takeOfStation(step, this.stations[step.who - this.nodes.length]!)
    else this.#takeOfNode(step, node)
  }

  #takeOfStation(step: Extract<Step, { who: number }>, station: Station): void {
    if (step.do === 'connect') station.connect()
    else if (step.do === 'break') station.tcp.breakStream()
    else if (step.do === 'publish') station.publish(TOPICS[step.topic]!, Math.max(0, step.qos) as 0 | 1 | 2, step.retain)
    else if (station === this.collector) return
    else if (step.do === 'disconnect') station.disconnect()
    else if (step.do === 'subscribe') station.subscribe(FILTERS[step.filter]!)
    else if (step.do === 'unsubscribe') station.unsubscribe(FILTERS[step.filter]!)
  }

  #takeOfNode(step: Extract<Step, { who: number }>, node: Node): void {
    const { sensor, id } = node
    const { state } = sensor.client
    const active = state === 'active'
    if (step.do === 'connect') node.connect()
    else if (step.do === 'disconnect') node.disconnect()
    else if (step.do === 'publish') node.publish(TOPICS[step.topic]!, step.qos, step.retain)
    else if (step.do === 'subscribe') node.subscribe(FILTERS[step.filter]!)
    else if (step.do === 'unsubscribe') node.unsubscribe(FILTERS[step.filter]!)
    else if (step.do === 'reboot') node.reboot()
    else if (step.do === 'roam') this.world.move(sensor)
    else if (step.do === 'tape') this.network.wind(`${id} ${step.up ? 'up' : 'down'}`, step.fates)
    else if (step.do === 'partition') for (const way of ['up', 'down']) this.network.cut.add(`${id} ${way}`)
    else if (step.do === 'wake') sensor.act((sn, now) => sn.wake(now))
    else if (step.do === 'sleep') {
      if (active || state === 'asleep') sensor.act((sn, now) => sn.sleep(now, step.seconds))
    } else if (active && step.do === 'ping') sensor.act((sn, now) => sn.ping(now))
    else if (active && step.do === 'register') sensor.act((sn, now) => sn.register(now, TOPICS[step.topic]!))
    else if (active && step.do === 'will') sensor.act((sn, now) => sn.updateWillMessage(now, bytes(`${id} is long gone`)))
  }

  #takeOfServer(step: Exclude<Step, { who: number }>): void {
    const { world } = this
    if (step.do === 'heal') this.network.heal()
    else if (step.do === 'stall') world.store.stalled = true
    else if (step.do === 'unstall') this.#unstall()
    else if (step.do === 'fill') world.store.refuse = true
    else if (step.do === 'empty') world.store.refuse = false
    else if (step.do === 'restart') world.stopAndStart()
    else if (step.do === 'crash') world.crash({ survivors: step.survivors, torn: step.torn })
  }

  #unstall(): void {
    const { world } = this
    if (!world.store.stalled) return
    world.store.stalled = false
    world.wakeStore()
  }

  /** Faults end, everybody comes back, and gets the time that what is owed may take. */
  settle(): void {
    this.network.heal()
    this.world.store.refuse = false
    this.#unstall()
    for (let round = 0; round < 12; round++) {
      for (const station of this.stations) station.connect()
      for (const { sensor } of this.nodes) {
        const { state } = sensor.client
        if (state === 'asleep') sensor.act((sn, now) => sn.wake(now))
        else if (state === 'active') sensor.act((sn, now) => sn.ping(now))
      }
      for (const node of this.nodes) if (node.sensor.client.state === 'disconnected') node.connect()
      this.run(MINUTE)
    }
  }

  /** Everybody goes, and nobody comes back before their sessions are forgotten. */
  abandon(): void {
    this.collector.unsubscribe('#')
    for (const topic of TOPICS) this.collector.clear(topic)
    this.run(MINUTE)
    for (const node of this.nodes) node.disconnect()
    for (const station of this.stations) station.disconnect()
    this.world.schedule.runUntil(this.world.schedule.now + 2 * SESSION_SECONDS * SECOND)
  }
}

const PREDEFINED = { pattern: '*', topics: new Map([[1, 'pre/one']]) }
const SPOKEN_BY_STATIONS = new Set(['connect', 'disconnect', 'break', 'publish', 'subscribe', 'unsubscribe'])
