import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { memoryLimits, processBound } from '../../src/process/memory-limit.ts'

const MIB = 1024 * 1024
const NONE = { memory: true, memoryLimit: 0, maxMemoryPerClient: 0, maxMemoryPerUser: 0, maxMemoryPerAddress: 0 }
const heap = (mib: number) => ({ bytes: mib * MIB, name: "V8's heap" })

test('by default it is 60 % of what is left beyond the first 80 MiB, and shares are a quarter and half of it', () => {
  const { limits, told, warning } = memoryLimits(NONE, heap(4180))
  expect(limits).toEqual({
    memoryLimit: 2460 * MIB,
    maxMemoryPerClient: 615 * MIB,
    maxMemoryPerUser: 1230 * MIB,
    maxMemoryPerAddress: 1230 * MIB,
  })
  expect(told).toBe("Memory for clients: 2460 MiB, 60 % of 4100 MiB (V8's heap, less 80 MiB) (change with --memory-limit)")
  expect(warning).toBe(undefined)
})

test('what is left is less by 80 MiB with a store on disk, which has a thread of its own', () => {
  const stored = { ...NONE, memory: false }
  expect(memoryLimits(stored, heap(4260)).limits.memoryLimit).toBe(2460 * MIB)
  expect(memoryLimits({ ...stored, memoryLimit: 180 * MIB }, heap(300)).warning).toContain('raise that or lower memory_limit')
})

test('however little there is, there is something', () => {
  expect(memoryLimits(NONE, heap(50)).limits.memoryLimit).toBe(8 * MIB)
  expect(memoryLimits(NONE, heap(50)).warning).toBe(undefined)
})

test('what is configured counts, and a limit above what there is is a warning', () => {
  const config = { ...NONE, memoryLimit: 1000 * MIB, maxMemoryPerUser: 100 * MIB }
  const { limits, told, warning } = memoryLimits(config, heap(300))
  expect(limits).toMatchObject({ memoryLimit: 1000 * MIB, maxMemoryPerClient: 250 * MIB, maxMemoryPerUser: 100 * MIB })
  expect(told).toContain('1000 MiB, as configured')
  expect(warning).toBe("memory_limit is 1000 MiB, but V8's heap allows 300 MiB in all: raise that or lower memory_limit")
  expect(memoryLimits(config, heap(1080)).warning).toBe(undefined)
})

test('this process is bounded by something', () => {
  const { bytes, name } = processBound()
  expect(bytes).toBeGreaterThan(64 * MIB)
  expect(bytes).toBeLessThan(2 ** 50)
  expect(name).toMatch(/heap|memory|ulimit/)
})

/** What a process that is started so says of its memory. */
async function toldBy(limit: string): Promise<string> {
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
  const serve = `exec "$0" "${main}" serve --memory --port 0 --sn-port 0 --log-format json`
  const child = spawn('sh', ['-c', `${limit} && ${serve}`, process.execPath], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const { msg } = JSON.parse(line) as { msg: string }
      if (msg.startsWith('Memory for clients')) return msg
    }
    return 'nothing'
  } finally {
    child.kill()
  }
}

test.runIf(process.platform === 'linux')('ulimit -d bounds the process that is started with it', async () => {
  const [, mib, , all, name] = /clients: (\d+) MiB, (60 %) of (\d+) MiB \((.+), less 80 MiB\)/.exec(
    await toldBy('ulimit -d 700000'),
  )!
  expect(name).toBe('ulimit (max data size)')
  // What the process has taken by then is not left.
  expect(Number(all)).toBeGreaterThan(300)
  expect(Number(all)).toBeLessThan(750)
  expect(Number(mib)).toBeLessThan(420)
})
