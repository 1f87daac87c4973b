import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { isMalformed } from '../../src/mqttsn/decode.ts'
import { type Message, MsgType } from '../../src/mqttsn/messages.ts'
import { objectIdOf } from '../../src/presence/names.ts'
import { say } from '../gateway/harness.ts'
import { MqttJs, type Received } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'
import { ZiGate } from './zigate.ts'
import { deviceOf, type Installed, installZigbee2Mqtt, prepare, Zigbee2Mqtt, type ZigbeeDevice } from './zigbee2mqtt.ts'

// Zigbee2MQTT from npm beside sensors of Roost's own, both announced to Home Assistant on the same broker. Not part of `npm test`,
// because it downloads 270 MB; `.ci/run` and `npm run test:full` run it.

const TOKEN = 't'.repeat(32)
const STATE = 'zigbee2mqtt/bridge/state'
const OURS = /^(?:homeassistant\/device\/roost_|roost\/sensors\/)/

let dir: string
let installed: Installed | undefined
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'roost-zigbee2mqtt-'))
  writeFileSync(join(dir, 'tokens'), `manage ${TOKEN}\n`, { mode: 0o600 })
  installed = await installZigbee2Mqtt(join(dir, 'npm'))
}, 300_000)
afterAll(() => rmSync(dir, { recursive: true }), 60_000)

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

/** A site with both, on one broker. */
class Site {
  readonly #installed: Installed
  readonly #folder: string
  readonly devices: readonly ZigbeeDevice[]
  readonly radio: ZiGate
  roost: StartedProcess
  zigbee: Zigbee2Mqtt

  private constructor(
    program: Installed,
    folder: string,
    devices: readonly ZigbeeDevice[],
    radio: ZiGate,
    roost: StartedProcess,
  ) {
    this.#installed = program
    this.#folder = folder
    this.devices = devices
    this.radio = radio
    this.roost = roost
    this.zigbee = new Zigbee2Mqtt(program, folder)
    cleanUp.push(
      () => this.roost.stop(),
      () => this.zigbee.stop(),
    )
  }

  static async open({ skip }: TestContext, name: string, size: number, version: 4 | 5): Promise<Site> {
    if (installed === undefined) return skip()
    const radio = await ZiGate.open()
    cleanUp.push(() => radio.close())
    const roost = await Site.#start(name, 0)
    const devices = Array.from({ length: size }, (_, i) => deviceOf(i))
    const folder = join(dir, name, 'zigbee2mqtt')
    prepare(folder, devices, radio.port, { server: `mqtt://127.0.0.1:${roost.mqttPort}`, version })
    return new Site(installed, folder, devices, radio, roost)
  }

