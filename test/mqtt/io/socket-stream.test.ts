import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { expect, test } from 'vitest'
import { OutputBuffers } from '../../../src/mqtt/io/output-buffers.ts'
import { openSocketStream } from '../../../src/mqtt/io/socket-stream.ts'
import type { Stream, StreamHost } from '../../../src/mqtt/io/stream-host.ts'

/** A stream over a socket whose kernel takes nothing until it is told to. */
function full(socketBufferBytes: number, outputs = new OutputBuffers(Number.POSITIVE_INFINITY)) {
  const told: unknown[] = []
  const written: (() => void)[] = []
  const chunks: Buffer[] = []
  let stream: Stream | undefined
  const opened = (it: Stream): number => {
    stream = it
    return 1
  }
  const host = { opened, outputs, handle: (input: object) => told.push(input), closed: () => {} } as unknown as StreamHost
  const write = (chunk: Buffer, _: string, done: () => void): void => {
    if (chunk.length > 0) chunks.push(chunk)
    written.push(done)
  }
  const socket = new Duplex({ read: () => {}, write, highWaterMark: 16 * 1024 })
  openSocketStream(
    Object.assign(socket, { setTimeout: () => {} }) as unknown as Socket,
    { peer: 'p', listener: 'l' },
    { host, socketBufferBytes, writeTimeoutMs: 1000, streams: new Set() },
  )
  const drain = async (): Promise<void> => {
    for (let done = written.shift(); done !== undefined; done = written.shift()) {
      done()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return { told, chunks, drain, socket, write: (size: number) => stream?.write(Buffer.alloc(size)), stream: stream! }
}

const congested = (on: boolean) => ({ kind: 'congested', connection: 1, on })

test('congested above the bound, once, until everything is written', async () => {
  const { told, drain, write } = full(100_000)
  write(100_000)
  expect(told).toEqual([])
  write(1)
  write(1)
  expect(told).toEqual([congested(true)])
  await drain()
  expect(told).toEqual([congested(true), congested(false)])
})

test('a bound below what the socket itself waits for never leaves it congested', async () => {
  const { told, drain, write } = full(1)
  write(1000)
  await drain()
  expect(told).toEqual([])
  write(16 * 1024)
  await drain()
  expect(told).toEqual([congested(true), congested(false)])
})

test('what waits for a slow reader does not hold what was written beside it', async () => {
  const { chunks, drain, stream } = full(100_000)
  const slab = new Uint8Array(256 * 1024)
  stream.write(slab.subarray(0, 10))
  stream.write(slab.subarray(10, 20))
  await drain()
  expect(chunks.map(({ length, buffer }) => [length, buffer === slab.buffer])).toEqual([
    [10, true],
    [10, false],
  ])
})

test('what waits is counted until it is written, also where it is so little that Node reports no drain', async () => {
  const outputs = new OutputBuffers(1024 * 1024)
  const { drain, write } = full(100_000, outputs)
  for (let i = 0; i < 3; i++) {
    write(1000)
    write(1000)
    expect(outputs.total).toBe(2000)
    await drain()
    expect(outputs.total).toBe(0)
  }
})

test('an ended socket still sends what waits, and is not written to again to learn when that has left', async () => {
  const { chunks, drain, socket, write } = full(100_000)
  const errors: Error[] = []
  socket.on('error', (error) => errors.push(error))
  for (const size of [1000, 1001, 1002]) write(size)
  socket.end()
  await drain()
  expect([errors, chunks.map(({ length }) => length), socket.writableFinished]).toEqual([[], [1000, 1001, 1002], true])
})

test('what waits is counted once, however many sockets wait for it, and makes all of them congested where it is much', async () => {
  const outputs = new OutputBuffers(1024 * 1024)
  const [a, b] = [full(1024 * 1024, outputs), full(1024 * 1024, outputs)]
  const message = Buffer.alloc(100_000)
  for (const { stream } of [a, b]) stream.write(message)
  expect(outputs.total).toBe(100_000)
  expect(a.told).toEqual([])
  a.stream.write(Buffer.alloc(40_000))
  expect(outputs.isTight).toBe(true)
  expect(a.told).toEqual([{ kind: 'congested', connection: 1, on: true }])
  b.stream.write(Buffer.alloc(20_000))
  expect(b.told).toEqual([{ kind: 'congested', connection: 1, on: true }])
  await a.drain()
  await a.drain()
  expect(outputs.total).toBe(120_000)
  await b.drain()
  await b.drain()
  expect(outputs.total).toBe(0)
})

test('bytes are free for another use once the kernel has them, or if they were copied, and never behind TLS', async () => {
  const slab = new Uint8Array(256 * 1024)
  const { drain, stream, socket } = full(100_000)
  // The kernel takes nothing yet: the first is kept as it is, the second copied.
  expect([stream.write(slab.subarray(0, 10)), stream.write(slab.subarray(10, 20))]).toEqual([false, true])
  // Large parts of a buffer are not copied.
  expect(stream.write(slab)).toBe(false)
  await drain()
  socket._write = (_chunk: Buffer, _encoding: string, done: () => void): void => done()
  expect(stream.write(slab.subarray(20, 30))).toBe(true)
  Object.assign(socket, { encrypted: true })
  expect(stream.write(slab.subarray(30, 40))).toBe(false)
})
