import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { FaultControl } from '../store/faults/faults.ts'
import { MqttJs } from './mqttjs.ts'
import { RawSensor } from './raw-sensor.ts'
import { StartedProcess } from './started-process.ts'

const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
})

const PERSISTENT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const
const PAYLOAD = Buffer.alloc(2000, 120)
const CONGESTION = '030501'

/** The signal that comes with a write beyond the limit would end the process; a full disk sends none. */
const SURVIVE_LIMITS = { NODE_OPTIONS: "--import data:text/javascript,process.on('SIGXFSZ',()=>{})" }

async function start(dir: string, env: Readonly<Record<string, string>>, ...flags: string[]): Promise<StartedProcess> {
  Object.assign(process.env, env)
  try {
    const roost = await StartedProcess.start('--data-dir', dir, ...flags)
    cleanUp.push(() => roost.stop('SIGKILL'))
    return roost
  } finally {
    for (const name of Object.keys(env)) delete process.env[name]
  }
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

  /** Returns the first answer that is no acknowledgement: a reason code, or that there is none for now. */
  async untilNot(isOver: () => boolean = () => true): Promise<unknown> {
    for (;;) {
      const answer = await Promise.race([this.publish(), sleep(300, 'waits')])
      if (answer !== 0 && (answer !== 'waits' || isOver())) return answer
    }
  }
}

/**
 * A sensor without a session whose CONNECT, with keep alive 60 s, is answered with congestion. There may be a little room again for a moment; then
 * `writer` uses it up before another sensor asks.
 */
async function refusedSensor(roost: StartedProcess, writer: Writer): Promise<{ sensor: RawSensor; connectHex: string }> {
  for (let number = 1; number <= 9; number++) {
    expect(await writer.untilNot(() => false)).toBe(0x97)
    const sensor = await RawSensor.open(roost.snPort)
    cleanUp.push(() => sensor.close())
    const connectHex = `08 04 00 01 003c 733${number}`
    sensor.sendHex(connectHex)
    if ((await sensor.next()) === CONGESTION) return { sensor, connectHex }
  }
  throw new Error('nine sensors were accepted')
}

function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'roost-full-'))
  cleanUp.push(() => rmSync(dir, { recursive: true }))
  return dir
}

/** Everything that was acknowledged is there for a subscriber that comes back after kill -9. */
async function expectAll(dir: string, acknowledged: ReadonlySet<string>): Promise<void> {
  const again = await start(dir, {})
  const reader = await connect(again, 'reader')
  const missing = new Set(acknowledged)
  while (missing.size > 0) missing.delete((await reader.next()).text.split(' ')[0]!)
}

describe('files that cannot grow', () => {
  test('are refused with 0x97 and congestion, lose nothing, and are over when they can', { timeout: 60_000 }, async () => {
    const dir = temporaryDirectory()
    const roost = await start(dir, SURVIVE_LIMITS)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('a', { qos: 1 })
    await reader.client.endAsync()
    const writer = new Writer(await connect(roost, 'writer'), 'w')
    const other = new Writer(await connect(roost, 'other'), 'o')
    const sizes = ['roost.db', 'roost.db-wal'].map((name) => statSync(join(dir, name)).size)
    const limit = Math.max(...sizes) + 1_000_000
    execFileSync('prlimit', ['--pid', `${roost.child.pid}`, `--fsize=${limit}:`])
    // Its message was taken in, and waits; answers keep their order, so nothing more is heard here until there is room.
    const hasFailed = (): boolean => roost.log.some((line) => line.startsWith('store-failed'))
    expect(await writer.untilNot(hasFailed)).toBe('waits')
    expect(writer.acknowledged.size).toBeGreaterThan(50)
    const { sensor, connectHex } = await refusedSensor(roost, other)
    expect(roost.isRunning).toBe(true)
    execFileSync('prlimit', ['--pid', `${roost.child.pid}`, '--fsize=unlimited'])
    await roost.logged(/store-recovered/)
    while ((await writer.publish()) !== 0) await sleep(50)
    sensor.sendHex(connectHex)
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
    const roost = await start(temporaryDirectory(), {}, '--max-data-bytes', `${1024 * 1024}`)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('a', { qos: 1 })
    await reader.client.endAsync()
    const writer = new Writer(await connect(roost, 'writer'), 'w')
    await refusedSensor(roost, writer)
    expect(writer.acknowledged.size).toBeGreaterThan(50)
    const again = await connect(roost, 'reader')
    for (let i = 0; i < writer.acknowledged.size; i++) await again.next()
    while ((await writer.publish()) !== 0) await sleep(100)
    expect(roost.isRunning).toBe(true)
  })
})

/** A small disk for a data directory, and for nothing else. */
interface Disk {
  readonly dir: string
  readonly env: Readonly<Record<string, string>>
  readonly flags: readonly string[]
  /** Bytes of a message. */
  readonly payload: number
  makeRoom(): void
}