  static #start(name: string, port: number): Promise<StartedProcess> {
    const flags = ['--data-dir', join(dir, name, 'roost'), '--home-assistant-discovery', 'homeassistant']
    return StartedProcess.startWith(
      '--port',
      String(port),
      '--http-port',
      '0',
      '--http-token-file',
      join(dir, 'tokens'),
      ...flags,
    )
  }

  async restartRoost(name: string): Promise<void> {
    const port = this.roost.mqttPort
    await this.roost.stop()
    this.roost = await Site.#start(name, port)
  }

  restartZigbee(): void {
    this.zigbee = new Zigbee2Mqtt(this.#installed, this.#folder)
  }

  async sensor(): Promise<(message: Message) => Promise<Message>> {
    const sensor = await RawSensor.open(this.roost.snPort)
    cleanUp.push(() => sensor.close())
    return async (message) => {
      sensor.send(message)
      const answer = await sensor.hear()
      if (isMalformed(answer)) throw new Error(answer.reason)
      return answer
    }
  }

  client(method: 'GET' | 'DELETE', id: string): Promise<Response> {
    const url = `http://127.0.0.1:${this.roost.httpPort}/api/v1/clients/${id}`
    return fetch(url, { method, headers: { authorization: `Bearer ${TOKEN}` } })
  }

  /** A client that subscribes to what Home Assistant does. */
  async homeAssistant(): Promise<MqttJs> {
    const js = await MqttJs.connect(this.roost.mqttPort, { clientId: 'home-assistant', protocolVersion: 5 })
    cleanUp.push(() => js.client.endAsync(true))
    await js.client.subscribeAsync(['homeassistant/+/+/config', 'homeassistant/+/+/+/config', 'zigbee2mqtt/#', 'roost/sensors/#'])
    return js
  }

  /** All retained messages, by topic. */
  async retained(): Promise<Map<string, string>> {
    const js = await MqttJs.connect(this.roost.mqttPort, {})
    await js.client.subscribeAsync(['homeassistant/#', 'zigbee2mqtt/#', 'roost/sensors/#', 'end'])
    await js.client.publishAsync('end', '')
    const found = new Map<string, string>()
    for (let one = await js.next(); one.topic !== 'end'; one = await js.next()) if (one.retain) found.set(one.topic, one.text)
    await js.client.endAsync()
    return found
  }

  /** Retained messages of Zigbee2MQTT, but for what it says of itself at this moment. */
  async zigbeeRetained(): Promise<Map<string, string>> {
    const all = await this.retained()
    return new Map([...all].filter(([topic]) => !OURS.test(topic) && !/^zigbee2mqtt\/bridge\/(?:state|health|info)$/.test(topic)))
  }

  /** The last that Zigbee2MQTT announces. */
  get last(): string {
    return `sensor/${this.devices.at(-1)!.address}/linkquality/config`
  }

  /** Waits until Zigbee2MQTT has announced everything, which it begins five seconds after its start. */
  async announced(home: MqttJs): Promise<void> {
    await Promise.race([until(home, (topic) => topic === `homeassistant/${this.last}`), this.zigbee.ended])
  }
}

async function until(js: MqttJs, wanted: (topic: string, text: string) => boolean): Promise<Received> {
  for (;;) {
    const message = await js.next()
    if (wanted(message.topic, message.text)) return message
  }
}

interface Config {
  readonly unique_id: string
  readonly device: { readonly identifiers: readonly string[] }
  readonly components?: Readonly<Record<string, { readonly unique_id: string }>>
}

