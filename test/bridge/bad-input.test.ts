import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectAsync, type MqttClient } from 'mqtt'
import { describe, test as plain, vi } from 'vitest'
import { Certificates } from '../interop/certificates.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { until } from './bridged-site.ts'
import { RoostEnd } from './ends.ts'
import { KIND, OddBroker } from './odd-broker.ts'

// All of them start at the same time, each with a process of its own.
vi.setConfig({ testTimeout: 120_000 })

/** In which a bridge that fails dials at most five times: its backoff starts at a second. */
const WATCHED_MS = 4000
const MOST_DIALS = 5
const TEXTS = Array.from({ length: 20 }, (_, i) => `m${i}`)

/** A Roost with a bridge to a broker that misbehaves. */
class Rig {
  readonly #ends: { stop: () => unknown }[] = []

  async odd(...given: Parameters<typeof OddBroker.start>): Promise<OddBroker> {
    const broker = await OddBroker.start(...given)
    this.#ends.push(broker)
    return broker
  }

  async bridged(address: OddBroker | string, ...lines: string[]): Promise<BridgedRoost> {
    const url = typeof address === 'string' ? address : `mqtt://127.0.0.1:${address.port}`
    const end = await RoostEnd.start(bridgeYaml(url, ['out/# out 2'], ['notifications: false', ...lines]))
    this.#ends.push(end)
    const client = await connectAsync(`mqtt://127.0.0.1:${end.port}`, { protocolVersion: 5 })
    this.#ends.push({ stop: () => client.endAsync(true) })
    return new BridgedRoost(end, client)
  }

  certificates(): Certificates {
    const certificates = new Certificates()
    this.#ends.push({ stop: () => certificates.remove() })
    return certificates
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0).reverse()) await end.stop()
  }
}

class BridgedRoost {
  readonly #end: RoostEnd
  readonly #client: MqttClient

  constructor(end: RoostEnd, client: MqttClient) {
    this.#end = end
    this.#client = client
  }

  publish(text: string, qos: 1 | 2 = 1): Promise<unknown> {
    return this.#client.publishAsync('out/a', text, { qos })
  }

  async publishAll(qos: 1 | 2 = 1): Promise<void> {
    for (const text of TEXTS) await this.publish(text, qos)
  }

  /** Warnings and errors so far. */
  get warnings(): string[] {
    return this.#end.process!.levels.filter((line) => /^(warn|error|fatal) /.test(line))
  }

  /** The first of them. */
  async warned(): Promise<void> {
    await until(() => this.warnings.length > 0)
  }
}

const test = plain.extend<{ rig: Rig }>({
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the names of fixtures from the pattern
  rig: async ({}, use) => {
    const rig = new Rig()
    await use(rig)
    await rig.stop()
  },
})

describe.concurrent('a far side that refuses the bridge: one line, no loop, and nothing is lost', () => {
  test.for([
    ['wrong credentials', 0x86, /user ?name or password/i],
    ['not authorized', 0x87, /not authorized/i],
    ['client id refused', 0x85, /client identifier|client id/i],
    ['server unavailable', 0x88, /unavailable/i],
    ['banned', 0x8a, /banned/i],
  ] as const)('%s', async ([, reasonCode, reason], { rig, expect }) => {
    const far = await rig.odd({ connack: () => ({ reasonCode }) })
    const roost = await rig.bridged(far)
    await roost.publish('waits')
    await roost.warned()
    await sleep(WATCHED_MS)
    expect(roost.warnings).toEqual([expect.stringMatching(reason)])
    expect(far.dials).toBeLessThanOrEqual(MOST_DIALS)
    far.manners = KIND
    await until(() => far.taken.length > 0)
    expect(far.taken).toEqual(['waits'])
  })

  test('no version that it speaks', async ({ rig, expect }) => {
    const far = await rig.odd({
      connack: ({ protocolVersion }) => (protocolVersion === 5 ? { reasonCode: 0x84 } : { returnCode: 1 }),
    })
    const roost = await rig.bridged(far)
    await roost.publish('waits')
    await sleep(WATCHED_MS)
    expect(roost.warnings.length).toBeLessThanOrEqual(3)
    for (const line of roost.warnings) expect(line).toMatch(/version/i)
    expect(far.dials).toBeLessThanOrEqual(MOST_DIALS)
    far.manners = KIND
    await until(() => far.taken.length > 0)
    expect(far.taken).toEqual(['waits'])
  })

  test('5.0 is refused, and 3.1.1 is spoken', async ({ rig, expect }) => {
    const far = await rig.odd({ connack: ({ protocolVersion }) => (protocolVersion === 5 ? { reasonCode: 0x84 } : {}) })
    const roost = await rig.bridged(far)
    await roost.publish('one')
    await until(() => far.taken.length > 0)
    expect(far.taken).toEqual(['one'])
    expect(far.connects.at(-1)!.protocolVersion).toBe(4)
  })

  test('a stream that ends before CONNACK', async ({ rig, expect }) => {
    const far = await rig.odd({ connack: () => 'close' })
    const roost = await rig.bridged(far)
    await roost.publish('waits')
    await roost.warned()
    await sleep(WATCHED_MS)
    // The second one says that another version is tried.
    expect(roost.warnings.length).toBeLessThanOrEqual(2)
    for (const line of roost.warnings) expect(line).toMatch(/closed before CONNACK/)
    expect(far.dials).toBeLessThanOrEqual(MOST_DIALS)
    far.manners = KIND
    await until(() => far.taken.length > 0)
    expect(far.taken).toEqual(['waits'])
  })
})

