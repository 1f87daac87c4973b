import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Random } from '../../fuzz/sim/random.ts'
import { Sensor } from '../../src/cli/sn/sensor.ts'
import type { SnClient, SnEvent } from '../../src/mqttsn/client.ts'
import { decodeMessage } from '../../src/mqttsn/decode.ts'
import { encodedMessage } from '../../src/mqttsn/encode.ts'
import { unwrap, wrap } from '../../src/mqttsn/forwarder.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { LossyRelay } from '../interop/lossy-relay.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { StartedProcess } from '../interop/started-process.ts'

/** Markup that must never become an element of the page. A page on which it does has `window.broken`. */
export const MARKUP = '<img src=x onerror="window.broken=1">'
/** `MARKUP` as a client id of a sensor, which has 23 octets at most. */
export const MARKUP_ID = '<img onerror=broken=1>'
const LOSS = 0.1
const QUEUED_MAX = 20
const SENSORS = 40

const CONFIG = `
sn_listeners:
  - port: 0
  - name: field
    port: 0
    max_frame: 100
    bytes_per_second: 100
    duty_cycle: 0.05
max_queued_messages: ${QUEUED_MAX}
`
const USERS = `
- clients: stranger
  deny: true
`
/** One PBKDF2 hash each with few rounds: \`view\` and \`manage\` are their own passwords. */
interface SiteOptions {
  /** Further flags of `roost serve`. */
  readonly flags?: readonly string[]
  readonly seed?: number
}

/** One sensor of the site behind a lossy network. */
class Member {
  readonly id: string
  readonly sensor: Sensor
  readonly relay: LossyRelay

  private constructor(id: string, sensor: Sensor, relay: LossyRelay) {
    this.id = id
    this.sensor = sensor
    this.relay = relay
  }

  static async open(id: string, port: number, random: Random, loss = LOSS): Promise<Member> {
    const relay = await LossyRelay.open(port, random, loss)
    const options = { clientId: id, cleanSession: false, keepAliveSeconds: 600, tRetryMs: 200, nRetry: 50 }
    const sensor = await Sensor.open({ host: '127.0.0.1', port: relay.port, sourcePort: 0, ...options })
    return new Member(id, sensor, relay)
  }

  /** Does something, and waits for the event that answers it. */
  async until(event: SnEvent['event'], act: (client: SnClient, now: number) => void): Promise<void> {
    this.sensor.act(act)
    for (;;) {
      const found = await this.sensor.next(20_000)
      if (found?.event === event) return
      if (found === undefined || found.event === 'timedOut') throw new Error(`${this.id}: no ${event}`)
      // A late copy of an answer can look like the end of the session: start again from where it was.
      if (found.event === 'disconnected') {
        await this.until('connected', (client, now) => client.connect(now))
        if (event === 'wakeEnded') await this.until('asleep', (client, now) => client.sleep(now, 600))
        this.sensor.act(act)
      }
    }
  }

  async connect(): Promise<void> {
    await this.until('connected', (client, now) => client.connect(now))
    await this.until('subscribed', (client, now) => client.subscribe(now, `site/${this.id}/command`, 1))
  }

  async report(text: string): Promise<void> {
    await this.until('published', (client, now) => client.publish(now, `site/${this.id}/temperature`, Buffer.from(text), 1))
  }

  /** @param seconds sleep duration */
  async sleep(seconds: number): Promise<void> {
    await this.until('asleep', (client, now) => client.sleep(now, seconds))
  }

  async wake(): Promise<void> {
    await this.until('wakeEnded', (client, now) => client.wake(now))
  }

  close(): void {
    this.sensor.close()
    this.relay.close()
  }
}

/**
 * A site with forty sensors behind a lossy network, for the console to show: some active, some asleep, some lost; `stranger`,
 * whose CONNECT is refused; `sensor-07`, whose queue is full; `sensor-08`, which publishes to a topic id that nobody
 * knows; `far-01` at a port whose airtime is used up; and names, topics and payloads that look like markup.
 */