describe('Zigbee2MQTT', () => {
  test('and sensors are announced side by side, hear each other, and come and go without the other noticing', async (context) => {
    const site = await Site.open(context, 'neighbours', 320, 5)
    const { roost, zigbee, radio, devices } = site
    const home = await site.homeAssistant()
    const kitchen = await site.sensor()
    await kitchen(say.connect('kitchen', { clean: false }))
    await site.announced(home)

    // Both are complete, and no id is used twice.
    const before = await site.retained()
    expect(before.get(STATE)).toBe('{"state":"online"}')
    const list = before.get('zigbee2mqtt/bridge/devices')!
    expect(JSON.parse(list)).toHaveLength(devices.length + 1)
    // Larger than Zigbee2MQTT itself accepts (mqtt.maximum_packet_size, 1 MiB), which is not disconnected for that.
    expect(list.length).toBeGreaterThan(1_048_576)
    const configs = [...before]
      .filter(([topic]) => topic.startsWith('homeassistant/'))
      .map(([, text]) => JSON.parse(text) as Config)
    expect(configs.length).toBeGreaterThan(devices.length * 6)
    const ids = configs.flatMap((config) => Object.values(config.components ?? { self: config }).map((one) => one.unique_id))
    expect(new Set(ids).size).toBe(ids.length)
    const identifiers = new Set(configs.flatMap(({ device }) => device.identifiers))
    expect(identifiers.size).toBe(devices.length + 2)
    expect([...identifiers].filter((id) => id.startsWith('roost_'))).toEqual([objectIdOf('kitchen')])

    // It has read the announcements of sensors, and waits for Home Assistant.
    const client = await site.client('GET', 'zigbee2mqtt')
    const { subscriptions } = (await client.json()) as { subscriptions: { filter: string }[] }
    expect(subscriptions.map(({ filter }) => filter).sort()).toEqual(['homeassistant/status', 'zigbee2mqtt/#'])
    home.client.publish('homeassistant/status', 'online')
    await zigbee.logged(/Received MQTT message on 'homeassistant\/status' with data 'online'/)

    // A sensor sleeps while a Zigbee device measures something.
    const { topicId, returnCode } = (await kitchen(say.subscribe('zigbee2mqtt/room-7'))) as never
    expect(returnCode).toBe(0)
    await kitchen(say.disconnect(60))
    radio.reportTemperature(devices[7]!.networkAddress, 2150)
    await until(home, (topic) => topic === 'zigbee2mqtt/room-7')
    const heard = await kitchen({ type: MsgType.PINGREQ, clientId: 'kitchen' })
    expect(heard).toMatchObject({ type: MsgType.PUBLISH, topicId })
    if (heard.type !== MsgType.PUBLISH) throw new Error('not a PUBLISH')
    expect(JSON.parse(Buffer.from(heard.data).toString())).toMatchObject({ linkquality: 200, temperature: 21.5 })
    expect((await kitchen(say.puback(heard.topicId, heard.msgId))).type).toBe(MsgType.PINGRESP)

    // A sensor comes and goes.
    const zigbees = await site.zigbeeRetained()
    const hall = await site.sensor()
    const config = `homeassistant/device/${objectIdOf('hall')}/config`
    await hall(say.connect('hall'))
    await until(home, (topic, text) => topic === config && text !== '')
    expect((await site.client('DELETE', 'hall')).status).toBe(204)
    await until(home, (topic, text) => topic === config && text === '')
    expect(await site.zigbeeRetained()).toEqual(zigbees)

    // A Zigbee device is removed.
    const [first] = devices
    home.client.publish('zigbee2mqtt/bridge/request/device/remove', JSON.stringify({ id: first!.name, force: true }))
    await until(home, (topic, text) => topic === `homeassistant/sensor/${first!.address}/linkquality/config` && text === '')
    const after = await site.retained()
    expect([...after.keys()].filter((topic) => topic.includes(first!.address))).toEqual([])
    expect([...after.keys()].filter((topic) => OURS.test(topic)).sort()).toEqual([
      `homeassistant/device/${objectIdOf('kitchen')}/config`,
      'roost/sensors/kitchen',
    ])

    expect(zigbee.errors).toEqual([])
    expect(roost.levels.filter((line) => !line.startsWith('info'))).toEqual([])
  }, 300_000)

  test('over MQTT 3.1.1, and Roost: a restart of either leaves what the other has retained', async (context) => {
    const site = await Site.open(context, 'restarts', 3, 4)
    const kitchen = await site.sensor()
    await kitchen(say.connect('kitchen', { clean: false }))
    await kitchen(say.disconnect(3600))
    let home = await site.homeAssistant()
    await site.announced(home)
    const before = await site.zigbeeRetained()
    const sensors = async (): Promise<readonly unknown[]> => {
      const all = await site.retained()
      const { state } = JSON.parse(all.get('roost/sensors/kitchen')!)
      return [state, all.get(`homeassistant/device/${objectIdOf('kitchen')}/config`)]
    }
    const [state, config] = await sensors()
    expect([state, JSON.parse(config as string).device.name]).toEqual(['asleep', 'kitchen'])

    await site.zigbee.logged(/Discovering entities to Home Assistant$/)
    await site.restartRoost('restarts')
    await site.zigbee.logged(/Connected to MQTT server/)
    home = await site.homeAssistant()
    await until(home, (topic, text) => topic === STATE && text.includes('online'))
    expect(await site.zigbeeRetained()).toEqual(before)
    expect(await sensors()).toEqual([state, config])

    await site.zigbee.stop('SIGKILL')
    await until(home, (topic, text) => topic === STATE && text.includes('offline'))
    expect((await site.retained()).get(STATE)).toBe('{"state":"offline"}')
    expect(await site.zigbeeRetained()).toEqual(before)
    site.restartZigbee()
    await until(home, (topic, text) => topic === STATE && text.includes('online'))
    // It has found what it announced before.
    await site.zigbee.logged(new RegExp(`Skipping discovery of '${site.last}', already discovered`))
    expect(await site.zigbeeRetained()).toEqual(before)
    expect(await sensors()).toEqual([state, config])
    // What it says when it is stopped, without a will.
    await site.zigbee.stop()
    await until(home, (topic, text) => topic === STATE && text.includes('offline'))
    expect(site.roost.levels.filter((line) => !line.startsWith('info'))).toEqual([])
  }, 300_000)
})
