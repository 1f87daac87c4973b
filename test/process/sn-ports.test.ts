import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { resolveConfig } from '../../src/config/config.ts'
import type { Loop } from '../../src/process/loop.ts'
import { SnPorts } from '../../src/process/sn-ports.ts'
import type { ServerInput } from '../../src/server.ts'

const DATAGRAMS = 30
/** Milliseconds that each of them takes. */
const COST_MS = 2

/** Holds the event loop. */
function work(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until; );
}

test('datagrams that take long are handled in several turns, in order', async () => {
  const given = (value: unknown) => ({ value, origin: '--' })
  const layer = new Map([
    ['sn_port', given(0)],
    ['multicast_group', given('none')],
  ] as const)
  let turn = 0
  const turns: number[] = []
  const handled: number[] = []
  const handle = (input: ServerInput): void => {
    if (input.kind !== 'datagram') return
    turns[turn] = (turns[turn] ?? 0) + 1
    handled.push(input.bytes[0]!)
    work(COST_MS)
  }
  const loop = { handle, sendDatagramsBy: () => {} } as unknown as Loop
  const ports = await SnPorts.open({ ...resolveConfig(layer, new Map()), predefinedTopics: [] }, loop, () => {})
  const sensor = createSocket('udp4')
  sensor.connect(ports.all[0]!.port, '127.0.0.1')
  await once(sensor, 'connect')
  const sent = Array.from({ length: DATAGRAMS }, (_, i) => i)
  for (const i of sent) sensor.send(Uint8Array.of(i))
  // All of them are in the socket before it is read.
  work(50)
  for (; handled.length < DATAGRAMS; turn++) await nextTurn()
  expect(handled).toEqual(sent)
  // 5 ms when they arrive, and 5 ms when those continue that wait.
  expect(Math.max(...turns.filter((count) => count > 0))).toBeLessThanOrEqual(2 * Math.ceil(5 / COST_MS))
  sensor.close()
  await ports.close()
})
