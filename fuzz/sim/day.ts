import type { GatewayOptions } from '../../src/gateway/gateway-options.ts'
import type { SnEvent } from '../../src/mqttsn/client.ts'
import { RadioSilence } from './checkers/radio-silence.ts'
import { Ledger, type Sent } from './ledger.ts'
import { PERFECT } from './network.ts'
import type { TcpClient } from './tcp-client.ts'
import { type Sensor, World } from './world.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

const bytes = (text: string): Uint8Array => Buffer.from(text)
const text = (payload: Uint8Array): string => Buffer.from(payload).toString()

/** A sensor with an application: it reports, takes commands, and sleeps most of the time. */
class Device {
  readonly sensor: Sensor
  readonly id: string
  /** The gateway has granted its subscription, in a session that lasts. */
  subscribed = false
  readonly #day: Day
  readonly #sleeper: boolean
  readonly #lasting: boolean
  readonly #wild: boolean
  #outstanding = new Map<number, Sent>()
  #wakes = 0

  constructor(day: Day, number: number) {
    this.#day = day
    this.id = `s${number}`
    this.#sleeper = number % 5 !== 0
    this.#lasting = number % 4 !== 3
    this.#wild = number % 3 === 0
    this.sensor = day.world.addSensor({
      clientId: this.id,
      cleanSession: !this.#lasting,
      keepAliveSeconds: 300,
      ...(number % 7 === 0 && { will: { topic: `will/${this.id}`, message: bytes('gone'), qos: 1, retain: false } }),
    })
    this.sensor.onEvent = (event) => this.#told(event)
  }

  get lasting(): boolean {
    return this.#lasting
  }

