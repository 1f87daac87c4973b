import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Notice } from '../../../src/base/notice.ts'
import { DEFAULT_CONFIG } from '../../../src/config/config.ts'
import type { EventStream } from '../../../src/http/exchange.ts'
import { PIPELINED_MAX } from '../../../src/http/io/connections.ts'
import { HttpServer } from '../../../src/http/io/http-server.ts'
import { HttpUsers } from '../../../src/http/io/http-users.ts'
import { STREAMS_MAX, Streams } from '../../../src/http/io/streams.ts'
import { NoticeRing } from '../../../src/http/notice-ring.ts'
import { testHost } from '../harness.ts'

const ALL = { code: undefined, client: undefined }
let ring: NoticeRing
let server: HttpServer
const readers: Socket[] = []

/** Streams that were asked for, and that are not closed. */
let asked = 0
let held = 0

function events(lastEventId: string | undefined): EventStream {
  const stream = ring.stream(ALL, lastEventId)
  asked++
  held++
  const { close } = stream
  return Object.assign(stream, {
    close: () => {
      held--
      close()
    },
  })
}

beforeEach(async () => {
  asked = held = 0
  ring = new NoticeRing(Date.now)
  server = await HttpServer.listen({
    host: '127.0.0.1',
    port: 0,
    names: [],
    users: new HttpUsers(DEFAULT_CONFIG, 'view'),
    routes: [{ method: 'GET', path: '/events', needs: 'view', answer: ({ lastEventId }) => events(lastEventId) }],
    running: testHost(),
    notice: () => {},
  })
})
afterEach(async () => {
  for (const socket of readers.splice(0)) socket.destroy()
  await server.close()
})

/** A connection on which events were asked for. */
class Reader {
  text = ''
  readonly socket: Socket

  constructor(head = '') {
    this.socket = connect(server.port, '127.0.0.1')
    readers.push(this.socket)
    this.socket.setEncoding('utf8')
    this.socket.on('data', (data: string) => {
      this.text += data
    })
    this.socket.on('error', () => {})
    this.socket.write(`GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n${head}\r\n`)
  }

  /** Waits for this text, which may come in several chunks. */
  async reads(text: string): Promise<void> {
    await vi.waitFor(() => expect(this.text.replaceAll(/\r\n[0-9a-f]+\r\n/g, '')).toContain(text), { timeout: 5000 })
  }
}

const add = (client: string, more: Partial<Notice> = {}): void =>
  ring.add({ code: 'client-lost', level: 'info', client, ...more })

