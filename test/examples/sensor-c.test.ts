import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Random } from '../../fuzz/sim/random.ts'
import { LossyRelay } from '../interop/lossy-relay.ts'
import { MqttJs } from '../interop/mqttjs.ts'
import { StartedProcess } from '../interop/started-process.ts'

const SOURCE = fileURLToPath(new URL('../../examples/sensor.c', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'roost-sensor-'))
const program = join(dir, 'sensor')
let roost: StartedProcess
let client: MqttJs

beforeAll(async () => {
  execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-O2', '-DT_RETRY=1', '-o', program, SOURCE], { stdio: 'pipe' })
  roost = await StartedProcess.start('--memory', '--log-level', 'debug', '--t-retry', '1')
  client = await MqttJs.connect(roost.mqttPort, { clientId: 'application' })
  await client.client.subscribeAsync('site/7/temp', { qos: 1 })
}, 60_000)
afterAll(async () => {
  await client.client.endAsync()
  expect(await roost.stop()).toBe(0)
  rmSync(dir, { recursive: true })
}, 30_000)

/** Runs the sensor against a port, and publishes to it while it sleeps. Returns its exit code and what it printed. */
async function run(port: number): Promise<{ code: unknown; printed: string }> {
  const child = spawn(program, ['127.0.0.1', String(port), '1'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const printed = text(child.stdout)
  const ended = once(child, 'exit')
  expect(await client.next()).toMatchObject({ topic: 'site/7/temp', text: '21.5', qos: 1 })
  await roost.logged(/client-asleep sn:node-7/)
  await client.client.publishAsync('site/7/set', 'on', { qos: 1 })
  const [code] = await ended
  return { code, printed: await printed }
}

test('the sensor in C publishes, sleeps, and prints what was published meanwhile', async () => {
  expect(await run(roost.snPort)).toEqual({ code: 0, printed: 'site/7/set: on\n' })
})

test('it repeats what is lost, and takes a topic id from the gateway', async () => {
  // Waits in the session that the first run has left, so that REGISTER comes before SUBACK.
  await client.client.publishAsync('site/7/set', 'first', { qos: 1 })
  let datagrams = 0
  const everyFifth = { next: () => (datagrams++ % 5 === 0 ? 0 : 1) } as unknown as Random
  const relay = await LossyRelay.open(roost.snPort, everyFifth, 0.5)
  const { code, printed } = await run(relay.port)
  relay.close()
  expect(code).toBe(0)
  // A message whose PUBACK was lost comes twice.
  expect(printed).toMatch(/^(site\/7\/set: first\n)+(site\/7\/set: on\n)+$/)
  expect(datagrams).toBeGreaterThan(16)
})
