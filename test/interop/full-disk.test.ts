import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { LmdbStore } from '../../src/base/io/lmdb-store.ts'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

const PERSISTENT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const
const PAYLOAD = Buffer.alloc(2000, 120)
/** CONNECT of a sensor `s1` with a lasting session, keep alive 60 s. */
const SENSOR_CONNECT = '08 04 00 01 003c 7331'
const CONGESTION = '030501'

async function start(dir: string, ...flags: string[]): Promise<StartedProcess> {
  // The signal that comes with a write beyond the limit would end the process; a full disk sends none.
  process.env.NODE_OPTIONS = "--import data:text/javascript,process.on('SIGXFSZ',()=>{})"
  const roost = await StartedProcess.start('--data-dir', dir, ...flags)
  delete process.env.NODE_OPTIONS
  cleanUp.push(() => roost.stop('SIGKILL'))
  return roost
}

async function connect(roost: StartedProcess, clientId: string): Promise<MqttJs> {
  const js = await MqttJs.connect(roost.mqttPort, { ...PERSISTENT, clientId })
  cleanUp.push(() => js.client.endAsync(true))
  return js
}

/** Publishes numbered messages. What waits for the disk is not waited for: its answer may come when there is room again. */
class Writer {
  readonly acknowledged = new Set<string>()
  readonly #js: MqttJs
  readonly #name: string
  #next = 1

  constructor(js: MqttJs, name: string) {
    this.#js = js
    this.#name = name
  }

  /** The reason code: 0 for a message that was acknowledged. */
  async publish(): Promise<unknown> {
    const id = `${this.#name}${this.#next++}`
    try {
      await this.#js.client.publishAsync('a', `${id} ${PAYLOAD}`, { qos: 1 })
      this.acknowledged.add(id)
      return 0
    } catch (error) {
      return (error as { code?: unknown }).code
    }
  }

  /** Gives the first answer that is no acknowledgement: a reason code, or that there is none for now. */
  async untilNot(isOver: () => boolean = () => true): Promise<unknown> {
    for (;;) {
      const answer = await Promise.race([this.publish(), sleep(300, 'waits')])
      if (answer !== 0 && (answer !== 'waits' || isOver())) return answer
    }
  }
}

function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-full-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  return dir
}

/** Everything that was acknowledged is there for a subscriber that comes back after kill -9. */
async function expectAll(dir: string, acknowledged: ReadonlySet<string>): Promise<void> {
  const again = await start(dir)
  const reader = await connect(again, 'reader')
  const missing = new Set(acknowledged)
  while (missing.size > 0) missing.delete((await reader.next()).text.split(' ')[0]!)
}

describe('a disk that is full', () => {
  test('is refused with 0x97 and congestion, loses nothing, and is over when there is room', { timeout: 60_000 }, async () => {
    const dir = temporaryDirectory()
    const roost = await start(dir)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('a', { qos: 1 })
    await reader.client.endAsync()
    const writer = new Writer(await connect(roost, 'writer'), 'w')
    const other = new Writer(await connect(roost, 'other'), 'o')
    const limit = statSync(join(dir, 'data.mdb')).size + 500_000
    execFileSync('prlimit', ['--pid', `${roost.child.pid}`, `--fsize=${limit}:`])
    // Its message was taken in, and waits; answers keep their order, so nothing more is heard here until there is room.
    const hasFailed = (): boolean => roost.log.some((line) => line.startsWith('store-failed'))
    expect(await writer.untilNot(hasFailed)).toBe('waits')
    expect(writer.acknowledged.size).toBeGreaterThan(50)
    expect(await other.publish()).toBe(0x97)
    const sensor = await RawSensor.open(roost.snPort)
    cleanUp.push(() => sensor.close())
    sensor.sendHex(SENSOR_CONNECT)
    expect(await sensor.next()).toBe(CONGESTION)
    expect(roost.isRunning).toBe(true)
    execFileSync('prlimit', ['--pid', `${roost.child.pid}`, '--fsize=unlimited'])
    while (!roost.log.some((line) => line.startsWith('store-recovered'))) await sleep(50)
    while ((await writer.publish()) !== 0) await sleep(50)
    sensor.sendHex(SENSOR_CONNECT)
    expect(await sensor.next()).toBe('030500')
    expect(await other.publish()).toBe(0)
    await roost.stop('SIGKILL')
    await expectAll(dir, new Set([...writer.acknowledged, ...other.acknowledged]))
  })
})

describe('max_data_bytes', () => {
  test('refuses what is new with 0x97 and congestion, lets a session be emptied, and takes messages again', {
    timeout: 60_000,
  }, async () => {
    const roost = await start(temporaryDirectory(), '--max-data-bytes', `${1024 * 1024}`)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('a', { qos: 1 })
    await reader.client.endAsync()
    const writer = new Writer(await connect(roost, 'writer'), 'w')
    // A checkpoint may make a little room, for as long as nobody writes: then another sensor finds it used up again.
    let answer = ''
    for (let number = 1; number <= 9 && answer !== CONGESTION; number++) {
      expect(await writer.untilNot(() => false)).toBe(0x97)
      const sensor = await RawSensor.open(roost.snPort)
      cleanUp.push(() => sensor.close())
      sensor.sendHex(`08 04 00 01 003c 733${number}`)
      answer = await sensor.next()
    }
    expect(answer).toBe(CONGESTION)
    expect(writer.acknowledged.size).toBeGreaterThan(50)
    const again = await connect(roost, 'reader')
    for (let i = 0; i < writer.acknowledged.size; i++) await again.next()
    while ((await writer.publish()) !== 0) await sleep(100)
    expect(roost.isRunning).toBe(true)
  })
})

test('a damaged store that cannot be salvaged for want of room ends the start with one line, and is salvaged when there is room', async () => {
  const dir = temporaryDirectory()
  const store = await LmdbStore.open(dir, {
    durability: 'process',
    checkpointBytes: 20_000,
    onDurable: () => {},
    onFailed: () => {},
    onRecovered: () => {},
  })
  for (let id = 1; id <= 1000; id++) {
    const message = { topic: 'a', payload: PAYLOAD, qos: 1, retain: false, from: 'mqtt:p' } as const
    store.append({ type: 'message', id, message, deliveries: [{ key: 'mqtt:s', qos: 1, retain: false }] })
    if (id % 20 === 0) await sleep(1)
  }
  await store.close()
  const data = join(dir, 'data.mdb')
  const file = openSync(data, 'r+')
  writeSync(file, Buffer.alloc(4096, 7), 0, 4096, 100 * 4096)
  closeSync(file)
  const limited = 'trap "" XFSZ; ulimit -f 400; exec "$0" dist/main.js serve --port 0 --sn-port 0 --data-dir "$1"'
  const { status, stderr } = spawnSync('bash', ['-c', limited, process.execPath, dir], { encoding: 'utf8', timeout: 20_000 })
  expect(stderr).toMatch(/store .*: it is damaged, and its salvage failed: .* \(--data-dir\)\n$/)
  expect(status).toBe(2)
  const roost = await start(dir)
  expect(roost.log.some((line) => line.startsWith('store-damaged'))).toBe(true)
})