describe.concurrent('a far side that cannot be reached: one line, and no loop', () => {
  test('nobody listens', async ({ rig, expect }) => {
    const far = await OddBroker.start()
    await far.stop()
    const roost = await rig.bridged(far)
    await roost.warned()
    await sleep(WATCHED_MS)
    expect(roost.warnings).toEqual([expect.stringMatching(/ECONNREFUSED|refused/)])
  })

  test('it has the certificate of a stranger', async ({ rig, expect }) => {
    const certificates = rig.certificates()
    const [cert, key] = [readFileSync(certificates.path('server.crt')), readFileSync(certificates.path('server.key'))]
    const far = await rig.odd({}, { cert, key })
    const roost = await rig.bridged(`mqtts://127.0.0.1:${far.port}`)
    await roost.warned()
    await sleep(WATCHED_MS)
    expect(roost.warnings).toEqual([expect.stringMatching(/certificate/)])
    expect(far.dials).toBeLessThanOrEqual(MOST_DIALS)
  })
})

describe.concurrent('a far side that does not take messages', () => {
  test.for([1, 2] as const)('Receive Maximum 1, QoS %i: one at a time, in order', async (qos, { rig, expect }) => {
    const far = await rig.odd({ connack: () => ({ properties: { receiveMaximum: 1 } }) })
    far.answersAfterMs = 5
    const roost = await rig.bridged(far)
    await roost.publishAll(qos)
    await until(() => far.taken.length >= TEXTS.length)
    expect(far.taken).toEqual(TEXTS)
    expect(far.widest).toBe(1)
    expect(roost.warnings).toEqual([])
  })

  test('a quota that is used up: told once, asked with pauses, and nothing is lost', async ({ rig, expect }) => {
    const far = await rig.odd({ publish: () => 0x97 })
    const roost = await rig.bridged(far)
    await roost.publishAll()
    await roost.warned()
    await sleep(WATCHED_MS)
    expect(roost.warnings).toEqual([expect.stringMatching(/quota/i)])
    expect(far.publishes).toBeLessThanOrEqual(2 * TEXTS.length)
    far.manners = KIND
    await until(() => far.taken.length === TEXTS.length, 40_000)
    expect([...far.taken].sort()).toEqual([...TEXTS].sort())
  })

  test('one message is refused for good: it is told, and the others pass', async ({ rig, expect }) => {
    const far = await rig.odd({ publish: ({ payload }) => (String(payload) === 'm3' ? 0x87 : 0) })
    const roost = await rig.bridged(far)
    await roost.publishAll()
    await until(() => far.taken.length === TEXTS.length - 1)
    expect(far.taken).toEqual(TEXTS.filter((text) => text !== 'm3'))
    await roost.warned()
    expect(roost.warnings).toEqual([expect.stringMatching(/not authorized/i)])
  })

  test('it closes behind one message: that one is given up with a line, and the others pass', async ({ rig, expect }) => {
    const far = await rig.odd({ publish: ({ payload }) => (String(payload) === 'm3' ? 'close' : 0) })
    const roost = await rig.bridged(far, 'restart_timeout: 1 5')
    await roost.publishAll()
    await until(() => new Set(far.taken).size === TEXTS.length - 1, 40_000)
    expect([...new Set(far.taken)]).toEqual(TEXTS.filter((text) => text !== 'm3'))
    expect(roost.warnings.filter((line) => /given up/.test(line))).toHaveLength(1)
  })

  test('it acknowledges each message and closes: all arrive, and it is not dialled without a pause', async ({ rig, expect }) => {
    const far = await rig.odd({ publish: () => 'acknowledge and close' })
    const roost = await rig.bridged(far, 'restart_timeout: 1 5')
    await roost.publishAll()
    await sleep(WATCHED_MS)
    expect(far.dials).toBeLessThanOrEqual(MOST_DIALS)
    far.manners = KIND
    await until(() => new Set(far.taken).size === TEXTS.length, 40_000)
    expect([...new Set(far.taken)]).toEqual(TEXTS)
  })

  test('a message above its Maximum Packet Size: told, and the others pass', async ({ rig, expect }) => {
    const far = await rig.odd({ connack: () => ({ properties: { maximumPacketSize: 200 } }) })
    const roost = await rig.bridged(far)
    await roost.publish('x'.repeat(500))
    await roost.publish('small')
    await until(() => far.taken.length > 0)
    expect(far.taken).toEqual(['small'])
    await roost.warned()
    expect(roost.warnings).toEqual([expect.stringMatching(/200 bytes/)])
  })
})