export class Site {
  readonly roost: StartedProcess
  readonly sensors = new Map<string, Member>()
  readonly #cleanUp: (() => unknown)[] = []

  private constructor(roost: StartedProcess) {
    this.roost = roost
  }

  /** The address of the HTTP service. */
  get url(): string {
    return `http://127.0.0.1:${this.roost.httpPort}`
  }

  static async open({ flags = [], seed = 1 }: SiteOptions = {}): Promise<Site> {
    const folder = mkdtempSync(join(tmpdir(), 'roost-site-'))
    writeFileSync(join(folder, 'users.yaml'), USERS)
    writeFileSync(join(folder, 'roost.yaml'), CONFIG)
    const files = ['--config', join(folder, 'roost.yaml'), '--sn-users', join(folder, 'users.yaml')]
    const roost = await StartedProcess.startWithoutUdp(
      ...files,
      ...['--port', '0', '--http-port', '0', '--memory', '--t-adv', '65535', '--t-retry', '0.2', '--n-retry', '50', ...flags],
    )
    const site = new Site(roost)
    site.#cleanUp.push(
      () => rmSync(folder, { recursive: true }),
      () => roost.stop(),
    )
    await site.#applications()
    await site.#fleet(new Random(seed))
    await site.#oddities(new Random(seed + 1))
    return site
  }

  /** TCP clients, and what they retain. */
  async #applications(): Promise<void> {
    const { mqttPort } = this.roost
    const hub = await this.client('home-assistant')
    await hub.client.subscribeAsync(['site/#', '$SYS/#'], { qos: 1 })
    await this.client('node-red')
    await this.client(MARKUP, { username: MARKUP })
    const archive = await MqttJs.connect(mqttPort, {
      clientId: 'archive',
      clean: false,
      protocolVersion: 5,
      properties: { sessionExpiryInterval: 3600 },
    })
    await archive.client.subscribeAsync('site/valve/+', { qos: 1 })
    await archive.client.endAsync()
    const retain = { qos: 1, retain: true } as const
    await hub.client.publishAsync('site/valve/1', 'open', retain)
    await hub.client.publishAsync('site/valve/2', 'closed', retain)
    await hub.client.publishAsync('site/plan', JSON.stringify({ rooms: 4, heated: true, name: MARKUP }), retain)
    await hub.client.publishAsync(`site/${MARKUP.replaceAll(/[/#+]/g, '')}`, MARKUP, retain)
    await hub.client.publishAsync('site/image', Buffer.from([0, 1, 2, 0xff, 0xfe, 0x80]), retain)
  }

  /** A TCP client that stays connected until the site closes. */
  async client(clientId: string, options: { readonly username?: string } = {}): Promise<MqttJs> {
    const js = await MqttJs.connect(this.roost.mqttPort, { clientId, ...options })
    this.#cleanUp.push(() => js.client.endAsync(true))
    return js
  }

  async #member(id: string, port: number, random: Random, loss?: number): Promise<Member> {
    const member = await Member.open(id, port, random, loss)
    this.#cleanUp.push(() => member.close())
    this.sensors.set(id, member)
    return member
  }

  /** Every fifth stays active, every fifth is lost, the others sleep. */
  async #fleet(random: Random): Promise<void> {
    const ids = Array.from({ length: SENSORS }, (_, i) => `sensor-${String(i).padStart(2, '0')}`)
    const port = this.roost.snPorts.values().next().value!
    const fleet: Member[] = []
    for (const id of ids) fleet.push(await this.#member(id, port, random))
    await Promise.all(
      fleet.map(async (member, i) => {
        await member.connect()
        for (let n = 0; n < 3; n++) await member.report((20 + i / 10 + n).toFixed(1))
        if (i % 5 === 0) return
        await member.sleep(i % 5 === 4 ? 1 : 600)
        if (i % 5 === 1) await member.wake()
      }),
    )
    const hub = await this.client('scheduler')
    for (let i = 0; i < QUEUED_MAX + 5; i++) await hub.client.publishAsync('site/sensor-07/command', `set ${i}`, { qos: 1 })
    await hub.client.publishAsync('site/sensor-11/command', 'report', { qos: 1 })
  }

  async #oddities(random: Random): Promise<void> {
    const stranger = await this.#member('stranger', this.roost.snPorts.values().next().value!, random, 0)
    await stranger.until('refused', (client, now) => client.connect(now))
    const confused = this.sensors.get('sensor-08')!
    await confused.connect()
    await confused.until('published', (client, now) =>
      client.publish(now, { topicIdType: 'predefined', topicId: 999 }, Buffer.from('?'), 1),
    )
    await confused.sleep(600)
    const markup = await this.#member(MARKUP_ID, this.roost.snPorts.values().next().value!, random, 0)
    await markup.until('connected', (client, now) => client.connect(now))
    const far = await this.#member('far-01', this.roost.snPorts.get('field')!, random, 0)
    await far.connect()
    const hub = await this.client('far-away')
    for (let i = 0; i < QUEUED_MAX / 2; i++)
      await hub.client.publishAsync('site/far-01/command', `a command of some length ${i}`, { qos: 1 })
  }

  /** Adds sensors that all sleep, behind one forwarder. */
  async crowd(count: number): Promise<void> {
    const forwarder = new Forwarder(this.roost.snPorts.values().next().value!)
    this.#cleanUp.push(() => forwarder.close())
    await forwarder.open()
    for (let at = 0; at < count; at += 200)
      await Promise.all(Array.from({ length: Math.min(200, count - at) }, (_, i) => forwarder.sleeper(at + i)))
  }

  /** How often each state is among the sensors. */
  async states(): Promise<Record<string, number>> {
    const { sensors } = (await (await fetch(`${this.url}/api/v1/overview`)).json()) as { sensors: Record<string, number> }
    return sensors
  }

  async close(): Promise<void> {
    for (const step of this.#cleanUp.splice(0).reverse()) await step()
  }
}

