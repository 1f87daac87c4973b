import { performance } from 'node:perf_hooks'
import { afterEach, expect, test, vi } from 'vitest'
import { ByteWriter } from '../../src/base/bytes.ts'
import { encodePacket } from '../../src/mqtt/encode.ts'
import type { Packet } from '../../src/mqtt/packets.ts'
import { Publish } from '../../src/mqtt/publish.ts'
import { Loop, wallClock } from '../../src/process/loop.ts'
import { Server } from '../../src/server.ts'
import { MemoryStore } from '../../src/store/store.ts'
import { connectPacket } from '../broker/harness.ts'
import { OPTIONS } from '../gateway/harness.ts'

const loops: Loop[] = []
afterEach(() => {
  for (const loop of loops.splice(0)) loop.stop()
})

function encoded(packet: Packet): Uint8Array {
  const writer = new ByteWriter()
  encodePacket(writer, packet, 5)
  return writer.toBytes()
}

/** A loop with a real server. */
function realLoop(): Loop {
  const server = new Server({
    store: new MemoryStore(),
    clock: wallClock(),
    notice: () => {},
    random: Math.random,
    gateway: OPTIONS,
  })
  const loop = new Loop(server)
  loops.push(loop)
  return loop
}

/** A loop with a real server, and streams that say while they are written to that they take no more. */
function crowd(size: number) {
  const loop = realLoop()
  let full = false
  let written = 0
  let paused = 0
  const request = { filter: 'a', qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
  const say = (connection: number, packet: Packet): void => {
    loop.handle({ kind: 'chunk', connection, bytes: encoded(packet) })
    // What arrives first in a turn is read in it, however long that takes.
    if (!full) loop.flush()
  }
  const open = (name: string): number => {
    const stream = {
      write: () => {
        if (!full) return true
        written++
        loop.handle({ kind: 'congested', connection, on: true })
        return false
      },
      end: () => {},
      pause: () => paused++,
      resume: () => {},
    }
    const connection = loop.opened(stream, { peer: `${name}:1`, listener: 'test' })
    say(connection, connectPacket(name))
    return connection
  }
  for (let i = 0; i < size; i++) {
    say(open(`c${i}`), { type: 8, packetId: 1, subscriptions: [request], properties: {} })
  }
  loop.flush()
  return {
    loop,
    publish: () => {
      const connection = open('publisher')
      loop.flush()
      full = true
      say(connection, Publish.of('a', Buffer.from('x')))
      loop.flush()
    },
    counts: () => ({ written, paused }),
  }
}

test('thousands of sockets that are full at once are told one after the other', () => {
  const { publish, counts } = crowd(3000)
  publish()
  expect(counts()).toEqual({ written: 3000, paused: 3000 })
})

test('a deadline that moves to a later time keeps its timeout, and is met', async () => {
  let deadline: number | undefined
  const expired: number[] = []
  const fake = {
    memory: { limits: { memoryLimit: 1e9 }, count: () => {} },
    handle: () => {},
    poll: () => undefined,
    backlogged: true,
    nextTimeout: () => deadline,
    handleTimeout: (now: number) => {
      expired.push(now - deadline!)
      deadline = undefined
    },
  }
  const loop = new Loop(fake as unknown as Server)
  loops.push(loop)
  const set = vi.spyOn(globalThis, 'setTimeout')
  const start = performance.now()
  for (let ms = 20; ms <= 60; ms++) {
    deadline = start + ms
    loop.handle({ kind: 'durable' })
  }
  expect(set).toHaveBeenCalledTimes(1)
  await vi.waitFor(() => expect(expired).toHaveLength(1))
  expect(expired[0]).toBeGreaterThanOrEqual(0)
  // An earlier one does not wait for the timeout of a later one.
  deadline = performance.now() + 10_000
  loop.handle({ kind: 'durable' })
  deadline = performance.now() + 5
  loop.handle({ kind: 'durable' })
  await vi.waitFor(() => expect(expired).toHaveLength(2))
  set.mockRestore()
})

test('the buffer of the output is used again once it is written, and never while a socket still refers to it', () => {
  const loop = realLoop()
  let isWritten = true
  const kept: { bytes: Uint8Array; copy: Uint8Array }[] = []
  const write = (bytes: Uint8Array): boolean => {
    kept.push({ bytes, copy: bytes.slice() })
    return isWritten
  }
  const connection = loop.opened({ write, end: () => {}, pause: () => {}, resume: () => {} }, { peer: 'p:1', listener: 'test' })
  const say = (packet: Packet): { readonly buffer: ArrayBufferLike; readonly byteOffset: number } => {
    loop.handle({ kind: 'chunk', connection, bytes: encoded(packet) })
    loop.flush()
    return kept.at(-1)!.bytes
  }
  say(connectPacket('c'))
  const request = { filter: '#', qos: 0 as const, noLocal: false, retainAsPublished: false, retainHandling: 0 as const }
  const first = say({ type: 8, packetId: 1, subscriptions: [request], properties: {} })
  const publish = (i: number) => say(Publish.of(`topic/${i}`, Buffer.alloc(1000, i)))
  expect(publish(1).byteOffset).toBe(first.byteOffset)
  kept.length = 0
  isWritten = false
  const { buffer } = publish(2)
  isWritten = true
  // Until the buffer is full: from then on there is another, which nothing refers to.
  for (let i = 3; i < 600; i++) publish(i)
  expect(kept[0]!.bytes).toEqual(kept[0]!.copy)
  expect(kept.filter(({ bytes }) => bytes.buffer === buffer).length).toBeGreaterThan(200)
  const last = publish(600)
  expect(last.buffer).not.toBe(buffer)
  const again = publish(601)
  expect([again.buffer === last.buffer, again.byteOffset]).toEqual([true, 0])
})