  /** Something to do: depending on the state the sensor is in. */
  tick(): void {
    const { world } = this.#day
    const { client } = this.sensor
    const { random } = world
    switch (client.state) {
      case 'disconnected':
        if (random.chance(0.2)) world.move(this.sensor)
        this.sensor.act((sn, now) => sn.connect(now))
        break
      case 'asleep':
        if (random.chance(0.1)) world.move(this.sensor)
        // Every few wakes it has something to report, and becomes active for it.
        this.sensor.act((sn, now) => (++this.#wakes % 4 === 0 ? sn.connect(now) : sn.wake(now)))
        break
      case 'active':
        this.#report()
        break
      default:
    }
    world.schedule.after(random.between(2 * MINUTE, 8 * MINUTE), () => this.tick())
  }

  /** The battery is empty; somebody changes it later. */
  fail(): void {
    this.sensor.act((sn) => sn.reboot())
    this.#day.ledger.forgot(this.id)
    this.#outstanding.clear()
  }

  /** Fetches what waits, whatever the state. */
  comeHome(): void {
    const { client } = this.sensor
    this.sensor.act((sn, now) => {
      if (client.state === 'asleep') sn.wake(now)
      else if (client.state === 'disconnected') sn.connect(now)
      else if (client.state === 'active') sn.ping(now)
    })
  }

  #report(): void {
    const { world, ledger } = this.#day
    const { random } = world
    this.sensor.act((sn, now) => {
      for (let i = random.between(1, 3); i > 0; i--) {
        const qos = random.pick([0, 1, 1, 2, 2] as const)
        const sent = ledger.publish(this.id, `up/${this.id}`, qos, ['collector'])
        const msgId = sn.publish(now, sent.topic, bytes(sent.text), qos)
        if (qos > 0) this.#outstanding.set(msgId, sent)
      }
      if (random.chance(0.1)) {
        const sent = ledger.publish(this.id, 'anonymous/count', -1, [])
        sn.publish(now, { topicIdType: 'predefined', topicId: 1 }, bytes(sent.text), -1)
      }
      if (this.#sleeper) sn.sleep(now, 20 * 60)
    })
  }

  #told(event: SnEvent): void {
    const { ledger } = this.#day
    if (event.event === 'connected') {
      // A rebooted or clean client subscribes again; a lasting session has it already, and asks only once.
      if (!this.subscribed || !this.#lasting)
        this.sensor.act((sn, now) => sn.subscribe(now, this.#wild ? `cmd/${this.id}/#` : `cmd/${this.id}`, 2))
    } else if (event.event === 'subscribed' && event.returnCode === 0) this.subscribed = true
    else if (event.event === 'published') {
      const sent = this.#outstanding.get(event.msgId)
      if (sent !== undefined && event.returnCode === 0) sent.acknowledged = true
      this.#outstanding.delete(event.msgId)
    } else if (event.event === 'message') ledger.receive(this.id, text(event.message.data))
    else if (event.event === 'timedOut') this.#outstanding.clear()
  }
}

/** A TCP client that sends commands, and loses its connection now and then. */
class Commander {
  readonly tcp: TcpClient
  readonly id: string
  readonly #day: Day
  readonly #outstanding = new Map<number, Sent>()

  constructor(day: Day, number: number) {
    this.#day = day
    this.id = `commander${number}`
    this.tcp = day.world.addTcpClient({
      clientId: this.id,
      cleanStart: false,
      keepAliveSeconds: 60,
      properties: { sessionExpiryInterval: 86_400 },
    })
    this.tcp.onEvent = (event) => {
      if (event.event === 'published') {
        const sent = this.#outstanding.get(event.packetId)
        if (sent !== undefined && event.reasonCode < 0x80) sent.acknowledged = true
        this.#outstanding.delete(event.packetId)
      } else if (event.event === 'disconnected') this.#comeBack()
    }
  }

  tick(): void {
    const { world, ledger, devices } = this.#day
    const { random } = world
    if (random.chance(0.05)) this.tcp.breakStream()
    else {
      const device = random.pick(devices)
      const qos = random.pick([0, 1, 2] as const)
      // A clean session may end between the publish and the delivery: it is owed nothing.
      const sent = ledger.publish(this.id, `cmd/${device.id}`, qos, device.lasting && device.subscribed ? [device.id] : [])
      this.tcp.act((mqtt, now) => {
        const packetId = mqtt.publish(now, { topic: sent.topic, payload: bytes(sent.text), qos })
        if (qos > 0 && packetId !== undefined) this.#outstanding.set(packetId, sent)
      })
    }
    world.schedule.after(random.between(20 * SECOND, 100 * SECOND), () => this.tick())
  }

  #comeBack(): void {
    const { schedule, random } = this.#day.world
    schedule.after(random.between(1 * SECOND, 30 * SECOND), () => this.tcp.connect())
  }
}

export interface DayOptions {
  readonly seed: number
  readonly sensors?: number
  readonly durationMs?: number
  /** Instants at which the server is killed and started again. */
  readonly crashes?: readonly number[]
  /** What the gateway is told beside the world's own settings. */
  readonly gateway?: Partial<GatewayOptions>
}

/** A day in the life of a site: sensors that mostly sleep, and the TCP clients that talk to them. */
export class Day {
  readonly world: World
  readonly radioSilence: RadioSilence
  readonly ledger = new Ledger()
  readonly devices: Device[] = []
  readonly #commanders: Commander[] = []
  readonly #durationMs: number

  constructor({ seed, sensors = 50, durationMs = DAY, crashes = [], gateway = {} }: DayOptions) {
    this.#durationMs = durationMs
    this.world = new World(seed, gateway)
    this.radioSilence = new RadioSilence(this.world)
    this.world.observers.push(this.radioSilence)
    const { schedule, random } = this.world
    this.#collect('collector', '#', 2)
    for (let i = 0; i < 4; i++) {
      const commander = new Commander(this, i)
      this.#commanders.push(commander)
      schedule.at(random.between(0, MINUTE), () => commander.tcp.connect())
      schedule.at(MINUTE, () => commander.tick())
    }
    for (let i = 0; i < sensors; i++) {
      const device = new Device(this, i)
      this.devices.push(device)
      schedule.at(random.between(0, 5 * MINUTE), () => device.tick())
      if (i % 10 === 9) schedule.at(random.between(0, durationMs), () => device.fail())
    }
    for (const at of crashes) schedule.at(at, () => this.world.crash())
  }

  /** The day, and then quiet time on a perfect network, in which everything that is owed must arrive. */
  run(): void {
    const { schedule, network } = this.world
    schedule.runUntil(this.#durationMs)
    network.faults = PERFECT
    for (const commander of this.#commanders) {
      commander.tick = () => {}
      commander.tcp.connect()
    }
    for (const device of this.devices) device.tick = () => {}
    for (let minutes = 0; minutes < 60; minutes += 2) {
      schedule.runUntil(this.#durationMs + minutes * MINUTE)
      for (const device of this.devices) device.comeHome()
    }
    schedule.runUntil(this.#durationMs + HOUR)
  }

  /** What still waits for somebody, although nothing stands in the way any more. */
  pending(): string[] {
    const problems: string[] = []
    const { gateway, broker } = this.world.server
    for (const { id, sensor } of this.devices) {
      const backlog = gateway.client(id)?.link?.backlog ?? 0
      if (backlog > 0) problems.push(`${backlog} messages wait for ${id}, which is ${sensor.client.state}`)
      if (!sensor.client.idle) problems.push(`${id} is busy: ${sensor.client.state}`)
    }
    for (const { id, tcp } of this.#commanders) if (!tcp.client.idle) problems.push(`${id} waits for an acknowledgement`)
    // Two links more than clients: QoS -1, and one that is just being replaced.
    const links = this.devices.length + this.#commanders.length + 3
    if (broker.linkCount > links) problems.push(`${broker.linkCount} links for ${links} clients`)
    if (gateway.clientCount > this.devices.length) problems.push(`${gateway.clientCount} sensors known of ${this.devices.length}`)
    return problems
  }

  #collect(clientId: string, filter: string, qos: 0 | 1 | 2): void {
    const { world, ledger } = this
    const tcp = world.addTcpClient({
      clientId,
      cleanStart: false,
      keepAliveSeconds: 60,
      properties: { sessionExpiryInterval: 86_400 },
    })
    let subscribed = false
    tcp.onEvent = (event) => {
      if (event.event === 'connected' && !subscribed)
        tcp.act((mqtt, now) => mqtt.subscribe(now, [{ filter, qos, noLocal: false }]))
      else if (event.event === 'subscribed') subscribed = true
      else if (event.event === 'message') {
        const payload = text(event.message.payload)
        if (!event.message.topic.startsWith('will/')) ledger.receive(clientId, payload)
      } else if (event.event === 'disconnected') world.schedule.after(SECOND, () => tcp.connect())
    }
    world.schedule.at(0, () => tcp.connect())
  }
}