/** Many sensors behind one socket, each a node of it. */
class Forwarder {
  readonly #socket: Socket = createSocket('udp4')
  readonly #port: number
  readonly #waiting = new Map<string, (message: Message) => void>()

  constructor(port: number) {
    this.#port = port
    this.#socket.on('message', (bytes) => {
      const inner = unwrap(bytes)
      if (inner === undefined || 'kind' in inner) return
      const message = decodeMessage(bytes.subarray(inner.start, inner.end)) as Message
      this.#waiting.get(Buffer.from(inner.nodeId).toString('hex'))?.(message)
    })
  }

  async open(): Promise<void> {
    this.#socket.bind(0, '127.0.0.1')
    await once(this.#socket, 'listening')
  }

  /** Connects node `i`, and puts it to sleep for an hour. */
  async sleeper(i: number): Promise<void> {
    const node = Uint8Array.of(i >> 16, (i >> 8) & 0xff, i & 0xff)
    const clientId = `crowd-${String(i).padStart(5, '0')}`
    const connect = { type: MsgType.CONNECT, clientId, cleanSession: true, will: false, protocolId: 1, duration: 600 }
    await this.#ask(node, connect, MsgType.CONNACK)
    await this.#ask(node, { type: MsgType.DISCONNECT, duration: 3600 }, MsgType.DISCONNECT)
  }

  /** Sends a message until it is answered. */
  #ask(node: Uint8Array, message: Message, answer: number): Promise<void> {
    return new Promise((resolve) => {
      const send = () => this.#socket.send(wrap(node, encodedMessage(message)), this.#port, '127.0.0.1')
      const timer = setInterval(send, 500)
      this.#waiting.set(Buffer.from(node).toString('hex'), ({ type }) => {
        if (type !== answer) return
        clearInterval(timer)
        resolve()
      })
      send()
    })
  }

  close(): void {
    this.#socket.close()
  }
}