/** A file system of 24 MB, with something on it that can be deleted; where that may not be mounted, a disk that is only said to be full. */
function smallDisk(): Disk {
  const mount = temporaryDirectory()
  const dir = join(mount, 'data')
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', mount], { stdio: 'ignore' })
  } catch {
    const control = new FaultControl(mount)
    cleanUp.push(() => control.close())
    control.fillDisk({ room: 8_000_000 })
    const makeRoom = (): void => control.fillDisk({ room: 8_000_000 })
    // The system still says that there is much room; the bound tells the store to keep its log short.
    return { dir, env: control.env, flags: ['--max-data-bytes', `${2 ** 24}`], payload: 500, makeRoom }
  }
  cleanUp.push(() => execFileSync('umount', [mount]))
  const filler = join(mount, 'filler')
  writeFileSync(filler, Buffer.alloc(8_000_000, 1))
  return { dir, env: {}, flags: [], payload: 2000, makeRoom: () => rmSync(filler) }
}

/** Publishes retained messages, many at a time, until one is refused. */
async function fill(js: MqttJs, payload: number, topicOf: (number: number) => string, retain: boolean): Promise<Set<string>> {
  const acknowledged = new Set<string>()
  const reasons = new Set<unknown>()
  let next = 1
  const publish = async (): Promise<void> => {
    while (reasons.size === 0) {
      const number = next++
      const content = `${number} ${'x'.repeat(payload)}`
      try {
        await js.client.publishAsync(topicOf(number), content, { qos: 1, retain })
        acknowledged.add(`${number}`)
      } catch (error) {
        reasons.add((error as { code?: unknown }).code)
      }
    }
  }
  await Promise.all(Array.from({ length: 50 }, publish))
  expect([...reasons]).toEqual([0x97])
  return acknowledged
}

describe('a disk that is full', () => {
  const numberOf = (text: string): string => text.split(' ')[0]!

  /** All numbers are there as retained messages. */
  async function expectRetained(roost: StartedProcess, numbers: ReadonlySet<string>): Promise<void> {
    const watcher = await MqttJs.connect(roost.mqttPort, { protocolVersion: 5 })
    cleanUp.push(() => watcher.client.endAsync(true))
    await watcher.client.subscribeAsync('kept/#', { qos: 1 })
    const missing = new Set(numbers)
    while (missing.size > 0) missing.delete(numberOf((await watcher.next()).text))
    await watcher.client.endAsync()
  }

  async function untilAccepted(js: MqttJs, topic: string): Promise<void> {
    for (;;) {
      try {
        await js.client.publishAsync(topic, 'late', { qos: 1, retain: true })
        return
      } catch {
        await sleep(20)
      }
    }
  }

  test('keeps all that was acknowledged, lets a subscriber empty its queue, and takes messages again when there is room', {
    timeout: 120_000,
  }, async () => {
    const disk = smallDisk()
    const roost = await start(disk.dir, disk.env, ...disk.flags)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('queue', { qos: 1 })
    await reader.client.endAsync()
    const writer = await connect(roost, 'writer')
    for (let i = 0; i < 50; i++) await writer.client.publishAsync('queue', `${i}`, { qos: 1 })
    const acknowledged = await fill(writer, disk.payload, (number) => `kept/${number}`, true)
    expect(acknowledged.size).toBeGreaterThan(1000)
    expect(await roost.logged(/store-full/)).toMatch(
      /^error store-full: no space left on device \(.*\); until there is room only what ends something is taken in$/,
    )

    const again = await connect(roost, 'reader')
    for (let i = 0; i < 50; i++) expect((await again.next()).text).toBe(`${i}`)
    await again.client.endAsync()
    // Nothing of it comes a second time: the acknowledgements were stored.
    const third = await connect(roost, 'reader')
    await writer.client.publishAsync('queue', 'the next', { qos: 0 })
    expect((await third.next()).text).toBe('the next')

    await roost.stop('SIGKILL')
    const second = await start(disk.dir, disk.env, ...disk.flags)
    await expectRetained(second, acknowledged)
    const late = await MqttJs.connect(second.mqttPort, { protocolVersion: 5 })
    cleanUp.push(() => late.client.endAsync(true))
    await expect(late.client.publishAsync('kept/late', 'too early', { qos: 1, retain: true })).rejects.toMatchObject({
      code: 0x97,
    })
    disk.makeRoom()
    await untilAccepted(late, 'kept/late')
    expect(await second.logged(/store-recovered/)).toBe('warn store-recovered: there is room on the disk again')
    await second.stop('SIGKILL')
    await expectRetained(await start(disk.dir, disk.env, ...disk.flags), new Set([...acknowledged, 'late']))
  })

  test('takes messages again when a subscriber has emptied the queue that filled it', { timeout: 120_000 }, async () => {
    const disk = smallDisk()
    disk.makeRoom()
    const queues = ['--max-queued-messages', '1000000', '--max-queued-bytes', `${2 ** 26}`]
    const roost = await start(disk.dir, disk.env, ...disk.flags, ...queues)
    const reader = await connect(roost, 'reader')
    await reader.client.subscribeAsync('queue', { qos: 1 })
    await reader.client.endAsync()
    const writer = await connect(roost, 'writer')
    const acknowledged = await fill(writer, disk.payload, () => 'queue', false)
    const again = await connect(roost, 'reader')
    const missing = new Set(acknowledged)
    while (missing.size > 0) missing.delete(numberOf((await again.next()).text))
    await untilAccepted(writer, 'kept/late')
    expect(await roost.logged(/store-recovered/)).toBe('warn store-recovered: there is room on the disk again')
  })
})
