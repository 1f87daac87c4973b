import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { freePort, reachable } from '../interop/mosquitto-broker.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { bridgeYaml } from './bridge-yaml.ts'
import { RoostEnd } from './ends.ts'

const missing = spawnSync('nats-server', ['--version']).status !== 0
if (missing && process.env.CI === 'true') throw new Error('nats-server is not installed, and CI skips nothing')
if (missing) process.stderr.write('skipped: the bridge to nats-server, which is not installed (Debian: nats-server)\n')

/** nats-server with JetStream, whose MQTT is 3.1.1 with QoS 0 and 1: it closes the connection at a PUBLISH with QoS 2. */
class Nats {
  readonly port: number
  readonly #dir = mkdtempSync(join(tmpdir(), 'roost-nats-'))
  #child: ChildProcess | undefined

  private constructor(port: number, natsPort: number) {
    this.port = port
    const lines = ['server_name: one', `listen: 127.0.0.1:${natsPort}`, `jetstream { store_dir: "${this.#dir}" }`]
    writeFileSync(join(this.#dir, 'nats.conf'), [...lines, `mqtt { listen: "127.0.0.1:${port}", ack_wait: "1s" }`, ''].join('\n'))
  }

  static async start(): Promise<Nats> {
    const nats = new Nats(await freePort(), await freePort())
    await nats.restart()
    return nats
  }

  async restart(): Promise<void> {
    this.#child = spawn('nats-server', ['-c', join(this.#dir, 'nats.conf')], { stdio: 'ignore' })
    while (!(await reachable(this.port))) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  async kill(): Promise<void> {
    const exited = once(this.#child!, 'exit')
    this.#child!.kill('SIGKILL')
    await exited
  }

  async stop(): Promise<void> {
    await this.kill()
    rmSync(this.#dir, { recursive: true })
  }
}

const COUNT = 200
const texts = Array.from({ length: COUNT }, (_, i) => `${i}`)

describe.skipIf(missing)('a bridge to nats-server', () => {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  const client = async (port: number, clientId: string): Promise<MqttJs> => {
    const js = await MqttJs.connect(port, { clientId, clean: false, protocolVersion: 4, reconnectPeriod: 100 })
    ends.push(() => js.client.end(true))
    return js
  }

  test('which is killed on the way: everything that was acknowledged arrives, both ways, QoS 2 as QoS 1', async () => {
    const nats = await Nats.start()
    ends.push(() => nats.stop())
    const topics = ['up/# out 1 "" ""', 'down/# in 1 "" ""']
    const roost = await RoostEnd.start(
      bridgeYaml(`127.0.0.1:${nats.port}`, topics, ['notifications: false', 'restart_timeout: 1 1']),
    )
    ends.push(() => roost.stop())
    const here = await client(roost.port, 'here')
    const there = await client(nats.port, 'there')
    await here.client.subscribeAsync('down/#', { qos: 1 })
    await there.client.subscribeAsync('up/#', { qos: 1 })
    const arrived = { up: new Set<string>(), down: new Set<string>() }
    there.client.on('message', (_, payload) => arrived.up.add(payload.toString()))
    here.client.on('message', (_, payload) => arrived.down.add(payload.toString()))
    // What is published there before the bridge has subscribed is not its business.
    while (!arrived.down.has('first')) {
      await there.client.publishAsync('down/a', 'first', { qos: 1 })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const half = COUNT / 2
    const publish = (from: number, to: number): Promise<unknown>[] =>
      texts
        .slice(from, to)
        .flatMap((text, i) => [
          here.client.publishAsync('up/a', text, { qos: i % 2 === 0 ? 1 : 2 }),
          there.client.publishAsync('down/a', text, { qos: 1 }),
        ])
    await Promise.all(publish(0, half))
    const rest = publish(half, COUNT)
    await nats.kill()
    await nats.restart()
    await Promise.all(rest)
    await expect.poll(() => texts.filter((text) => !arrived.up.has(text)), { timeout: 20_000 }).toEqual([])
    await expect.poll(() => texts.filter((text) => !arrived.down.has(text)), { timeout: 20_000 }).toEqual([])
  }, 60_000)
})
