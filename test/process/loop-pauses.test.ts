import { performance } from 'node:perf_hooks'
import { afterEach, expect, test, vi } from 'vitest'
import { Memory } from '../../src/base/memory.ts'
import { Loop } from '../../src/process/loop.ts'
import type { Server, ServerInput } from '../../src/server.ts'

let now = 1000
const loops: Loop[] = []
afterEach(() => {
  for (const loop of loops.splice(0)) loop.stop()
  vi.restoreAllMocks()
})

/** A loop by a clock that only the test moves, around a server that notes what it is told. */
function driven() {
  vi.spyOn(performance, 'now').mockImplementation(() => now)
  const told: string[] = []
  let due = now + 1500
  const server = {
    backlogged: false,
    memory: new Memory(),
    handle: (_: number, input: ServerInput) => told.push(input.kind === 'paused' ? `paused ${input.ms}` : input.kind),
    handleTimeout: () => {
      told.push('timeout')
      due = Number.POSITIVE_INFINITY
    },
    nextTimeout: () => due,
    poll: () => undefined,
  }
  const loop = new Loop(server as unknown as Server)
  loops.push(loop)
  loop.flush()
  return { loop, told }
}

const turn = (): Promise<void> => new Promise((next) => setImmediate(next))
const datagram: ServerInput = { kind: 'datagram', route: 'r', bytes: new Uint8Array(0) }

test('after a pause timers wait until a turn of the event loop has brought no input', async () => {
  const { loop, told } = driven()
  now += 20_000
  loop.handle(datagram)
  for (let i = 0; i < 3; i++) {
    await turn()
    loop.handle(datagram)
    expect(told).not.toContain('timeout')
  }
  for (let i = 0; i < 4; i++) await turn()
  expect(told).toEqual(['paused 20000', 'datagram', 'datagram', 'datagram', 'datagram', 'timeout'])
})

test('but not for longer than a second, however much comes', async () => {
  const { loop, told } = driven()
  now += 20_000
  for (let i = 0; i < 40 && !told.includes('timeout'); i++) {
    loop.handle(datagram)
    await turn()
    now += 100
  }
  expect(told).toContain('timeout')
  expect(told.length).toBeLessThan(20)
})

test('a turn that is a little late is no pause', async () => {
  const { loop, told } = driven()
  for (let i = 0; i < 6; i++) {
    now += 400
    loop.handle(datagram)
    await turn()
  }
  await turn()
  expect(told.filter((what) => what !== 'datagram')).toEqual(['timeout'])
})