describe('event streams', () => {
  test('events arrive as they come', async () => {
    const reader = new Reader()
    await reader.reads('content-type: text/event-stream')
    expect(reader.text).toContain(' 200 ')
    expect(reader.text).toContain('cache-control: no-store')
    add('mqtt:a')
    await reader.reads('"client":"mqtt:a"')
    add('mqtt:b')
    await reader.reads('"client":"mqtt:b"')
  })

  test('Last-Event-ID', async () => {
    for (const client of ['mqtt:a', 'mqtt:b', 'mqtt:c']) add(client)
    const reader = new Reader(`Last-Event-ID: 1-${ring.run}\r\n`)
    await reader.reads('mqtt:c')
    expect(reader.text).toContain('mqtt:b')
    expect(reader.text).not.toContain('mqtt:a')
  })

  test('they are so many at most, and a reader who leaves makes room', async () => {
    const all = Array.from({ length: STREAMS_MAX }, () => new Reader())
    for (const reader of all) await reader.reads(' 200 ')
    const more = new Reader()
    await more.reads(' 503 ')
    all[0]!.socket.destroy()
    await vi.waitFor(() => expect(server.streamCount).toBe(STREAMS_MAX - 1))
    await new Reader().reads(' 200 ')
  })

  test('of those that are asked for at once on one connection only the first begins', async () => {
    const reader = new Reader()
    reader.socket.write('GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(PIPELINED_MAX - 1))
    await vi.waitFor(() => expect(asked).toBe(1))
    await reader.reads('\r\nconnection: close\r\n')
    reader.socket.destroy()
    await vi.waitFor(() => expect([server.streamCount, held]).toEqual([0, 0]))
    const all = Array.from({ length: STREAMS_MAX }, () => new Reader())
    for (const one of all) await one.reads(' 200 ')
  })

  test('what waits for slow readers is counted', () => {
    const streams = new Streams()
    const on = (): void => {}
    const add = (waiting: number): void => {
      const stream: EventStream = { kind: 'stream', bytes: waiting, next: () => '', wake: on, close: on }
      streams.add(stream, { on, end: on } as never, { destroyed: false, once: on } as never)
    }
    add(100)
    add(3)
    expect(streams.bytes).toBe(103)
    streams.close()
    expect(streams.bytes).toBe(0)
  })

  test('one whose reader has left before it begins is closed', () => {
    const streams = new Streams()
    streams.add(events(undefined), {} as never, { destroyed: true } as never)
    expect([streams.size, held]).toEqual([0, 0])
  })

  test('one that does not read holds little, and learns how many it has missed', async () => {
    const reader = new Reader()
    await reader.reads(' 200 ')
    reader.socket.pause()
    const written = vi.spyOn(ring, 'next')
    // Until the buffers of both sockets are full.
    let count = 0
    for (let before = -1; written.mock.calls.length !== before; ) {
      before = written.mock.calls.length
      for (let i = 0; i < 1000; i++) add(`mqtt:${count++}`, { reason: 'x'.repeat(400) })
      await new Promise(setImmediate)
      await new Promise(setImmediate)
    }
    for (let i = 0; i < 3000; i++) add(`mqtt:${count++}`, { reason: 'x'.repeat(400) })
    written.mockRestore()
    add('mqtt:last')
    reader.socket.resume()
    await reader.reads('"client":"mqtt:last"')
    const text = reader.text.replaceAll(/\r\n[0-9a-f]+\r\n/g, '')
    const missed = Array.from(text.matchAll(/event: missed\nid: .*\ndata: \{"notices":(\d+)\}/g), ([, notices]) =>
      Number(notices),
    )
    const arrived = text.match(/event: notice/g)!.length
    expect(missed.length).toBeGreaterThan(0)
    expect(arrived + missed.reduce((sum, each) => sum + each)).toBe(count + 1)
  })

  test('HEAD opens none', async () => {
    const response = await fetch(`http://127.0.0.1:${server.port}/events`, { method: 'HEAD' })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    expect(server.streamCount).toBe(0)
  })

  test('they end when users are read again, and continue where they were', async () => {
    const reader = new Reader()
    await reader.reads(' 200 ')
    add('mqtt:a')
    await reader.reads('"client":"mqtt:a"')
    const closed = once(reader.socket, 'close')
    server.prepareReload()()
    await closed
    add('mqtt:b')
    const again = new Reader(`Last-Event-ID: 1-${ring.run}\r\n`)
    await again.reads('"client":"mqtt:b"')
    expect(again.text).not.toContain('mqtt:a')
  })

  test('they end when the service does', async () => {
    const reader = new Reader()
    await reader.reads(' 200 ')
    const closed = once(reader.socket, 'close')
    await server.close()
    await closed
    expect(reader.text.endsWith('0\r\n\r\n')).toBe(true)
  })
})

test('a comment every 15 s, but not to a socket that is full', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  try {
    const streams = new Streams()
    const written: string[] = []
    const handlers = new Map<string, () => void>()
    let takes = true
    const socket = { destroyed: false, once: (event: string, handler: () => void) => handlers.set(event, handler) }
    const response = {
      on: (event: string, handler: () => void) => handlers.set(event, handler),
      write: (text: string) => {
        written.push(text)
        return takes
      },
      end: () => {},
    }
    streams.add(ring.stream(ALL, undefined), response as never, socket as never)
    vi.advanceTimersByTime(15_000)
    expect(written).toEqual([': still here\n\n'])
    takes = false
    add('mqtt:a')
    await vi.waitFor(() => expect(written).toHaveLength(2))
    vi.advanceTimersByTime(60_000)
    expect(written).toHaveLength(2)
    handlers.get('drain')!()
    vi.advanceTimersByTime(15_000)
    expect(written).toHaveLength(3)
    handlers.get('close')!()
    expect([streams.size, vi.getTimerCount()]).toEqual([0, 0])
  } finally {
    vi.useRealTimers()
  }
})
