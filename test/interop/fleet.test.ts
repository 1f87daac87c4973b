import { afterEach, beforeEach, expect, test } from 'vitest'
import { Random } from '../../fuzz/sim/random.ts'
import { Sensor } from '../../src/cli/sn/sensor.ts'
import type { SnClient, SnEvent } from '../../src/mqttsn/client.ts'
import { MsgType } from '../../src/mqttsn/messages.ts'
import { LossyRelay } from './lossy-relay.ts'
import { MqttJs } from './mqttjs.ts'
import { StartedProcess } from './started-process.ts'

const SIZE = 40
const LOSS = 0.1
const SEED = Number(process.env.SEED ?? Date.now() % 2 ** 31)
/** Reports of each sensor, and commands to each. */
const EACH = 3

let roost: StartedProcess
let url: string
const cleanUp: (() => unknown)[] = []
beforeEach(async () => {
  const flags = ['--http-port', '0', '--presence-topic', 'roost/sensors/%c', '--t-retry', '0.2', '--n-retry', '50']
  roost = await StartedProcess.start('--memory', '--t-adv', '65535', ...flags)
  cleanUp.push(() => roost.stop())
  url = `http://127.0.0.1:${roost.httpPort}`
})
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

/** What a sensor ends in. */
type Fate = 'active' | 'asleep' | 'lost' | 'disconnected'
const FATES: readonly Fate[] = ['active', 'asleep', 'asleep', 'lost', 'disconnected']

/** A sensor behind a lossy network, with its ledger. */
class Member {
  readonly id: string
  readonly fate: Fate
  readonly sensor: Sensor
  readonly relay: LossyRelay
  readonly commands: string[] = []

  private constructor(id: string, fate: Fate, sensor: Sensor, relay: LossyRelay) {
    this.id = id
    this.fate = fate
    this.sensor = sensor
    this.relay = relay
  }

  static async open(i: number, random: Random): Promise<Member> {
    const relay = await LossyRelay.open(roost.snPort, random, LOSS)
    const fate = FATES[i % FATES.length]!
    const id = `sensor-${String(i).padStart(2, '0')}`
    const options = { clientId: id, cleanSession: false, keepAliveSeconds: 60, tRetryMs: 200, nRetry: 50 }
    const sensor = await Sensor.open({ host: '127.0.0.1', port: relay.port, sourcePort: 0, ...options })
    cleanUp.push(
      () => sensor.close(),
      () => relay.close(),
    )
    return new Member(id, fate, sensor, relay)
  }

  /** Does something, and waits for what answers it. */
  async until(event: SnEvent['event'], act: (client: SnClient, now: number) => void): Promise<void> {
    this.sensor.act(act)
    for (;;) {
      const found = await this.sensor.next(20_000)
      if (found === undefined) throw new Error(`${this.id}: no ${event}`)
      if (found.event === 'message') this.commands.push(Buffer.from(found.message.data).toString())
      if (found.event === event) return
      // A late copy of an answer looks like the end of its session: it begins again where it was.
      if (found.event === 'disconnected') {
        await this.until('connected', (client, now) => client.connect(now))
        if (event === 'wakeEnded' || event === 'asleep') await this.until('asleep', (client, now) => client.sleep(now, 600))
        this.sensor.act(act)
      }
      if (found.event === 'timedOut') throw new Error(`${this.id}: no ${found.awaiting}`)
    }
  }

  /** Connects, subscribes, reports, and goes to sleep. */
  async begin(): Promise<void> {
    await this.until('connected', (client, now) => client.connect(now))
    await this.until('subscribed', (client, now) => client.subscribe(now, `fleet/${this.id}/command`, 1))
    for (let i = 0; i < EACH; i++)
      await this.until('published', (client, now) => client.publish(now, `fleet/${this.id}/report`, Buffer.from(`${i}`), 1))
    await this.until('asleep', (client, now) => client.sleep(now, 600))
  }

  /** Fetches its commands, and ends as it is to end. */
  async end(): Promise<void> {
    while (new Set(this.commands).size < EACH) await this.until('wakeEnded', (client, now) => client.wake(now))
    if (this.fate === 'active') await this.until('connected', (client, now) => client.connect(now))
    if (this.fate === 'disconnected') {
      await this.until('connected', (client, now) => client.connect(now))
      await this.until('disconnected', (client, now) => client.disconnect(now))
    }
    if (this.fate === 'lost') await this.until('asleep', (client, now) => client.sleep(now, 1))
  }
}

/** The packets of a live trace. */
class Trace {
  readonly lines: { readonly protocol: string; readonly direction: string; readonly line: string }[] = []
  readonly #stop = new AbortController()
  missed = 0

  async open(): Promise<void> {
    const { body } = await fetch(`${url}/api/v1/trace`, { signal: this.#stop.signal })
    cleanUp.push(() => this.#stop.abort())
    void this.#read(body!).catch(() => {})
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      const blocks = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (data === undefined) continue
        if (block.startsWith('event: missed')) this.missed++
        else this.lines.push(JSON.parse(data))
      }
    }
  }

  count(direction: string, type: string): number {
    const arrow = direction === 'received' ? '->' : '<-'
    return this.lines.filter(({ protocol, line }) => protocol === 'mqtt-sn' && `${line} `.includes(` ${arrow} ${type} `)).length
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the test looks into it.
const json = async (path: string): Promise<any> => (await fetch(`${url}${path}`)).json()

/** Waits until this is so, or so long that it will never be: what follows says then what is wrong. */
async function eventually(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + 15_000
  while (!(await isSo()) && performance.now() < until) await new Promise((resolve) => setImmediate(resolve))
}

test(`forty sensors on a lossy network: every figure is what they know of themselves (SEED=${SEED})`, {
  timeout: 120_000,
}, async () => {
  const random = new Random(SEED)
  const trace = new Trace()
  await trace.open()
  const presence = new Map<string, { readonly state: string; readonly waiting_messages: number }>()
  const reports = new Map<string, Set<string>>()
  const station = await MqttJs.connect(roost.mqttPort, { clientId: 'station' })
  cleanUp.push(() => station.client.endAsync(true))
  station.client.on('message', (topic, payload) => {
    const id = topic.split('/')
    if (topic.startsWith('roost/')) presence.set(id[2]!, JSON.parse(payload.toString()))
    else reports.set(id[1]!, (reports.get(id[1]!) ?? new Set()).add(payload.toString()))
  })
  await station.client.subscribeAsync(['fleet/+/report', 'roost/sensors/#'], { qos: 1 })

  const fleet: Member[] = []
  for (let i = 0; i < SIZE; i++) fleet.push(await Member.open(i, random))
  await Promise.all(fleet.map((member) => member.begin()))
  for (let i = 0; i < EACH; i++)
    for (const { id } of fleet) await station.client.publishAsync(`fleet/${id}/command`, `${i}`, { qos: 1 })
  const { sensors, waiting } = await json('/api/v1/overview')
  expect(sensors).toMatchObject({ asleep: SIZE, active: 0, awake: 0, lost: 0, disconnected: 0 })
  expect(waiting.messages).toBe(SIZE * EACH)
  await Promise.all(fleet.map((member) => member.end()))
  for (const { commands } of fleet) expect(new Set(commands)).toEqual(new Set(['0', '1', '2']))
  for (const { id } of fleet) expect(reports.get(id)).toEqual(new Set(['0', '1', '2']))

  // Sensors that said that they would sleep for a second, and stay away.
  const expected: Record<string, number> = { active: 0, asleep: 0, awake: 0, lost: 0, disconnected: 0 }
  for (const { fate } of fleet) expected[fate]!++
  await eventually(async () => (await json('/api/v1/overview')).sensors.lost === expected.lost)
  // What is still on its way to them arrives.
  for (const { relay } of fleet) relay.loss = 0
  expect((await json('/api/v1/overview')).sensors).toMatchObject(expected)

  const { clients } = await json('/api/v1/clients?protocol=mqtt-sn&limit=1000')
  const states = Object.fromEntries(
    clients.map(({ client_id, state }: { client_id: string; state: string }) => [client_id, state]),
  )
  expect(states).toEqual(Object.fromEntries(fleet.map(({ id, fate }) => [id, fate])))
  await eventually(() => fleet.every(({ id, fate }) => presence.get(id)?.state === fate))
  for (const { id, fate } of fleet) expect(presence.get(id)).toMatchObject({ state: fate, waiting_messages: 0 })

  for (const { id, fate, relay } of fleet) {
    const { counters } = await json(`/api/v1/clients/sn%3A${id}`)
    const { received, sent } = relay
    expect({ id, ...counters }).toMatchObject({
      id,
      messages_received: received.of(MsgType.PUBLISH),
      messages_sent: sent.of(MsgType.PUBLISH),
      dropped: 0,
      refused: 0,
    })
    expect(counters.bytes_received).toBe(received.bytes)
    // A copy of its last DISCONNECT, after it has gone, is answered as that of a stranger: with a DISCONNECT of two bytes.
    const answers = fate === 'disconnected' ? sent.of(MsgType.DISCONNECT) - 2 : 0
    expect(sent.bytes - counters.bytes_sent).toBeLessThanOrEqual(2 * answers)
    expect(counters.bytes_sent).toBeLessThanOrEqual(sent.bytes)
    expect(counters.wakes).toBeGreaterThanOrEqual(1)
  }

  const metrics = await (await fetch(`${url}/metrics`)).text()
  for (const [state, count] of Object.entries(expected)) expect(metrics).toContain(`\nroost_sensors{state="${state}"} ${count}\n`)
  // A lost sensor, and one that has disconnected, leave their sessions.
  const connected = SIZE - expected.lost! - expected.disconnected!
  expect(metrics).toContain(`\nroost_sessions{protocol="mqtt-sn",state="connected"} ${connected}\n`)
  expect(metrics).toContain(`\nroost_sessions{protocol="mqtt-sn",state="disconnected"} ${SIZE - connected}\n`)
  expect(metrics).toContain('\nroost_waiting_messages 0\n')
  expect(metrics).toContain('\nroost_oldest_waiting_message_age_seconds 0\n')
  for (const [type, number] of Object.entries(MsgType)) {
    if (type === 'ADVERTISE' || type === 'SEARCHGW' || type === 'GWINFO') continue
    for (const direction of ['received', 'sent'] as const) {
      const counted = fleet.reduce((sum, { relay }) => sum + relay[direction].of(number), 0)
      const [, shown] =
        new RegExp(`^roost_packets_total\\{protocol="mqtt-sn",direction="${direction}",type="${type}"\\} (\\d+)$`, 'm').exec(
          metrics,
        ) ?? []
      expect({ type, direction, counted }).toEqual({ type, direction, counted: Number(shown) })
      await eventually(() => trace.count(direction, type) >= counted)
      expect({ type, direction, traced: trace.count(direction, type) }).toEqual({ type, direction, traced: counted })
    }
  }
  expect(trace.missed).toBe(0)
})
